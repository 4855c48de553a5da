/** What the control plane on this node counts for the metrics. */

import { activityInfo } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import type { ActivityInboundCallsInterceptor } from '@temporalio/worker';
import type { Logger } from '../log.js';
import { Tally } from '../metrics/tally.js';

export class ControlTallies {
  readonly activities = new Tally('activity', 'result');
  readonly workflows = new Tally('workflow', 'result');
}

function resultOf(error: unknown): string {
  if (error instanceof CancelledFailure) return 'cancelled';
  return error instanceof ApplicationFailure && error.type ? error.type : 'internal';
}

/** Counts every activity of a worker, and tells the log of it. */
export function activityObserver(tally: ControlTallies['activities'], logger: Logger): ActivityInboundCallsInterceptor {
  return {
    async execute(input, next) {
      const startedMs = performance.now();
      const activity = activityInfo().activityType;
      const ended = (result: string) => {
        const ms = performance.now() - startedMs;
        tally.observe(ms / 1000, { activity, result });
        logger.debug({ activity, result, ms: Math.round(ms) }, 'activity');
      };
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
