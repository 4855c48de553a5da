import { DomainError, type ErrorCode } from '../../core/errors.js';

const STATUS = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  'already-exists': 409,
  'in-use': 409,
  conflict: 409,
  'stale-write': 412,
  'not-promotable': 412,
  'invalid-state': 422,
  locked: 423,
  'too-many-requests': 429,
  licence: 451,
  'no-capacity': 507,
  'store-unavailable': 503,
  'controller-unavailable': 503,
  'node-unavailable': 503,
  internal: 500,
} as const satisfies Readonly<Record<ErrorCode, number>>;

export type ErrorStatus = (typeof STATUS)[ErrorCode];

/** Status and text of an error for the client. What is no DomainError is a defect and tells nothing outside. */
export function httpError(error: unknown): { status: ErrorStatus; message: string } {
  if (error instanceof DomainError) return { status: STATUS[error.code], message: error.message };
  return { status: 500, message: 'internal error' };
}
