import { LatencyHistogram } from '../metrics/latency.js';

/** What one direction of a volume's frontend has done since it was attached. Counters only rise. */
export interface OperationStats {
  operations: number;
  bytes: number;
  errors: number;
  /** Time from the request's arrival to its answer. */
  readonly latency: LatencyHistogram;
}

export type OperationKind = 'read' | 'write' | 'trim' | 'flush';

/** `trim` counts both TRIM and WRITE_ZEROES. */
export type FrontendStats = Readonly<Record<OperationKind, OperationStats>>;

export function newFrontendStats(): FrontendStats {
  const zero = (): OperationStats => ({ operations: 0, bytes: 0, errors: 0, latency: new LatencyHistogram() });
  return { read: zero(), write: zero(), trim: zero(), flush: zero() };
}
