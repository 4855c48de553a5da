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
import { Slab } from '../slab.js';
import type { BadBlocks } from './bad-blocks.js';
import type { FilePool, PooledFile } from './file-pool.js';
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

/** What the index says of some blocks, and where their payloads are; the table of entries is in TABLE. */
interface Found {
  readonly orders: Order[];
  /** Entries of which it is known that there is no payload. */
  readonly lost: readonly number[];
  readonly extents: readonly Extent[];
  /** Of all payloads together, bytes. */
  readonly length: number;
}

/** Reads that are under way. */
interface Begun extends Found {
  readonly batch: Batch;
  readonly outcomes: readonly Promise<void>[];
}

/** Shared by all readers: filled and copied within one synchronous call. */
const TABLE = Buffer.alloc(MAX_BATCH_ENTRIES * ENTRY_BYTES);
/** For what is read into no leased memory. */
const SLAB = new Slab();
const TABLE_VIEW = new DataView(TABLE.buffer, TABLE.byteOffset, TABLE.length);

export interface BlockReaderOptions {
  readonly deployment: string;
  readonly index: PagedIndex;
  readonly segments: ReadonlyMap<number, Segment>;
  readonly pool: FilePool;
  /** Resolves when what is in the segment now is in the page cache. */
  readonly readable: (segment: Segment) => Promise<void>;
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
  readonly #inMemory: Find;

  constructor(options: BlockReaderOptions) {
    this.#options = options;
    const { index } = options;
    this.#inMemory = (block, record) => index.tryGet(block, record);
  }

  /**
   * The blocks `at(0)` … `at(count - 1)`, one entry each. What memory has is read at once, the rest without holding
   * up anybody; `patient`: all of it. Segments can't vanish meanwhile: they are held open.
   */
  async read(count: number, at: (i: number) => number, options?: ReadOptions): Promise<StoredBlocks> {
    const { index } = this.#options;
    const begun =
      this.#begin(count, at, this.#inMemory, options) ??
      (await index.look(
        Array.from({ length: count }, (_, i) => at(i)),
        (get) => this.#begin(count, at, (block, record) => (get(block, record) ? KNOWN : NEVER), options)!,
      ));
    return this.#finish(begun);
  }

  /** The same if memory has all of it; undefined otherwise, with nothing begun. Throws BadBlockError. */
  readCached(count: number, at: (i: number) => number, lend?: Lender): StoredBlocks | undefined {
    const found = this.#lookUp(count, at, this.#inMemory);
    if (found === undefined) return undefined;
    const batch = this.#makeRoom(count, found.length, lend);
    try {
      if (found.extents.every((extent) => this.#fetchCached(extent, batch.payload)))
        return this.#verified(batch, found);
    } catch (error) {
      batch.lease?.release();
      throw error;
    }
    batch.lease?.release();
    return undefined;
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
    const { batch, outcomes } = begun;
    try {
      // What is missing is not what was written: its checksum says so.
      await Promise.all(outcomes);
      return this.#verified(batch, begun);
    } catch (error) {
      await Promise.allSettled(outcomes);
      batch.lease?.release();
      throw error;
    }
  }

  #verified(batch: Batch, { orders, lost }: Found): StoredBlocks {
    const { deployment, known, checksums } = this.#options;
    const bad = batch.payload.length > 0 ? [...lost, ...badEntries(checksums, batch)] : lost;
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
    const found = this.#lookUp(count, at, find);
    if (found === undefined) return undefined;
    const batch = this.#makeRoom(count, found.length, options?.lend);
    const outcomes = found.extents.map((one) => this.#fetch(one, batch.payload, options?.patient === true));
    return { ...found, batch, outcomes };
  }

  /** Undefined if the index of a block is not in memory. */
  #lookUp(count: number, at: (i: number) => number, find: Find): Found | undefined {
    if (count < 1 || count > MAX_BATCH_ENTRIES) throw new RangeError(`read of ${count} blocks`);
    const { segments } = this.#options;
    const record = this.#record;
    const orders: Order[] = [];
    const extents: Extent[] = [];
    const lost: number[] = [];
    let length = 0;
    let extent: Extent | undefined;
    for (let i = 0; i < count; i++) {
      const block = at(i);
      const found = find(block, record);
      if (found === ABSENT) return undefined;
      if (found === NEVER) {
        tabulate(i, block, undefined);
        orders.push(ORDER_ZERO);
        continue;
      }
      tabulate(i, block, record);
      orders.push({ epoch: record.epoch as Epoch, sequence: record.sequence as Sequence });
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
    return { orders, lost, extents, length };
  }

  /** The table that was just looked up, with room for its payloads. */
  #makeRoom(count: number, length: number, lend: Lender | undefined): Batch {
    const lease = lend?.(length);
    const [entries, ownPayload] = SLAB.takeTwo(count * ENTRY_BYTES, lease === undefined ? length : 0);
    TABLE.copy(entries);
    return { entries, payload: lease?.bytes ?? ownPayload, lease };
  }

  /** Whether memory has all of it. */
  #fetchCached({ segment, offset, length, at }: Extent, payload: Buffer): boolean {
    if (offset + length > segment.written) return false;
    const { pool } = this.#options;
    let pooled: PooledFile;
    try {
      pooled = pool.acquire(segment.path);
    } catch (error) {
      if (error instanceof DiskError) return false;
      throw error;
    }
    const done = pooled.file.readCached(payload.subarray(at, at + length), offset);
    pool.release(pooled);
    return done;
  }

