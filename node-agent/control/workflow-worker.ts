import type { InjectedSinks, WorkerOptions } from '@temporalio/worker';
import { SHARED_TASK_QUEUE } from '../../workflows/names.js';
import type { ObserverSinks, WorkflowEnd } from '../../workflows/sinks.js';

/** Small: one volume's workflow is a few kB, and what is not cached is replayed. */
const MAX_CACHED_WORKFLOWS = 500;
const MAX_WORKFLOW_TASKS = 10;
/** Each poll of a node that is cut off takes one more task with it before others get them: 2 is the least. */
const MAX_POLLS = 2;
/** A workflow cached by a node that is gone is taken up by another one after this time. */
const STICKY_TIMEOUT_MS = 1_000;

/** Where workflows tell that they have ended. */
export function observerSinks(ended: (end: WorkflowEnd) => void): InjectedSinks<ObserverSinks> {
  return { observer: { ended: { fn: (_info, end) => ended(end) } } };
}

/**
 * How workflows are run. A run that the present code cannot go on with, because of a change without `patched` or of
 * a defect, fails instead of trying for ever: etcd holds all that a new one needs. The library does that only for
 * the first attempt of a task; see rescue.ts for the others.
 */
export const WORKFLOW_WORKER = {
  taskQueue: SHARED_TASK_QUEUE,
  maxCachedWorkflows: MAX_CACHED_WORKFLOWS,
  maxConcurrentWorkflowTaskExecutions: MAX_WORKFLOW_TASKS,
  maxConcurrentWorkflowTaskPolls: MAX_POLLS,
  stickyQueueScheduleToStartTimeout: STICKY_TIMEOUT_MS,
  // 'Error' is any error that is not meant as a workflow's result, nondeterminism among them.
  workflowFailureErrorTypes: { '*': ['Error'] },
  sinks: observerSinks(() => {}),
} satisfies Partial<WorkerOptions>;
