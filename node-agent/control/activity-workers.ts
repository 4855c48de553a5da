/** The agent's share of the control plane: activities of its node, and those that any node can do. */

import type { ActivityInboundCallsInterceptor } from '@temporalio/worker';
import type { ActivityDeps } from '../../activities/deps.js';
import { failureInterceptor } from '../../activities/failures.js';
import { heartbeatInterceptor } from '../../activities/heartbeat.js';
import { createNodeBoundActivities, createSharedActivities } from '../../activities/index.js';
import { nodeTaskQueue, SHARED_TASK_QUEUE } from '../../workflows/names.js';
import type { Logger } from '../log.js';
import type { Tracer } from '../tracing/tracer.js';
import { contextActivityInterceptor } from './context-interceptors.js';
import { activityObserver, type ControlTallies } from './observation.js';
import { SupervisedWorker } from './supervised-worker.js';
import { installTemporalRuntime } from './temporal-runtime.js';

/** Activities of either kind at the same time: they wait for etcd, disks and peers, not for the CPU. */
const MAX_SHARED_ACTIVITIES = 20;
const MAX_NODE_ACTIVITIES = 20;
/** Each poll of a node that is cut off takes one more task with it before others get them. */
const MAX_POLLS = 2;
/** A heartbeat goes out soon after it was made: a resumed sync, the UI and short time-outs rest on it. */
const HEARTBEAT_THROTTLE_MS = 200;
/** What runs when the agent stops is cancelled after this time. */
const SHUTDOWN_GRACE_MS = 2_000;
const SHUTDOWN_FORCE_MS = 5_000;

export interface ActivityWorkersOptions {
  readonly address: string;
  readonly namespace: string;
  readonly deps: ActivityDeps;
  readonly logger: Logger;
  readonly tallies: ControlTallies;
  readonly tracer: Tracer;
}

/** Returns at once; the workers connect when Temporal answers. */
export function startActivityWorkers(options: ActivityWorkersOptions): { stop(): Promise<void> } {
  const { address, namespace, deps, logger, tallies, tracer } = options;
  const observer = activityObserver(tallies.activities, logger);
  installTemporalRuntime(logger);
  const start = (
    name: string,
    taskQueue: string,
    activities: object,
    max: number,
    interceptors: readonly ActivityInboundCallsInterceptor[],
  ) =>
    new SupervisedWorker({
      name,
      address,
      namespace,
      logger,
      worker: {
        taskQueue,
        activities,
        identity: `${deps.self}/${name}`,
        interceptors: {
          activity: [
            (context) => ({ inbound: contextActivityInterceptor(context, tracer) }),
            ...interceptors.map((inbound) => () => ({ inbound })),
          ],
        },
        maxConcurrentActivityTaskExecutions: max,
        maxConcurrentActivityTaskPolls: MAX_POLLS,
        maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE_MS,
        defaultHeartbeatThrottleInterval: HEARTBEAT_THROTTLE_MS,
        shutdownGraceTime: SHUTDOWN_GRACE_MS,
        shutdownForceTime: SHUTDOWN_FORCE_MS,
      },
    });
  const workers = [
    start('shared', SHARED_TASK_QUEUE, createSharedActivities(deps), MAX_SHARED_ACTIVITIES, [
      observer,
      failureInterceptor,
      heartbeatInterceptor,
    ]),
    start('node', nodeTaskQueue(deps.self), createNodeBoundActivities(deps), MAX_NODE_ACTIVITIES, [
      observer,
      failureInterceptor,
      heartbeatInterceptor,
    ]),
  ];
  return {
    async stop() {
      await Promise.all(workers.map((worker) => worker.stop()));
    },
  };
}
