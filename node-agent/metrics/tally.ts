import { LatencyHistogram } from './latency.js';
import type { Labels } from './sampled.js';

/** Combinations of labels that are kept; what comes beyond them is not counted. */
export const MAX_COMBINATIONS = 1000;

/** How often something happened, and how long it took, by a few labels whose values are known beforehand. */
export class Tally<L extends string> {
  readonly labels: readonly L[];
  readonly #entries = new Map<string, { readonly labels: Labels; readonly latency: LatencyHistogram }>();

  constructor(...labels: readonly L[]) {
    this.labels = labels;
  }

  observe(seconds: number, values: Readonly<Record<L, string>>): void {
    const key = this.labels.map((label) => values[label]).join('\n');
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      if (this.#entries.size >= MAX_COMBINATIONS) return;
      entry = { labels: values, latency: new LatencyHistogram() };
      this.#entries.set(key, entry);
    }
    entry.latency.observe(seconds);
  }

  entries(): Iterable<{ readonly labels: Labels; readonly latency: LatencyHistogram }> {
    return this.#entries.values();
  }
}
