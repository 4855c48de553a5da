/** What is done around every workflow. Bundled with them; changes no history. */

import {
  ApplicationFailure,
  ContinueAsNew,
  isCancellation,
  proxySinks,
  type WorkflowInboundCallsInterceptor,
  type WorkflowInterceptorsFactory,
  type WorkflowOutboundCallsInterceptor,
  workflowInfo,
} from '@temporalio/workflow';
import { type OperationContext, spanIdOfRun, withParent } from '../core/operation-context.js';
import { rootFailure } from './failures.js';
import { VOLUME_WORKFLOW } from './names.js';
import { contextOf, withContext, withHeader } from './operation-context.js';
import type { ObserverSinks } from './sinks.js';

const { observer } = proxySinks<ObserverSinks>();

function resultOf(error: unknown): string {
  if (error instanceof ContinueAsNew) return 'continued';
  if (isCancellation(error)) return 'cancelled';
  const root = rootFailure(error);
  return root instanceof ApplicationFailure && root.type ? root.type : 'internal';
}

/** What the run does is within its own span, whose parent is whatever it was started within. */
function ownContext(started: OperationContext, runId: string): OperationContext {
  const { traceparent } = started;
  return traceparent === undefined ? started : { ...started, traceparent: withParent(traceparent, spanIdOfRun(runId)) };
}

const inbound: WorkflowInboundCallsInterceptor = {
  async execute(input, next) {
    const { workflowType, workflowId, runId, startTime } = workflowInfo();
    // A volume's workflow lives as long as the volume: the request that started it is not why it does all it does.
    const started = workflowType === VOLUME_WORKFLOW ? undefined : contextOf(input.headers);
    const ended = (result: string) =>
      observer.ended({
        workflow: workflowType,
        workflowId,
        runId,
        result,
        startedMs: startTime.getTime(),
        endedMs: Date.now(),
        ...(started?.traceparent !== undefined && { traceparent: started.traceparent }),
      });
    try {
      const result = await withContext(started && ownContext(started, runId), () => next(input));
      ended('completed');
      return result;
    } catch (error) {
      ended(resultOf(error));
      throw error;
    }
  },

  handleUpdate: (input, next) => withContext(contextOf(input.headers), () => next(input)),
};

const outbound: WorkflowOutboundCallsInterceptor = {
  scheduleActivity: (input, next) => next({ ...input, headers: withHeader(input.headers) }),
  startChildWorkflowExecution: (input, next) => next({ ...input, headers: withHeader(input.headers) }),
};

export const interceptors: WorkflowInterceptorsFactory = () => ({ inbound: [inbound], outbound: [outbound] });
