/**
 * Slows writers down when a node's space runs out although some can be given back, so that cleaner and checkpoints
 * come to it first: the rate of payload falls with the room that is left, from what the cleaner can free at best down
 * to a crawl. With hardly any room left writes are held, once and for a bounded time; what comes then, or when there
 * is nothing to give back, goes ahead and is told that the disk is full.
 */

import type { Clock } from '../../core/ports.js';
import { MAX_BATCH_PAYLOAD_BYTES } from '../../core/record.js';
import type { Devices } from './devices.js';

/** The slowest that writers get, bytes per second. */
const MIN_BYTES_PER_SECOND = 1024 * 1024;
/** With less room than this for payload, writes are held. */
const HELD_BELOW_BYTES = 2 * MAX_BATCH_PAYLOAD_BYTES;
/** The longest hold. It ends before, as soon as there is room. */
const MAX_HOLD_MS = 20_000;
/** Whoever is held asks again after this time. */
const HOLD_STEP_MS = 100;
/** What could be freed is found out no more often, nor what is free while that is more than a few batches. */
const LOOK_INTERVAL_MS = 100;
/** With less room than this, the file system is asked each time: the cleaner's copies take room too, and fast. */
const LOOK_BELOW_BYTES = 64 * 1024 * 1024;

export interface ThrottleOptions {
  readonly clock: Clock;
  readonly devices: Pick<Devices, 'low' | 'room'>;
  /** Writers are slowed down while less room than this is left, bytes. */
  readonly zoneBytes: number;
  /** What the cleaner frees at best. */
  readonly maxBytesPerSecond: number;
  /** Less garbage than this is not worth waiting for, bytes. */
  readonly worthwhileBytes: number;
  /** Garbage of all deployments on this node, bytes. */
  readonly garbageBytes: () => number;
}

export class Throttle {
  readonly #options: ThrottleOptions;
  #roomBytes = Number.POSITIVE_INFINITY;
  #mayBeFreed = false;
  #lookedAt = Number.NEGATIVE_INFINITY;
  /** When all payload that was written is paid for at the rate of its time. */
  #due = Number.NEGATIVE_INFINITY;
  #heldSince: number | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ThrottleOptions) {
    this.#options = options;
  }

  /** How long the next payload should wait. */
  get delayMs(): number {
    const { clock, devices } = this.#options;
    if (!devices.low) return 0;
    const now = clock.now();
    // A shortage that nobody has met for so long is another one.
    if (now - this.#askedAt > MAX_HOLD_MS) this.#heldSince = undefined;
    this.#askedAt = now;
    this.#look(now);
    if (!this.#slows) {
      this.#heldSince = undefined;
      return 0;
    }
    if (this.#roomBytes >= HELD_BELOW_BYTES) {
      this.#heldSince = undefined;
      return Math.max(0, this.#due - now);
    }
    this.#heldSince ??= now;
    return now - this.#heldSince < MAX_HOLD_MS ? HOLD_STEP_MS : 0;
  }

  /** So many bytes of payload were appended. */
  wrote(bytes: number): void {
    if (!this.#slows) return;
    const { clock, zoneBytes, maxBytesPerSecond } = this.#options;
    const rate = Math.max(MIN_BYTES_PER_SECOND, (maxBytesPerSecond * this.#roomBytes) / zoneBytes);
    this.#due = Math.max(this.#due, clock.now()) + (bytes / rate) * 1000;
  }

  /** Whether writers are being slowed down. */
  get active(): boolean {
    return this.#options.devices.low && this.#slows;
  }

  get #slows(): boolean {
    return this.#mayBeFreed && this.#roomBytes < this.#options.zoneBytes;
  }

  #look(now: number): void {
    const { devices, garbageBytes, worthwhileBytes } = this.#options;
    const isTime = now - this.#lookedAt >= LOOK_INTERVAL_MS;
    if (isTime || this.#roomBytes < LOOK_BELOW_BYTES) this.#roomBytes = devices.room();
    if (!isTime) return;
    this.#lookedAt = now;
    this.#mayBeFreed = garbageBytes() >= worthwhileBytes;
  }
}
