/**
 * How fast the syncs of one volume may copy. Foreground writes say so: they are compared with how long they took
 * before anything was copied. The rate is halved when they have become much slower, and grows by steps while they
 * have not (additive increase, multiplicative decrease: Chiu and Jain, 1989), or doubles while there are none; it
 * never falls below a floor, so that every sync ends.
 */

import type { ReplicationSettings } from './settings.js';

/** Weight of one write in the average of the present, and in that of the time before. */
const PRESENT_WEIGHT = 0.1;
const BASELINE_WEIGHT = 0.02;
/** How often the rate is looked at, ms, and how many writes it takes to judge. */
const LOOK_INTERVAL_MS = 200;
const MIN_WRITES = 5;
/** Slower than before: by this factor, and by as many ms, which are nothing to notice by themselves. */
const SLOWER_FACTOR = 2;
const SLOWER_MS = 2;
/** Without a limit of its own, a sync begins with this rate and grows from there; bytes per second. */
const FIRST_RATE = 64 << 20;
const STEP = 16 << 20;
/** More than what disks and networks give: from there it is soon back when somebody writes; bytes per second. */
const MAX_RATE = 1 << 30;
/** What may go out at once after a pause, ms of the rate. */
const BURST_MS = 50;
/** The baseline is not touched so long after the last copying: its traces are still there. */
const SETTLING_MS = 1_000;

export class SyncPace {
  readonly #now: () => number;
  readonly #settings: Pick<ReplicationSettings, 'syncBytesPerSecond' | 'syncFloorBytesPerSecond'>;
  #rate: number;
  #present: number | undefined;
  #baseline: number | undefined;
  /** Since the last look. */
  #writes = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #copiedAt = Number.NEGATIVE_INFINITY;
  /** When what was taken so far will have gone out at the present rate. */
  #paidUntil = Number.NEGATIVE_INFINITY;

  constructor(
    now: () => number,
    settings: Pick<ReplicationSettings, 'syncBytesPerSecond' | 'syncFloorBytesPerSecond'>,
  ) {
    this.#now = now;
    this.#settings = settings;
    this.#rate = Math.min(FIRST_RATE, this.#limit);
  }

  get #limit(): number {
    const { syncBytesPerSecond } = this.#settings;
    return syncBytesPerSecond === 0 ? MAX_RATE : syncBytesPerSecond;
  }

  /** Bytes per second at present. */
  get rate(): number {
    return this.#rate;
  }

  /** A write was committed, so long after it got its order. */
  committed(latencyMs: number): void {
    this.#writes++;
    this.#present = average(this.#present, latencyMs, PRESENT_WEIGHT);
    if (this.#now() - this.#copiedAt > SETTLING_MS) {
      this.#baseline = average(this.#baseline, latencyMs, BASELINE_WEIGHT);
    }
  }

  /** Bytes are to be copied: how long to wait before, ms. */
  take(bytes: number): number {
    const now = this.#now();
    this.#copiedAt = now;
    if (now - this.#lookedAt >= LOOK_INTERVAL_MS) this.#look(now);
    const start = Math.max(this.#paidUntil, now - BURST_MS);
    this.#paidUntil = start + (bytes / this.#rate) * 1_000;
    return Math.max(0, start - now);
  }

  #look(now: number): void {
    this.#lookedAt = now;
    const judged = this.#writes >= MIN_WRITES;
    const slower =
      judged &&
      this.#present !== undefined &&
      this.#baseline !== undefined &&
      this.#present > Math.max(this.#baseline * SLOWER_FACTOR, this.#baseline + SLOWER_MS);
    if (judged) this.#writes = 0;
    // Nobody writes: nothing is to be given way to, and the disks and the network say how fast it goes.
    const faster = judged ? this.#rate + STEP : this.#rate * 2;
    const next = slower ? this.#rate / 2 : faster;
    this.#rate = Math.min(this.#limit, Math.max(this.#settings.syncFloorBytesPerSecond, next));
  }
}

function average(before: number | undefined, value: number, weight: number): number {
  return before === undefined ? value : before + (value - before) * weight;
}
