/** What can go wrong in the control plane, typed once; API, CLI, CSI and workflows map `code` to their own status. */

/** Every code; also what a peer or a workflow may send. */
export const ERROR_CODES = [
  /** The request is malformed or out of range. HTTP 400 */
  'invalid',
  /** Not logged in, or wrong credentials. 401 */
  'unauthenticated',
  /** 403 */
  'forbidden',
  /** 404 */
  'not-found',
  /** 409 */
  'already-exists',
  /** 409 */
  'in-use',
  /** Two settings of the object contradict each other; the message names both with their values. 409 */
  'conflict',
  /** Somebody changed the object meanwhile. 412 */
  'stale-write',
  /** The replica does not hold every acknowledged write. 412 */
  'not-promotable',
  /** The object's state does not allow it. 422 */
  'invalid-state',
  /** Another operation holds the object. 423 */
  'locked',
  /** Slow down. 429 */
  'too-many-requests',
  /** 451 */
  'licence',
  /** No node has room, or there are not enough suitable nodes. 507 */
  'no-capacity',
  /** etcd does not answer; nothing was changed unless the message says otherwise. 503 */
  'store-unavailable',
  /** Temporal does not answer. 503 */
  'controller-unavailable',
  /** A node that the operation needs does not answer. 503 */
  'node-unavailable',
  /** 500 */
  'internal',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

const CODES: ReadonlySet<string> = new Set(ERROR_CODES);

export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === 'string' && CODES.has(text);
}

const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  'stale-write',
  'locked',
  'too-many-requests',
  'store-unavailable',
  'controller-unavailable',
  'node-unavailable',
]);

/** Says what failed, for which object, and what the user can do. */
export class DomainError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'DomainError';
    this.code = code;
  }

  /** Whether the same request may succeed later without the user changing anything. */
  get retryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}
