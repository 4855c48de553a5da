export interface Distribution {
  readonly median: number;
  readonly p95: number;
  readonly max: number;
}

/** By nearest rank, rounded to whole numbers. `values`: at least one. */
export function distribution(values: readonly number[]): Distribution {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (share: number): number =>
    Math.round(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN);
  return { median: rank(0.5), p95: rank(0.95), max: rank(1) };
}
