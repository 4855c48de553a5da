/**
 * Checkpoints of format 1, which this program does not write any more: the whole index was in the file, one row per
 * block, ascending. Opening such a deployment makes pages of it.
 */

import { KIND_DATA } from '../../core/record.js';
import { type LogState, readLogState, type SegmentRow } from './checkpoint.js';
import { END, HEAD, type RowReader } from './chunks.js';
import { readU64 } from './format.js';
import { emptyRecord, type IndexRecord } from './paged/extents.js';
import type { PagePointer } from './paged/page.js';
import type { PageFile } from './paged/page-file.js';
import { TreeWriter } from './paged/tree-writer.js';

const SEGMENTS = 2;
const BLOCKS = 3;

export interface SegmentRow1 {
  readonly number: number;
  readonly size: number;
  readonly lastSequence: number;
}

export interface Checkpoint1 extends LogState {
  readonly format: 1;
  readonly segments: readonly SegmentRow1[];
}

/** Gives each block to `put` as it comes; if the file proves damaged at last, what it was given counts for nothing. */
export class Checkpoint1Reader implements RowReader<Checkpoint1> {
  readonly rowBytes = { [HEAD]: 56, [SEGMENTS]: 32, [BLOCKS]: 48, [END]: 16 };
  readonly #put: (block: number, record: IndexRecord) => void;
  readonly #segments: SegmentRow1[] = [];
  readonly #record = emptyRecord();
  #state: LogState | undefined;
  #blocks = 0;
  #totals = { blocks: 0, segments: 0 };

  constructor(put: (block: number, record: IndexRecord) => void) {
    this.#put = put;
  }

  row(kind: number, buffer: Buffer, at: number): void {
    if (kind === BLOCKS) this.#block(buffer, at);
    else if (kind === SEGMENTS) {
      this.#segments.push({
        number: buffer.readUInt32LE(at),
        size: buffer.readUInt32LE(at + 8),
        lastSequence: readU64(buffer, at + 16),
      });
    } else if (kind === HEAD) this.#state = readLogState(buffer, at);
    else this.#totals = { blocks: readU64(buffer, at), segments: readU64(buffer, at + 8) };
  }

  #block(buffer: Buffer, at: number): void {
    const record = this.#record;
    record.epoch = readU64(buffer, at + 8);
    record.sequence = readU64(buffer, at + 16);
    record.segment = buffer.readUInt32LE(at + 24);
    record.offset = buffer.readUInt32LE(at + 28);
    record.storedLength = buffer.readUInt32LE(at + 32);
    record.kind = buffer.readUInt8(at + 36);
    record.flags = buffer.readUInt8(at + 37);
    record.checksumLow = buffer.readUInt32LE(at + 40);
    record.checksumHigh = buffer.readUInt32LE(at + 44);
    this.#blocks++;
    this.#put(readU64(buffer, at), record);
  }

  finish(): Checkpoint1 | string {
    const whole =
      this.#state !== undefined &&
      this.#blocks === this.#totals.blocks &&
      this.#segments.length === this.#totals.segments;
    return whole ? { format: 1, ...this.#state!, segments: this.#segments } : 'rows are missing';
  }
}

/** Makes pages of an index of format 1. */
export class OldIndex {
  readonly #writer: TreeWriter;
  readonly #file: PageFile;
  readonly #references = new Map<number, { blocks: number; bytes: number }>();

  constructor(file: PageFile, checkpoint: number) {
    this.#file = file;
    file.reset();
    this.#writer = new TreeWriter(file, checkpoint);
  }

  /** In ascending order. */
  put(block: number, record: IndexRecord): void {
    this.#writer.extent(block, 1, record);
    if (record.kind !== KIND_DATA) return;
    const references = this.#references.get(record.segment) ?? { blocks: 0, bytes: 0 };
    references.blocks++;
    references.bytes += record.storedLength;
    this.#references.set(record.segment, references);
  }

  async finish(): Promise<PagePointer | undefined> {
    const root = this.#writer.finish();
    await this.#file.flush();
    return root;
  }

  /** The segments of the checkpoint's table, and those that were made while it was written, with what refers to them. */
  segments(table: readonly SegmentRow1[]): Omit<SegmentRow, 'device'>[] {
    const known = new Set(table.map(({ number }) => number));
    const later = [...this.#references.keys()].filter((number) => !known.has(number));
    return [...table, ...later.map((number) => ({ number, size: 0, lastSequence: 0 }))].map((row) => {
      const { blocks, bytes } = this.#references.get(row.number) ?? { blocks: 0, bytes: 0 };
      return { ...row, blocks, bytes, heldBlocks: 0, heldBytes: 0 };
    });
  }
}
