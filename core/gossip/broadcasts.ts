import type { NodeId } from '../types.js';
import type { Update } from './types.js';

interface Queued {
  readonly update: Update;
  readonly bytes: number;
  sent: number;
}

/**
 * Updates that are still to be spread: one for each member, the newest; each is sent a bounded number of times,
 * those that were sent least first.
 */
export class Broadcasts {
  readonly #queue = new Map<NodeId, Queued>();
  readonly #measure: (update: Update) => number;

  constructor(measure: (update: Update) => number) {
    this.#measure = measure;
  }

  get empty(): boolean {
    return this.#queue.size === 0;
  }

  add(update: Update): void {
    this.#queue.set(update.node, { update, bytes: this.#measure(update), sent: 0 });
  }

  /** Updates of at most `bytes` together, `first` among them if it is given. */
  take(bytes: number, retransmits: number, first?: Update): Update[] {
    const taken: Update[] = [];
    let left = bytes;
    if (first !== undefined) {
      taken.push(first);
      left -= this.#measure(first);
    }
    for (const queued of [...this.#queue.values()].sort((a, b) => a.sent - b.sent)) {
      if (queued.update.node === first?.node || queued.bytes > left) continue;
      left -= queued.bytes;
      taken.push(queued.update);
      queued.sent += 1;
      if (queued.sent >= retransmits) this.#queue.delete(queued.update.node);
    }
    return taken;
  }
}
