/** Activities as the workflows call them. */

import { proxyActivities } from '@temporalio/workflow';
import type { NodeBoundActivities, SharedActivities } from '../activities/index.js';
import type { NodeId } from '../core/types.js';
import { nodeTaskQueue, SHARED_TASK_QUEUE } from './names.js';
import { DATA, ERASING, FAILOVER, LOOK, ON_NODE, RECORDS, RECOVERING, REMOVING, WAITING } from './options.js';

const shared = { taskQueue: SHARED_TASK_QUEUE };

export const { lookAtVolume } = proxyActivities<SharedActivities>({ ...LOOK, ...shared });
export const { namePrimary } = proxyActivities<SharedActivities>({ ...FAILOVER, ...shared });
export const { recoverMembership, recoverLostVolume } = proxyActivities<SharedActivities>({ ...RECOVERING, ...shared });
export const { awaitServing } = proxyActivities<SharedActivities>({ ...WAITING, ...shared });
export const { verifyCopies } = proxyActivities<SharedActivities>({ ...DATA, ...shared });
export const records = proxyActivities<SharedActivities>({ ...RECORDS, ...shared });

/** Errors: 'node-unavailable' if the node does not begin in time (failures.ts). */
export function onNode(node: NodeId) {
  return proxyActivities<NodeBoundActivities>({ ...ON_NODE, taskQueue: nodeTaskQueue(node) });
}

export function erasingOnNode(node: NodeId) {
  return proxyActivities<Pick<NodeBoundActivities, 'eraseDeployment'>>({ ...ERASING, taskQueue: nodeTaskQueue(node) });
}

export function removingOnNode(node: NodeId) {
  return proxyActivities<Pick<NodeBoundActivities, 'removeMember'>>({ ...REMOVING, taskQueue: nodeTaskQueue(node) });
}

/** Like `onNode`, with heartbeats instead of a time limit. */
export function dataOnNode(node: NodeId) {
  return proxyActivities<NodeBoundActivities>({ ...DATA, taskQueue: nodeTaskQueue(node) });
}
