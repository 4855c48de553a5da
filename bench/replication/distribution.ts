export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** By nearest rank; NaN of no values. */
export function percentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  const rank = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
  return { p50: rank(0.5), p95: rank(0.95), p99: rank(0.99), max: rank(1) };
}

/** Of a pause in many rounds, ms. */
export interface Distribution {
  readonly median: number;
  readonly p95: number;
  readonly max: number;
}

/** Rounded to whole milliseconds. */
export function distribution(values: readonly number[]): Distribution {
  const { p50, p95, max } = percentiles(values);
  return { median: Math.round(p50), p95: Math.round(p95), max: Math.round(max) };
}
