/** Small writes that come together: they take one place in the log, and one message to each copy. */

import type { IoStatus } from '../messages.js';
import { type Batch, ENTRY_BYTES, MAX_BATCH_ENTRIES } from '../record.js';

/**
 * Writes of at most so many bytes become one batch with others, of so many bytes together: without being copied if they
 * lie side by side in memory, as a rule, else copied.
 */
const MAX_JOINED_WRITE_BYTES = 32 << 10;
const MAX_JOINED_BYTES = 128 << 10;

/** Something that is to have a place in the log. */
export interface Orderable {
  batch: Batch;
  readonly durable: boolean;
  readonly done: (status: IoStatus) => void;
  /** There is no room for it. */
  full: boolean;
}

/** Writes that follow each other and are about to be ordered together. */
export class WriteGroup {
  #writes: Orderable[] = [];
  #entryBytes = 0;
  payloadBytes = 0;

  get entries(): number {
    return this.#entryBytes / ENTRY_BYTES;
  }

  get count(): number {
    return this.#writes.length;
  }

  fits({ batch, durable }: Orderable): boolean {
    const [oldest] = this.#writes;
    if (oldest === undefined) return true;
    const { entries, payload } = batch;
    return (
      oldest.durable === durable &&
      oldest.batch.payload.length <= MAX_JOINED_WRITE_BYTES &&
      payload.length <= MAX_JOINED_WRITE_BYTES &&
      this.payloadBytes + payload.length <= MAX_JOINED_BYTES &&
      this.#entryBytes + entries.length <= MAX_BATCH_ENTRIES * ENTRY_BYTES
    );
  }

  add(write: Orderable): void {
    this.#writes.push(write);
    this.#entryBytes += write.batch.entries.length;
    this.payloadBytes += write.batch.payload.length;
  }

  /** Its writes; it is empty then. */
  take(): readonly Orderable[] {
    const writes = this.#writes;
    this.#writes = [];
    this.#entryBytes = 0;
    this.payloadBytes = 0;
    return writes;
  }
}
