/**
 * What the log amounts to: the index, the stream's end and the highest generation. A pure function of the
 * batches in the order of the log; live appends and recovery both go through here, so that they can't differ.
 *
 * Every entry replaces what the index has, whatever the orders: whoever appends has compared them (a stream's
 * order is above all live ones, a backfill's caller asks first), and replay repeats these decisions. Dead orders
 * stay in index and log until they are overwritten; what asks for live entries filters them (core/order.ts).
 */

import { ENTRY_BYTES, KIND_DATA, KIND_GENERATION } from '../../core/record.js';
import { BATCH_BACKFILL, type BatchHeader, HEADER_BYTES, ORDER_BYTES, readU64, tableBytes } from './format.js';
import { emptyRecord, KIND_FORGOTTEN } from './paged/extents.js';
import type { PagedIndex } from './paged/paged-index.js';
import type { BlockRange } from './paged/tree-repair.js';
import type { Segment } from './segment.js';
import type { SegmentLog } from './segment-log.js';

export class Image {
  readonly index: PagedIndex;
  readonly #log: SegmentLog;
  lastEpoch = 0;
  lastSequence = 0;
  generation = 0;
  /** The log holds all stream entries from this sequence on. */
  floor = 1;
  /** Where the stream's present part begins: behind the last position record. */
  streamStart = { segment: 0, offset: 0 };
  /** Counts position records, so that what began before one is not taken for what came after. */
  positions = 0;
  readonly #record = emptyRecord();

  constructor(index: PagedIndex, log: SegmentLog) {
    this.index = index;
    this.#log = log;
  }

  /** `table`: entries, and for a backfill the orders. */
  applyStream(header: BatchHeader, table: Buffer, segment: Segment): void {
    this.#apply(header, table, segment, this.#put);
    if (header.entryCount === 0) return;
    this.lastEpoch = header.epoch;
    this.lastSequence = header.sequence + header.entryCount - 1;
    segment.noteStream(header.offset, header.sequence, this.lastSequence);
  }

  applyBackfill(header: BatchHeader, table: Buffer, segment: Segment): void {
    this.#apply(header, table, segment, this.#put);
  }

  /** Once more, what a batch of either kind says of the blocks in these ranges. */
  applyWithin(ranges: readonly BlockRange[], header: BatchHeader, table: Buffer, segment: Segment): void {
    this.#apply(header, table, segment, (block, blocks) => {
      for (const range of ranges) {
        const first = Math.max(block, range.first);
        const end = Math.min(block + blocks, range.end);
        if (first < end) this.#put(first, end - first);
      }
    });
  }

  readonly #put = (block: number, blocks: number): void => this.index.put(block, blocks, this.#record);

  #apply(header: BatchHeader, table: Buffer, segment: Segment, put: (block: number, blocks: number) => void): void {
    const record = this.#record;
    const backfill = header.kind === BATCH_BACKFILL;
    const orders = header.entryCount * ENTRY_BYTES;
    let payload = header.offset + HEADER_BYTES + tableBytes(header.kind, header.entryCount);
    for (let i = 0; i < header.entryCount; i++) {
      record.epoch = backfill ? readU64(table, orders + i * ORDER_BYTES) : header.epoch;
      record.sequence = backfill ? readU64(table, orders + i * ORDER_BYTES + 8) : header.sequence + i;
      const forget = backfill && record.epoch === 0 && record.sequence === 0;
      payload += this.#applyEntry(table, i * ENTRY_BYTES, segment, payload, forget, put);
    }
  }

  applyPosition(header: BatchHeader): void {
    this.lastEpoch = header.epoch;
    this.lastSequence = header.sequence;
    this.floor = header.sequence + 1;
    this.streamStart = { segment: header.segment, offset: header.offset + HEADER_BYTES };
    this.positions++;
    for (const segment of this.#log.segments.values()) segment.forgetStream();
  }

  /** Returns the bytes of payload that the entry has. */
  #applyEntry(
    table: Buffer,
    at: number,
    segment: Segment,
    payload: number,
    forget: boolean,
    put: (block: number, blocks: number) => void,
  ): number {
    const record = this.#record;
    const block = readU64(table, at);
    const kind = table[at + 12]!;
    if (kind === KIND_GENERATION) {
      if (block > this.generation) this.generation = block;
      return 0;
    }
    const data = kind === KIND_DATA && !forget;
    const storedLength = table.readUInt32LE(at + 16);
    record.kind = forget ? KIND_FORGOTTEN : kind;
    record.segment = data ? segment.number : 0;
    record.offset = data ? payload : 0;
    record.storedLength = data ? storedLength : 0;
    record.flags = data ? table[at + 13]! : 0;
    record.checksumLow = forget ? 0 : table.readUInt32LE(at + 24);
    record.checksumHigh = forget ? 0 : table.readUInt32LE(at + 28);
    put(block, table.readUInt32LE(at + 8));
    return storedLength;
  }
}
