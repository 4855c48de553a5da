/** Signs of life of activities: that a node died, or never got the task, is noticed long before their time limit. */

import { activityInfo, Context } from '@temporalio/activity';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import type { NodeBoundActivities, SharedActivities } from './index.js';

/** Several fit into the shortest heartbeat time-out (workflows/options.ts), ms. */
const HEARTBEAT_INTERVAL_MS = 500;

/** They tell their progress with their heartbeats themselves. */
const OWN_HEARTBEATS: ReadonlySet<string> = new Set<keyof NodeBoundActivities | keyof SharedActivities>([
  'syncReplica',
  'verifyCopies',
]);

/** Sends heartbeats for every activity of a worker while it runs. */
export const heartbeatInterceptor: ActivityInboundCallsInterceptor = {
  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    if (OWN_HEARTBEATS.has(activityInfo().activityType)) return next(input);
    const context = Context.current();
    const timer = setInterval(() => context.heartbeat(), HEARTBEAT_INTERVAL_MS);
    try {
      return await next(input);
    } finally {
      clearInterval(timer);
    }
  },
};
