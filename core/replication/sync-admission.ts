/**
 * How many syncs a node takes in at a time: they share its disks and its network, whoever they come from. A target that
 * is refused asks again; whoever has asked for longest is taken first, so that nobody waits for ever. What nobody hears
 * of any more, as its source has died or has given up, loses its place.
 */

import type { Clock } from '../ports.js';
import type { DeploymentId } from '../types.js';

/** A sync of which nothing was heard for so long has ended, ms: as long as its source waits for an answer. */
const SILENCE_MS = 15_000;
/** Who does not ask again for so long has given up, ms; longer than the pauses between questions. */
const PATIENCE_MS = 5_000;
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
    forget(this.#waiting, now - PATIENCE_MS);
    if (!this.#admitted.has(target)) {
      const free = this.#limit - this.#admitted.size;
      const place = [...this.#waiting.keys()].indexOf(target);
      const before = place < 0 ? this.#waiting.size : place;
      if (before >= free) {
        if (place >= 0 || this.#waiting.size < MAX_WAITING) this.#waiting.set(target, now);
        return false;
      }
      this.#waiting.delete(target);
    }
    this.#admitted.set(target, now);
    return true;
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
