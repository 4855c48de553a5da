/**
 * What all that a node does has in common: the event loop, on which users' requests wait behind everything else. How
 * late it comes to what is due says how long they wait there; compared with how late it came when no sync was copying,
 * it says what syncs do to them, in whichever volume.
 */

/** Weight of one observation in the average of the present, and in that of the time before. */
const PRESENT_WEIGHT = 0.2;
const BASELINE_WEIGHT = 0.02;
/** Timers are counted in whole milliseconds: on an idle loop they come so late on average, ms. */
const IDLE_MS = 1;
/** The baseline is not touched so long after the last copying: its traces are still there, ms. */
const SETTLING_MS = 1_000;

export class NodeLoad {
  /** Of frontends, answered by this node's primaries so far. */
  requests = 0;
  readonly #now: () => number;
  #present = IDLE_MS;
  #baseline = IDLE_MS;
  #copiedAt = Number.NEGATIVE_INFINITY;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Something was done so many ms after it was due. */
  late(ms: number): void {
    this.#present += (ms - this.#present) * PRESENT_WEIGHT;
    if (this.settled) this.#baseline += (ms - this.#baseline) * BASELINE_WEIGHT;
  }

  /** A sync copies here, as its source or its target. */
  copied(): void {
    this.#copiedAt = this.#now();
  }

  /** Whether no sync has copied here for a while. */
  get settled(): boolean {
    return this.#now() - this.#copiedAt > SETTLING_MS;
  }

  /** By how many ms the event loop is later than it is without syncs. */
  get excessMs(): number {
    return Math.max(0, this.#present - this.#baseline);
  }
}
