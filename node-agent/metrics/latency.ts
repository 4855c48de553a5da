/** Counts of how long something took, cheap enough for every I/O: no labels, no look-up, no allocation. */

/** Upper bounds of the buckets, seconds; what takes longer is in one more. */
export const LATENCY_BOUNDS_S: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

export class LatencyHistogram {
  /** How many fell into each bucket; not cumulative. */
  readonly buckets = new Float64Array(LATENCY_BOUNDS_S.length + 1);
  sumSeconds = 0;

  observe(seconds: number): void {
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS_S.length && seconds > LATENCY_BOUNDS_S[bucket]!) bucket++;
    this.buckets[bucket]!++;
    this.sumSeconds += seconds;
  }

  get count(): number {
    return this.buckets.reduce((sum, count) => sum + count, 0);
  }
}
