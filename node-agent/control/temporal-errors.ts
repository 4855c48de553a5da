/** What goes wrong between the agent and Temporal, as DomainErrors. */

import { status } from '@grpc/grpc-js';
import {
  isGrpcServiceError,
  ServiceError,
  WorkflowFailedError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import {
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  TimeoutFailure,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
} from '@temporalio/common';
import { DomainError, isErrorCode } from '../../core/errors.js';

/** gRPC's codes for a server that is not there, or cannot do anything at the moment. */
const AWAY: ReadonlySet<number> = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.CANCELLED,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
]);

/** The workflow has ended meanwhile, or does not exist: a new one is to be started. */
export function isWorkflowGone(error: unknown): boolean {
  if (error instanceof WorkflowNotFoundError) return true;
  const code = grpcCode(error);
  return code === status.NOT_FOUND || code === status.ABORTED || code === status.FAILED_PRECONDITION;
}

export function isAlreadyStarted(error: unknown): boolean {
  return error instanceof WorkflowExecutionAlreadyStartedError || grpcCode(error) === status.ALREADY_EXISTS;
}

export function toDomainError(error: unknown, what: string): DomainError {
  if (error instanceof DomainError) return error;
  const root = rootCause(error);
  if (root instanceof ApplicationFailure && isErrorCode(root.type)) {
    return new DomainError(root.type, root.message, { cause: error });
  }
  if (isAlreadyStarted(error)) return new DomainError('locked', `${what}: it is under way already`, { cause: error });
  if (root instanceof TimeoutFailure) {
    return new DomainError('node-unavailable', `${what}: a node did not answer in time`, { cause: error });
  }
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return away(what, error);
  const code = grpcCode(error);
  if (code !== undefined && AWAY.has(code)) return away(what, error);
  const detail = root instanceof Error ? root.message : String(root);
  return new DomainError('internal', `${what}: ${detail}`, { cause: error });
}

function away(what: string, cause: unknown): DomainError {
  return new DomainError('controller-unavailable', `${what}: Temporal does not answer; it may still be done later`, {
    cause,
  });
}

function rootCause(error: unknown): unknown {
  let at = error;
  while (
    (at instanceof WorkflowUpdateFailedError ||
      at instanceof WorkflowFailedError ||
      at instanceof ActivityFailure ||
      at instanceof ChildWorkflowFailure) &&
    at.cause !== undefined
  ) {
    at = at.cause;
  }
  return at;
}

function grpcCode(error: unknown): number | undefined {
  if (isGrpcServiceError(error)) return error.code;
  if (error instanceof ServiceError && isGrpcServiceError(error.cause)) return error.cause.code;
  return undefined;
}
