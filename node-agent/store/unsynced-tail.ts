/**
 * What opening finds of the log that is not known to be durable. A sync that failed in an earlier life leaves pages in
 * the page cache that are intact to read and that the kernel takes for written: another sync would succeed without
 * writing them ("fsyncgate", Rebello et al., "Can applications recover from fsync failures?", 2020). So they are
 * written again before they are synced.
 */

import type { Disk } from '../../core/ports.js';
import type { Segment } from './segment.js';

const PIECE_BYTES = 1024 * 1024;

interface Place {
  readonly batch: number;
  readonly segment: Segment;
  readonly offset: number;
}

export class UnsyncedTail {
  /** Where batches begin, ascending: the last one that is known to be durable, and those behind it. */
  #places: Place[] = [];
  #first = 0;
  #durable: number;

  /** `durable`: all batches up to this one are known to be durable. */
  constructor(durable: number) {
    this.#durable = durable;
  }

  /** A batch was found. `durable`: what it says of those before it. */
  found(batch: number, durable: number, segment: Segment, offset: number): void {
    this.#durable = Math.max(this.#durable, durable);
    this.#places.push({ batch, segment, offset });
    while (this.#first < this.#places.length && this.#places[this.#first]!.batch <= this.#durable) this.#first++;
    if (this.#first < 1024) return;
    this.#places = this.#places.slice(this.#first);
    this.#first = 0;
  }

  /** Writes it again, as it is read. A sync has to follow. */
  async rewrite(disk: Disk): Promise<void> {
    const begins = new Map<Segment, number>();
    for (const { segment, offset } of this.#places.slice(this.#first)) {
      if (!begins.has(segment)) begins.set(segment, offset);
    }
    for (const [segment, begin] of begins) {
      const file = await disk.openAsync(segment.path, { create: false });
      try {
        for (let at = begin; at < segment.size; ) {
          const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, segment.size - at));
          const count = await file.readAsync(piece, at);
          if (count === 0) break;
          await file.writeAsync([piece.subarray(0, count)], at);
          at += count;
        }
      } finally {
        await file.close();
      }
    }
  }
}
