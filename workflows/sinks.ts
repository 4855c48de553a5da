/** What workflows tell the process that runs them, beside their history; never while they are replayed. */

import type { Sinks } from '@temporalio/workflow';

export interface WorkflowEnd {
  readonly workflow: string;
  readonly workflowId: string;
  readonly runId: string;
  /** `completed`, `continued` as a new run, `cancelled`, or the code of the error. */
  readonly result: string;
  /** Since 1970. */
  readonly startedMs: number;
  readonly endedMs: number;
  /** What it was started within (core/operation-context.ts). */
  readonly traceparent?: string;
}

export interface ObserverSinks extends Sinks {
  readonly observer: {
    ended(end: WorkflowEnd): void;
  };
}
