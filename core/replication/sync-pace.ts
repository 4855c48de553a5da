/**
 * How fast the syncs of one volume may copy: as fast as users notice little of it. What they notice is by how much
 * their writes take longer than before anything was copied, and by how much the event loop, on which all requests of
 * the node wait, comes later to what is due. The rate is steered to where these delays are what is thought tolerable,
 * as LEDBAT steers by the delay in a network's queues (RFC 6817): in proportion to what is missing it grows by steps
 * or shrinks to a half at the most. Beside alternating between too fast and too slow, that leaves the slowest
 * requests alone. While nobody uses the node it doubles; it never falls below a floor, so that every sync ends.
 */

import type { NodeLoad } from './node-load.js';
import type { ReplicationSettings } from './settings.js';

/** Weight of one write in the average of the present, and in that of the time before. */
const PRESENT_WEIGHT = 0.1;
const BASELINE_WEIGHT = 0.02;
/** How often the rate is looked at, ms, and how many requests, or writes, it takes to judge. */
const LOOK_INTERVAL_MS = 200;
const MIN_REQUESTS = 5;
/** Writes may take twice as long as before, or so many ms longer, which are nothing to notice by themselves. */
const TOLERABLE_WRITE_MS = 2;
/** The event loop may be later by so much, ms, on average: requests wait for it several times. */
const TOLERABLE_LOOP_MS = 1;
/** Without a limit of its own, a sync begins with this rate and grows from there; bytes per second. */
const FIRST_RATE = 64 << 20;
const STEP = 4 << 20;
/** More than what disks and networks give: from there it is soon back when somebody writes; bytes per second. */
const MAX_RATE = 1 << 30;
/** What may go out at once after a pause, and what one message should have at the most, ms of the rate. */
const BURST_MS = 20;
const PIECE_MS = 10;

export class SyncPace {
  readonly #now: () => number;
  readonly #settings: Pick<ReplicationSettings, 'syncBytesPerSecond' | 'syncFloorBytesPerSecond'>;
  readonly #load: NodeLoad;
  #rate: number;
  #present: number | undefined;
  #baseline: number | undefined;
  /** Since they were last enough to judge; and how many requests there were when that was. */
  #writes = 0;
  #requestsBefore: number;
  /** When it was looked at last. */
  #requestsSeen: number;
  #lookedAt = Number.NEGATIVE_INFINITY;
  /** When what was taken so far will have gone out at the present rate. */
  #paidUntil = Number.NEGATIVE_INFINITY;

  constructor(
    now: () => number,
    settings: Pick<ReplicationSettings, 'syncBytesPerSecond' | 'syncFloorBytesPerSecond'>,
    load: NodeLoad,
  ) {
    this.#now = now;
    this.#settings = settings;
    this.#load = load;
    this.#rate = Math.min(FIRST_RATE, this.#limit);
    this.#requestsBefore = load.requests;
    this.#requestsSeen = load.requests;
  }

  get #limit(): number {
    const { syncBytesPerSecond } = this.#settings;
    return syncBytesPerSecond === 0 ? MAX_RATE : syncBytesPerSecond;
  }

  /** Bytes per second at present. */
  get rate(): number {
    return this.#rate;
  }

  /** What one message should have at the most, bytes: a long one holds everybody up at both ends. */
  get pieceBytes(): number {
    return (this.#rate * PIECE_MS) / 1_000;
  }

  /** A write was committed, so long after it got its order. */
  committed(latencyMs: number): void {
    this.#writes++;
    this.#present = average(this.#present, latencyMs, PRESENT_WEIGHT);
    if (this.#load.settled) this.#baseline = average(this.#baseline, latencyMs, BASELINE_WEIGHT);
  }

  /** Bytes are to be copied: how long to wait before, ms. */
  take(bytes: number): number {
    const now = this.#now();
    this.#load.copied();
    if (now - this.#lookedAt >= LOOK_INTERVAL_MS) this.#look(now);
    const start = Math.max(this.#paidUntil, now - BURST_MS);
    this.#paidUntil = start + (bytes / this.#rate) * 1_000;
    return Math.max(0, start - now);
  }

  #look(now: number): void {
    this.#lookedAt = now;
    const { requests } = this.#load;
    const used = requests > this.#requestsSeen;
    this.#requestsSeen = requests;
    const next = used ? this.#besideUsers(requests) : this.#rate * 2;
    this.#rate = Math.min(this.#limit, Math.max(this.#settings.syncFloorBytesPerSecond, next));
  }

  /** A few requests say nothing yet: perhaps they are few as they have to wait. */
  #besideUsers(requests: number): number {
    if (requests - this.#requestsBefore < MIN_REQUESTS) return this.#rate;
    this.#requestsBefore = requests;
    const missing = Math.min(left(this.#load.excessMs, TOLERABLE_LOOP_MS), this.#leftOfWrites());
    return missing > 0 ? this.#rate + STEP * missing : this.#rate * (1 + missing / 2);
  }

  #leftOfWrites(): number {
    if (this.#writes < MIN_REQUESTS || this.#present === undefined || this.#baseline === undefined) return 1;
    this.#writes = 0;
    return left(this.#present - this.#baseline, Math.max(TOLERABLE_WRITE_MS, this.#baseline));
  }
}

/** How much of what is tolerable is left, as a share of it: 1 at the most, and -1 at the least, if it is twice as much. */
function left(delayMs: number, tolerableMs: number): number {
  return Math.max(-1, Math.min(1, (tolerableMs - delayMs) / tolerableMs));
}

function average(before: number | undefined, value: number, weight: number): number {
  return before === undefined ? value : before + (value - before) * weight;
}
