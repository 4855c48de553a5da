/** Failures as the workflows meet them: wrapped by activities and children, typed by a DomainError's code. */

import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { ActivityFailure, ApplicationFailure, ChildWorkflowFailure, TimeoutFailure } from '@temporalio/workflow';
import type { ErrorCode } from '../core/errors.js';

/** The failure at the bottom, whose type is an ErrorCode; a node that did not begin or ended in the middle is away. */
export function rootFailure(error: unknown): ApplicationFailure {
  let at: unknown = error;
  while ((at instanceof ActivityFailure || at instanceof ChildWorkflowFailure) && at.cause !== undefined) at = at.cause;
  if (at instanceof ApplicationFailure) return at;
  const message = at instanceof Error ? at.message : String(at);
  if (at instanceof WorkflowExecutionAlreadyStartedError) {
    return failure('locked', `the same operation runs already: ${at.workflowId}`);
  }
  if (at instanceof TimeoutFailure) {
    const activity = error instanceof ActivityFailure ? `${error.activityType}: ` : '';
    return failure('node-unavailable', `${activity}its node is down, cut off or too busy (${message})`);
  }
  return failure('internal', message);
}

/** Fails a workflow or an update for good, with a DomainError's code. */
export function failure(code: ErrorCode, message: string): ApplicationFailure {
  return ApplicationFailure.create({ type: code, message, nonRetryable: true });
}

export function failureCode(error: unknown): string {
  return rootFailure(error).type ?? 'internal';
}
