/**
 * How many syncs a node takes in at a time: they share its disks and its network, whoever they come from. A target that
 * is refused asks again; of those who ask, the one that has begun to ask first is taken first. What nobody hears of any
 * more, as its source has died or has given up, loses its place.
 */

import type { Clock } from '../ports.js';
import type { DeploymentId } from '../types.js';

/** A sync of which nothing was heard for so long has ended, ms: as long as its source waits for an answer. */
const SILENCE_MS = 15_000;
/** Who has not asked for so long is not waited for, ms; longer than the pauses between questions. */
const PATIENCE_MS = 5_000;
/** Its place is kept for longer, ms: its source may itself have to wait for its turn before it can ask again. */
const PLACE_MS = 10 * 60_000;
/** Copies that are remembered while they wait. */
const MAX_WAITING = 1_024;

export interface SyncAdmission {
  /** Whether this copy may be filled now; it may until its release, as long as it is heard of. */
  admit(target: DeploymentId): boolean;
  /** Its sync goes on. */
  renew(target: DeploymentId): void;
  /** Its sync is over, or it is closed. */
  release(target: DeploymentId): void;
}

/** For nodes that take whatever comes. */
export const ADMIT_ALL: SyncAdmission = { admit: () => true, renew: () => {}, release: () => {} };

export class BoundedAdmission implements SyncAdmission {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #limit: number;
  /** When each was last heard of. */
  readonly #admitted = new Map<DeploymentId, number>();
  /** When each has asked last, in the order of their first questions. */
  readonly #waiting = new Map<DeploymentId, number>();

  constructor(clock: Pick<Clock, 'now'>, limit: number) {
    this.#clock = clock;
    this.#limit = limit;
  }

  admit(target: DeploymentId): boolean {
    const now = this.#clock.now();
    forget(this.#admitted, now - SILENCE_MS);
    forget(this.#waiting, now - PLACE_MS);
    if (!this.#admitted.has(target)) {
      const free = this.#limit - this.#admitted.size;
      if (this.#before(target, now - PATIENCE_MS) >= free) {
        if (this.#waiting.has(target) || this.#waiting.size < MAX_WAITING) this.#waiting.set(target, now);
        return false;
      }
      this.#waiting.delete(target);
    }
    this.#admitted.set(target, now);
    return true;
  }

  /** Who has begun to ask earlier, and has asked since then. */
  #before(target: DeploymentId, since: number): number {
    let before = 0;
    for (const [waiting, askedAt] of this.#waiting) {
      if (waiting === target) break;
      if (askedAt >= since) before++;
    }
    return before;
  }

  renew(target: DeploymentId): void {
    if (this.#admitted.has(target)) this.#admitted.set(target, this.#clock.now());
  }

  release(target: DeploymentId): void {
    this.#admitted.delete(target);
  }
}

function forget(times: Map<DeploymentId, number>, before: number): void {
  for (const [target, at] of times) if (at < before) times.delete(target);
}
