/** Reads blocks as stored: one read per run of payloads that lie side by side, checksums verified. */

import { BadBlockError, DiskError, type IndexedBlock, type StoredBlocks } from '../../core/ports.js';
import {
  type Batch,
  ENTRY_BYTES,
  KIND_DATA,
  KIND_LOST,
  KIND_ZERO,
  type Lender,
  MAX_BATCH_ENTRIES,
  MAX_BATCH_PAYLOAD_BYTES,
} from '../../core/record.js';
import type { BlockNumber, Epoch, Order, Sequence } from '../../core/types.js';
import { ORDER_ZERO } from '../../core/types.js';
import type { BlockChecksums } from '../codec/index.js';
import type { BadBlocks } from './bad-blocks.js';
import type { FilePool, PooledFile } from './file-pool.js';
import { writeU64 } from './format.js';
import { emptyRecord, type IndexRecord } from './paged/extents.js';
import { ABSENT, type Answer, KNOWN, NEVER, type PageTree, type Pinned } from './paged/page-tree.js';
import type { PagedIndex } from './paged/paged-index.js';
import type { Segment } from './segment.js';

/** Payloads that lie side by side in one segment and in the result. */
interface Extent {
  readonly segment: Segment;
  readonly offset: number;
  length: number;
  /** Where in the result's payload. */
  readonly at: number;
}

type Find = (block: number, into: IndexRecord) => Answer;

/** Reads that are under way. */
interface Begun {
  readonly batch: Batch;
  readonly orders: Order[];
  /** Entries of which it is known that there is no payload. */
  readonly lost: readonly number[];
  /** Of each extent; false: bytes are missing. */
  readonly outcomes: readonly (boolean | Promise<boolean>)[];
}

export interface BlockReaderOptions {
  readonly deployment: string;
  readonly index: PagedIndex;
  readonly segments: ReadonlyMap<number, Segment>;
  readonly pool: FilePool;
  readonly checksums: BlockChecksums;
  /** Told what reads find. */
  readonly known: BadBlocks;
}

export interface ReadOptions {
  /** Never without the event loop in between, wherever the bytes may be. */
  readonly patient?: boolean;
  /** Where the payload may be put. */
  readonly lend?: Lender | undefined;
}

export class BlockReader {
  readonly #options: BlockReaderOptions;
  readonly #record = emptyRecord();

  constructor(options: BlockReaderOptions) {
    this.#options = options;
  }

  /**
   * The blocks `at(0)` … `at(count - 1)`, one entry each. What memory has is read at once, the rest without holding
   * up anybody; `patient`: all of it. Segments can't vanish meanwhile: they are held open.
   */
  async read(count: number, at: (i: number) => number, options?: ReadOptions): Promise<StoredBlocks> {
    if (count < 1 || count > MAX_BATCH_ENTRIES) throw new RangeError(`read of ${count} blocks`);
    const { index } = this.#options;
    const begun =
      this.#begin(count, at, (block, record) => index.tryGet(block, record), options) ??
      (await index.look(
        Array.from({ length: count }, (_, i) => at(i)),
        (get) => this.#begin(count, at, (block, record) => (get(block, record) ? KNOWN : NEVER), options)!,
      ));
    return this.#finish(begun);
  }

  /** The blocks as a tree has them that does not change: a snapshot's. */
  async readTree(tree: PageTree, blocks: readonly number[]): Promise<StoredBlocks> {
    const pinned: Pinned = new Map();
    await tree.pin(blocks, pinned);
    const find: Find = (block, record) => tree.get(block, record, pinned);
    return this.#finish(this.#begin(blocks.length, (i) => blocks[i]!, find)!);
  }

