/** What the control plane on this node counts for the metrics. */

import { activityInfo } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import type { ActivityInboundCallsInterceptor } from '@temporalio/worker';
import { Tally } from '../metrics/tally.js';

export class ControlTallies {
  readonly activities = new Tally('activity', 'result');
  readonly workflows = new Tally('workflow', 'result');
}

function resultOf(error: unknown): string {
  if (error instanceof CancelledFailure) return 'cancelled';
  return error instanceof ApplicationFailure && error.type ? error.type : 'internal';
}

/** Counts every activity of a worker. */
export function activityObserver(tally: ControlTallies['activities']): ActivityInboundCallsInterceptor {
  return {
    async execute(input, next) {
      const startedMs = performance.now();
      const activity = activityInfo().activityType;
      const ended = (result: string) => tally.observe((performance.now() - startedMs) / 1000, { activity, result });
      try {
        const answer = await next(input);
        ended('completed');
        return answer;
      } catch (error) {
        ended(resultOf(error));
        throw error;
      }
    },
  };
}
