/** Errors on their way through Temporal: the DomainError's code is the failure's type. */

import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import { DomainError, type ErrorCode } from '../core/errors.js';
import { DiskError } from '../core/ports.js';
import { ReplicationError, type ReplicationErrorCode } from '../core/replication/context.js';

const REPLICATION_CODES: Readonly<Record<ReplicationErrorCode, ErrorCode>> = {
  'not-primary': 'invalid-state',
  'invalid-state': 'invalid-state',
  'target-lost': 'node-unavailable',
  'target-refused': 'invalid-state',
  'target-busy': 'locked',
  cancelled: 'invalid-state',
  'bad-block': 'internal',
  busy: 'locked',
};

function toDomainError(error: unknown): DomainError {
  if (error instanceof DomainError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ReplicationError) return new DomainError(REPLICATION_CODES[error.code], message);
  if (error instanceof DiskError && error.code === 'no-space') return new DomainError('no-capacity', message);
  return new DomainError('internal', message);
}

/** What an activity throws for `error`; only a retryable DomainError is tried again. */
export function toFailure(error: unknown): unknown {
  if (error instanceof ApplicationFailure || error instanceof CancelledFailure) return error;
  const { code, message, retryable } = toDomainError(error);
  return ApplicationFailure.create({ type: code, message, nonRetryable: !retryable });
}

/** Applies `toFailure` to every activity of a worker. */
export const failureInterceptor: ActivityInboundCallsInterceptor = {
  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    try {
      return await next(input);
    } catch (error) {
      throw toFailure(error);
    }
  },
};
