/** Memory to be given back, as tests count it: what was released is overwritten at once. */

import type { Lease } from '../../../core/record.js';
import type { Held, IoMemory } from '../../../node-agent/codec/index.js';

export const POISON = 0xdd;
const WINDOW_BYTES = 64 << 10;

export class TestMemory implements IoMemory {
  readonly window = Buffer.alloc(WINDOW_BYTES, POISON);
  readonly totalBytes = Number.POSITIVE_INFINITY;
  readonly freeBytes = Number.POSITIVE_INFINITY;
  /** Takings that somebody holds. */
  held = 0;

  take(bytes: number): Held {
    return new PoisonedMemory(Buffer.alloc(bytes, POISON), this);
  }
}

/** Memory that shows it when somebody uses it too long. */
export class PoisonedMemory implements Held {
  bytes: Buffer;
  readonly #owner: { held: number };
  #holders = 1;

  constructor(bytes: Buffer, owner: { held: number }) {
    this.bytes = bytes;
    this.#owner = owner;
    owner.held++;
  }

  get exclusive(): boolean {
    return this.#holders === 1;
  }

  get lease(): Lease {
    return this;
  }

  shrink(length: number): Buffer {
    this.bytes = this.bytes.subarray(0, length);
    return this.bytes;
  }

  retain(): void {
    if (this.#holders === 0) throw new Error('held after it was given back');
    this.#holders++;
  }

  release(): void {
    if (this.#holders === 0) throw new Error('released more often than held');
    if (--this.#holders > 0) return;
    this.bytes.fill(POISON);
    this.#owner.held--;
  }
}
