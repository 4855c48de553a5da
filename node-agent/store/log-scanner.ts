/** Reads a segment's batches one after the other, with large reads that don't hold up the event loop. */

import type { DiskFile } from '../../core/ports.js';
import type { Batch } from '../../core/record.js';
import { ENTRY_BYTES } from '../../core/record.js';
import {
  BATCH_BACKFILL,
  BATCH_MAGIC,
  BATCH_POSITION,
  type BatchHeader,
  batchBytes,
  HEADER_BYTES,
  MAX_TABLE_BYTES,
  parseHeader,
  type StoreIdentity,
  tableBytes,
  tableIntact,
} from './format.js';

const READ_AHEAD_BYTES = 1024 * 1024;
const MAGIC_BYTES = Buffer.alloc(4);
MAGIC_BYTES.writeUInt32LE(BATCH_MAGIC);

/** A batch whose header and table are intact and whose payload is there; the payload's checksums are unchecked. */
export interface ScannedBatch {
  readonly header: BatchHeader;
  /** Entries, and for a backfill the orders behind them. Views of the scanner's memory, which is never reused. */
  readonly table: Buffer;
  readonly batch: Batch;
  /** Offset behind it. */
  readonly end: number;
}

export interface ScanProblem {
  readonly what: string;
  /** The file ends within what may be a batch: what a write leaves that was interrupted by the process's end. */
  readonly cutShort: boolean;
}

export class SegmentScanner {
  readonly #file: DiskFile;
  readonly #identity: StoreIdentity;
  readonly #segment: number;
  readonly size: number;
  #window = Buffer.alloc(0);
  #windowAt = 0;

  /** Looks at the first `size` bytes of segment number `segment`. */
  constructor(file: DiskFile, identity: StoreIdentity, segment: number, size: number) {
    this.#file = file;
    this.#identity = identity;
    this.#segment = segment;
    this.size = size;
  }

  /** The batch at `offset`, or what is wrong with it. Rejects with the disk's errors. */
  async batch(offset: number): Promise<ScannedBatch | ScanProblem> {
    if (offset + HEADER_BYTES > this.size) return { what: 'batch header cut short', cutShort: true };
    let at = await this.#ensure(offset, HEADER_BYTES);
    const header = parseHeader(this.#window, at, this.#identity, this.#segment, offset);
    if (header === undefined) return { what: 'no batch header', cutShort: false };
    const table = tableBytes(header.kind, header.entryCount);
    const end = offset + batchBytes(header);
    if (offset + HEADER_BYTES + table > this.size) return { what: 'batch table cut short', cutShort: true };
    at = await this.#ensure(offset, HEADER_BYTES + table);
    if (!tableIntact(this.#window, at, header)) return { what: 'batch table checksum', cutShort: false };
    if (!payloadFits(header, this.#window, at + HEADER_BYTES)) {
      return { what: 'entries and payload disagree', cutShort: false };
    }
    if (end > this.size) return { what: 'batch payload cut short', cutShort: true };
    at = await this.#ensure(offset, end - offset);
    const tableAt = at + HEADER_BYTES;
    return {
      header,
      table: this.#window.subarray(tableAt, tableAt + table),
      batch: {
        entries: this.#window.subarray(tableAt, tableAt + header.entryCount * ENTRY_BYTES),
        payload: this.#window.subarray(tableAt + table, at + (end - offset)),
      },
      end,
    };
  }

  /** The next place ≥ `from` at which an intact batch of this deployment begins. */
  async find(from: number): Promise<ScannedBatch | undefined> {
    for (let offset = await this.#magic(from); offset !== undefined; offset = await this.#magic(offset + 1)) {
      const found = await this.batch(offset);
      if ('header' in found) return found;
    }
    return undefined;
  }

  /** The same of an intact header, whatever has become of the rest of its batch. */
  async findHeader(from: number): Promise<BatchHeader | undefined> {
    for (let offset = await this.#magic(from); offset !== undefined; offset = await this.#magic(offset + 1)) {
      const at = await this.#ensure(offset, HEADER_BYTES);
      const header = parseHeader(this.#window, at, this.#identity, this.#segment, offset);
      if (header !== undefined) return header;
    }
    return undefined;
  }

  /** The next place ≥ `from` that begins as a header does, with room for one behind it. */
  async #magic(from: number): Promise<number | undefined> {
    for (let offset = from; offset + HEADER_BYTES <= this.size; ) {
      // Only what is not there yet is read: headers may be close together.
      const at = await this.#ensure(offset, HEADER_BYTES);
      const hit = this.#window.indexOf(MAGIC_BYTES, at);
      const end = this.#windowAt + this.#window.length;
      if (hit >= 0) return this.#windowAt + hit + HEADER_BYTES <= this.size ? this.#windowAt + hit : undefined;
      if (end >= this.size) return undefined;
      // The magic may lie across the border of two reads.
      offset = end - (MAGIC_BYTES.length - 1);
    }
    return undefined;
  }

  /** Makes `length` bytes from `offset` on part of the window; returns where they begin in it. */
  async #ensure(offset: number, length: number): Promise<number> {
    const at = offset - this.#windowAt;
    if (at >= 0 && at + length <= this.#window.length) return at;
    const wanted = Math.min(Math.max(length, READ_AHEAD_BYTES, HEADER_BYTES + MAX_TABLE_BYTES), this.size - offset);
    const window = Buffer.allocUnsafe(wanted);
    const count = await this.#file.readAsync(window, offset);
    if (count < wanted) window.fill(0, count);
    this.#window = window;
    this.#windowAt = offset;
    return 0;
  }
}

function payloadFits(header: BatchHeader, window: Buffer, tableAt: number): boolean {
  if (header.kind === BATCH_POSITION) return header.entryCount === 0 && header.payloadLength === 0;
  if (header.kind === BATCH_BACKFILL && header.sequence !== 0) return false;
  let payload = 0;
  for (let i = 0; i < header.entryCount; i++) payload += window.readUInt32LE(tableAt + i * ENTRY_BYTES + 16);
  return payload === header.payloadLength;
}