  /** Bytes that can't be read are zeroes in the result, whose checksum is another one. */
  async #fetch(extent: Extent, payload: Buffer, patient: boolean): Promise<void> {
    if (!patient && this.#fetchCached(extent, payload)) return;
    const { pool } = this.#options;
    const { segment, offset, length, at } = extent;
    const target = payload.subarray(at, at + length);
    // No segment goes that is being written to.
    if (offset + length > segment.written) await this.#options.readable(segment);
    let pooled: PooledFile | undefined;
    try {
      pooled = pool.acquire(segment.path);
      target.fill(0, await pooled.file.readAsync(target, offset));
    } catch (error) {
      // An unreadable place of the disk is a bad block like any other: the copy elsewhere is rewritten to a new place.
      if (!(error instanceof DiskError)) throw error;
      target.fill(0);
    } finally {
      if (pooled !== undefined) pool.release(pooled);
    }
  }
}

/** Indexes of the DATA entries whose payload does not match; in parts, as a checksum call has a limit of bytes. */
export function badEntries(checksums: BlockChecksums, batch: Batch): number[] {
  const { entries, payload } = batch;
  if (payload.length <= MAX_BATCH_PAYLOAD_BYTES) return checksums.bad(batch);
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

/** Writes what the index has of a block as the `i`-th entry of TABLE. */
function tabulate(i: number, block: number, record: IndexRecord | undefined): void {
  const at = i * ENTRY_BYTES;
  const isStored = record !== undefined && record.kind !== KIND_ZERO;
  TABLE_VIEW.setUint32(at, block % 2 ** 32, true);
  TABLE_VIEW.setUint32(at + 4, Math.floor(block / 2 ** 32), true);
  TABLE_VIEW.setUint32(at + 8, 1, true);
  TABLE_VIEW.setUint32(at + 12, (record?.kind ?? KIND_ZERO) | (isStored ? record.flags << 8 : 0), true);
  TABLE_VIEW.setUint32(at + 16, isStored ? record.storedLength : 0, true);
  TABLE_VIEW.setUint32(at + 20, 0, true);
  TABLE_VIEW.setUint32(at + 24, isStored ? record.checksumLow : 0, true);
  TABLE_VIEW.setUint32(at + 28, isStored ? record.checksumHigh : 0, true);
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