  /** Whatever goes wrong, the payload's memory is given back, but not before the last read into it has ended. */
  async #finish(begun: Begun): Promise<StoredBlocks> {
    try {
      return await this.#verified(begun);
    } catch (error) {
      await Promise.allSettled(begun.outcomes);
      begun.batch.lease?.release();
      throw error;
    }
  }

  async #verified({ batch, orders, lost, outcomes }: Begun): Promise<StoredBlocks> {
    const { deployment, known } = this.#options;
    const missing = (await Promise.all(outcomes)).includes(false);
    const bad = missing || batch.payload.length > 0 ? [...lost, ...this.#bad(batch)] : lost;
    if (bad.length > 0) {
      const blocks = bad.map((i) => describe(batch.entries, i, orders[i]!));
      known.found(blocks);
      throw new BadBlockError(deployment, blocks);
    }
    if (known.count > 0) known.replaced(batch);
    return { orders, batch };
  }

  /**
   * Looks all blocks up and begins to read them, in one turn, so that the segments are held before anything changes.
   * Undefined, with nothing begun, if the index of a block is not in memory.
   */
  #begin(count: number, at: (i: number) => number, find: Find, options?: ReadOptions): Begun | undefined {
    const { segments } = this.#options;
    const record = this.#record;
    const entries = Buffer.alloc(count * ENTRY_BYTES);
    const orders: Order[] = new Array(count);
    const extents: Extent[] = [];
    const lost: number[] = [];
    let length = 0;
    let extent: Extent | undefined;
    for (let i = 0; i < count; i++) {
      const block = at(i);
      const found = find(block, record);
      if (found === ABSENT) return undefined;
      if (found === NEVER) {
        writeEntryOf(entries, i, block, undefined);
        orders[i] = ORDER_ZERO;
        continue;
      }
      writeEntryOf(entries, i, block, record);
      orders[i] = { epoch: record.epoch as Epoch, sequence: record.sequence as Sequence };
      if (record.kind === KIND_LOST) lost.push(i);
      if (record.kind !== KIND_DATA) continue;
      if (extent?.segment.number === record.segment && extent.offset + extent.length === record.offset) {
        extent.length += record.storedLength;
      } else {
        const segment = segments.get(record.segment)!;
        extent = { segment, offset: record.offset, length: record.storedLength, at: length };
        extents.push(extent);
      }
      length += record.storedLength;
    }
    const lease = options?.lend?.(length);
    const payload = lease?.bytes ?? Buffer.allocUnsafeSlow(length);
    const outcomes = extents.map((one) => this.#fetch(one, payload, options?.patient === true));
    return { batch: { entries, payload, lease }, orders, lost, outcomes };
  }

  /** False: bytes are missing. What they are in the result is undefined then, so that no checksum matches. */
  #fetch({ segment, offset, length, at }: Extent, payload: Buffer, patient: boolean): boolean | Promise<boolean> {
    const { pool } = this.#options;
    const target = payload.subarray(at, at + length);
    let pooled: PooledFile;
    try {
      pooled = pool.acquire(segment.path);
    } catch (error) {
      return unreadable(target, error);
    }
    if (!patient && pooled.file.readCached(target, offset)) {
      pool.release(pooled);
      return true;
    }
    return pooled.file
      .readAsync(target, offset)
      .then(
        (count) => settle(target, count),
        (error) => unreadable(target, error),
      )
      .finally(() => pool.release(pooled));
  }

  #bad(batch: Batch): number[] {
    return badEntries(this.#options.checksums, batch);
  }
}

/** Indexes of the DATA entries whose payload does not match; in parts, as a checksum call has a limit of bytes. */
export function badEntries(checksums: BlockChecksums, { entries, payload }: Batch): number[] {
  const bad: number[] = [];
  const count = entries.length / ENTRY_BYTES;
  for (let first = 0, from = 0; first < count; ) {
    let next = first;
    let to = from;
    for (; next < count; next++) {
      const length = entries.readUInt32LE(next * ENTRY_BYTES + 16);
      if (to - from + length > MAX_BATCH_PAYLOAD_BYTES) break;
      to += length;
    }
    const part = {
      entries: entries.subarray(first * ENTRY_BYTES, next * ENTRY_BYTES),
      payload: payload.subarray(from, to),
    };
    for (const i of checksums.bad(part)) bad.push(first + i);
    first = next;
    from = to;
  }
  return bad;
}

function settle(target: Buffer, count: number): boolean {
  if (count === target.length) return true;
  target.fill(0, count);
  return false;
}

/** An unreadable place of the disk is a bad block like any other: the copy elsewhere is rewritten to a new place. */
function unreadable(target: Buffer, error: unknown): boolean {
  if (!(error instanceof DiskError)) throw error;
  target.fill(0);
  return false;
}

function writeEntryOf(entries: Buffer, i: number, block: number, record: IndexRecord | undefined): void {
  const at = i * ENTRY_BYTES;
  writeU64(entries, block, at);
  entries.writeUInt32LE(1, at + 8);
  entries.writeUInt8(record?.kind ?? KIND_ZERO, at + 12);
  if (record === undefined || record.kind === KIND_ZERO) return;
  entries.writeUInt8(record.flags, at + 13);
  entries.writeUInt32LE(record.storedLength, at + 16);
  entries.writeUInt32LE(record.checksumLow, at + 24);
  entries.writeUInt32LE(record.checksumHigh, at + 28);
}

function describe(entries: Buffer, i: number, order: Order): IndexedBlock {
  const at = i * ENTRY_BYTES;
  return {
    block: (entries.readUInt32LE(at) + entries.readUInt32LE(at + 4) * 2 ** 32) as BlockNumber,
    order,
    kind: entries.readUInt8(at + 12),
    flags: entries.readUInt8(at + 13),
    storedLength: entries.readUInt32LE(at + 16),
    checksumLow: entries.readUInt32LE(at + 24),
    checksumHigh: entries.readUInt32LE(at + 28),
  };
}
