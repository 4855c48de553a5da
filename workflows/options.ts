/** Time-outs and retries, one set for each class of activity. All are idempotent. */

import { ActivityCancellationType, type ActivityOptions } from '@temporalio/workflow';
import type { ErrorCode } from '../core/errors.js';

const NODE_UNAVAILABLE: ErrorCode = 'node-unavailable';

/**
 * The server hands tasks to polls of a node that was cut off for as long as it does not know that: what shows no sign
 * of life (activities/heartbeat.ts) for this time is given to another one.
 */
const TAKEN_AND_LOST = '1500ms';

/**
 * Reads and writes etcd, asks nodes for their status. That a node is away is an answer, which the user is to hear
 * at once: until it is back, other commands would wait behind this one.
 */
export const RECORDS: ActivityOptions = {
  startToCloseTimeout: '15s',
  scheduleToCloseTimeout: '60s',
  retry: {
    initialInterval: '100ms',
    backoffCoefficient: 2,
    maximumInterval: '5s',
    nonRetryableErrorTypes: [NODE_UNAVAILABLE],
  },
};

/** The volume's loop looks again anyway. Short: the node that took it may have been cut off at this moment. */
export const LOOK: ActivityOptions = {
  startToCloseTimeout: '5s',
  heartbeatTimeout: TAKEN_AND_LOST,
  retry: { maximumAttempts: 3, initialInterval: '100ms' },
};

/** Steps of a failover: users wait for them. */
export const FAILOVER: ActivityOptions = {
  startToCloseTimeout: '5s',
  heartbeatTimeout: TAKEN_AND_LOST,
  scheduleToCloseTimeout: '30s',
  retry: { initialInterval: '50ms', backoffCoefficient: 2, maximumInterval: '1s' },
};

/** Asks all nodes, which may have to open copies, and writes once: an operator waits, and hears what is in the way. */
export const RECOVERING: ActivityOptions = {
  startToCloseTimeout: '60s',
  retry: { initialInterval: '200ms', maximumInterval: '2s', maximumAttempts: 5 },
};

/** Waits for something that another part of the system does. */
export const WAITING: ActivityOptions = {
  startToCloseTimeout: '2m',
  heartbeatTimeout: '5s',
  retry: { initialInterval: '200ms', maximumInterval: '2s', maximumAttempts: 5 },
};

/** On a certain node, which must be there to begin with, and stay. That another one is away the user hears at once. */
export const ON_NODE: ActivityOptions = {
  scheduleToStartTimeout: '10s',
  startToCloseTimeout: '60s',
  heartbeatTimeout: '5s',
  retry: {
    initialInterval: '200ms',
    maximumInterval: '2s',
    maximumAttempts: 3,
    nonRetryableErrorTypes: [NODE_UNAVAILABLE],
  },
};

/** A node that does not begin to erase erases later, by itself: it watches for tombstones. */
export const ERASING: ActivityOptions = { ...ON_NODE, scheduleToStartTimeout: '3s' };

/**
 * The primary, asked to take a copy out, which gives up after a few seconds itself (`removalTimeoutMs`). Short: if it
 * cannot, the volume may need another one.
 */
export const REMOVING: ActivityOptions = {
  scheduleToStartTimeout: '3s',
  startToCloseTimeout: '10s',
  heartbeatTimeout: '3s',
  retry: { initialInterval: '200ms', maximumInterval: '2s', maximumAttempts: 2 },
};

/**
 * Moves data; how long that takes nobody knows. Cancelled without waiting for the node, which may be the one that
 * failed: what it still does is fenced by its epoch.
 */
export const DATA: ActivityOptions = {
  scheduleToStartTimeout: '10s',
  startToCloseTimeout: '7d',
  cancellationType: ActivityCancellationType.TRY_CANCEL,
  heartbeatTimeout: '10s',
  retry: { initialInterval: '500ms', maximumInterval: '5s', maximumAttempts: 3 },
};

/** How long a failover waits for the new primary to serve before the loop looks again, which names another one in time. */
export const SERVING_TIMEOUT_MS = 8_000;
/** The same at provisioning, where nothing but an empty log has to be agreed on. */
export const FIRST_SERVING_TIMEOUT_MS = 30_000;
