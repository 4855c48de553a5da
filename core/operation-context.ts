/**
 * For whom something is done: goes along with an operation from the request through workflows and activities to the
 * log lines and spans of whatever it causes, on any node.
 */

export interface OperationContext {
  /** Of the API. */
  readonly requestId?: string;
  /** W3C Trace Context: `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`. */
  readonly traceparent?: string;
}

/** In the headers of workflows, updates and activities. */
export const CONTEXT_HEADER = 'storageos-context';

const MAX_ID_CHARS = 128;
const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** What came from outside as far as it is sound; undefined if nothing of it is. */
export function parseOperationContext(value: unknown): OperationContext | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { requestId, traceparent } = value as Readonly<Record<string, unknown>>;
  const context = {
    ...(typeof requestId === 'string' && requestId.length <= MAX_ID_CHARS && { requestId }),
    ...(isTraceparent(traceparent) && { traceparent }),
  };
  return Object.keys(context).length === 0 ? undefined : context;
}

export function isTraceparent(value: unknown): value is string {
  return typeof value === 'string' && TRACEPARENT.test(value);
}

/** The span of a workflow's run: known to everybody who knows the run, without asking. `runId` is a UUID. */
export function spanIdOfRun(runId: string): string {
  return runId.replaceAll('-', '').slice(0, 16);
}

/** The same trace, with another span as the parent of what follows. */
export function withParent(traceparent: string, spanId: string): string {
  const [version, trace, , flags] = traceparent.split('-');
  return [version, trace, spanId, flags].join('-');
}
