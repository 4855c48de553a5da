/** Why a request to the API has no good answer. */
export type ApiFailure =
  /** It answered with an error status. */
  | 'refused'
  /** No endpoint could be reached, or the connection broke. */
  | 'unreachable'
  | 'timeout'
  /** It answered with something that is not its own. */
  | 'malformed';

export class ApiError extends Error {
  readonly failure: ApiFailure;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** What the API said, or what happened on the way, without naming the request. */
  readonly reason: string;
  /** The request was to make an object: 409 then means that there is one of this name. */
  readonly creating: boolean;

  constructor(
    failure: ApiFailure,
    request: string,
    reason: string,
    details: { readonly status?: number; readonly creating?: boolean; readonly cause?: unknown } = {},
  ) {
    const { status = 0, creating = false, cause } = details;
    super(`${request}: ${status === 0 ? '' : `HTTP ${status}: `}${reason}`, { cause });
    this.name = 'ApiError';
    this.failure = failure;
    this.status = status;
    this.reason = reason;
    this.creating = creating;
  }
}
