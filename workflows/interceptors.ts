/** What is done around every workflow. Bundled with them; changes no history. */

import {
  ApplicationFailure,
  ContinueAsNew,
  isCancellation,
  proxySinks,
  type WorkflowInboundCallsInterceptor,
  type WorkflowInterceptorsFactory,
  workflowInfo,
} from '@temporalio/workflow';
import { rootFailure } from './failures.js';
import type { ObserverSinks } from './sinks.js';

const { observer } = proxySinks<ObserverSinks>();

function resultOf(error: unknown): string {
  if (error instanceof ContinueAsNew) return 'continued';
  if (isCancellation(error)) return 'cancelled';
  const root = rootFailure(error);
  return root instanceof ApplicationFailure && root.type ? root.type : 'internal';
}

const inbound: WorkflowInboundCallsInterceptor = {
  async execute(input, next) {
    const { workflowType, workflowId, startTime } = workflowInfo();
    const ended = (result: string) => {
      const seconds = Math.max(0, (Date.now() - startTime.getTime()) / 1000);
      observer.ended({ workflow: workflowType, workflowId, result, seconds });
    };
    try {
      const result = await next(input);
      ended('completed');
      return result;
    } catch (error) {
      ended(resultOf(error));
      throw error;
    }
  },
};

export const interceptors: WorkflowInterceptorsFactory = () => ({ inbound: [inbound] });
