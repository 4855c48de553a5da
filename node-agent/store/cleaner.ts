/**
 * Gives back the space of sparse segments: what is live in one is appended to the log again, under its old orders
 * and flags, as a backfill. The segment then has no live blocks, and goes with the next checkpoint like any other
 * such segment: not before a durable checkpoint refers to the copies and to nothing of it. So a crash at any
 * moment finds the block in the one place or in both.
 *
 * Which segment: by benefit and cost, (1 - u) · age / (1 + u) for the live part u (Rosenblum and Ousterhout, "The
 * design and implementation of a log-structured file system", 1992), with the age in segments of log that were
 * written since: sparse ones first, and of equally sparse ones the older, which won't get sparser by themselves.
 */

import { DiskError, type IndexedBlock, type StoredBlocks } from '../../core/ports.js';
import {
  type Batch,
  ENTRY_BYTES,
  type Entry,
  KIND_DATA,
  MAX_BATCH_ENTRIES,
  MAX_BATCH_PAYLOAD_BYTES,
  readEntry,
  writeEntry,
} from '../../core/record.js';
import type { BlockNumber, Epoch, Order, Sequence } from '../../core/types.js';
import type { BlockChecksums } from '../codec/index.js';
import { badEntries } from './block-reader.js';
import type { Devices } from './devices.js';
import type { StoreSettings } from './environment.js';
import type { FilePool, PooledFile } from './file-pool.js';
import { HEADER_BYTES, ORDER_BYTES, type StoreIdentity, tableBytes } from './format.js';
import type { Image } from './image.js';
import { type ScannedBatch, SegmentScanner } from './log-scanner.js';
import type { Pace } from './pace.js';
import { emptyRecord } from './paged/extents.js';
import type { Get } from './paged/paged-index.js';
import type { Segment } from './segment.js';
import type { SegmentLog } from './segment-log.js';

/** The youngest segments keep the end of the log for members that lack it, and are still getting sparser. */
const YOUNG_SEGMENTS = 2;
/** Rewriting a segment that is fuller than this gains too little. */
const MAX_LIVE_PART = 0.85;
/** The same when writers would be told that the disk is full. */
const MAX_LIVE_PART_WHEN_LOW = 0.95;
/** On a disk that is nearly full, emptied segments have to go before more is copied: bounds what copies take of the reserve. */
const MAX_EMPTIED_SEGMENTS = 4;
/** How much faster the cleaner goes when the disk is nearly full, or garbage is at twice its limit. */
export const URGENT_FACTOR = 8;
/** Work between two turns of the event loop. */
const TURN_BYTES = 512 * 1024;
const TURN_ENTRIES = 1024;
/** Behind so many bytes of copies they are flushed, so that a writer's flush never waits for more. */
const FLUSH_BYTES = 4 * 1024 * 1024;

export interface CleanerOptions {
  readonly identity: StoreIdentity;
  readonly settings: StoreSettings;
  readonly devices: Devices;
  readonly log: SegmentLog;
  readonly image: Image;
  readonly pool: FilePool;
  readonly checksums: BlockChecksums;
  /** Segments up to this one may hold payloads that a snapshot has: copying them frees nothing. -1: there is none. */
  readonly pinned: () => number;
  /** Appends blocks beside the stream, from the cleaner's share of the reserve if need be. */
  readonly append: (blocks: StoredBlocks) => void;
  /** Makes room for such an append. Errors: DiskError 'no-space' and others. */
  readonly makeRoom: (batch: Batch) => Promise<void>;
  /** Resolves when what was appended has left the caller's memory. */
  readonly written: () => Promise<void>;
  readonly flush: () => Promise<void>;
  /** All that was live in a segment of so many bytes has been copied: a checkpoint gives it back. */
  readonly emptied: (bytes: number) => void;
  /** Of segments that the next checkpoint gives back. */
  readonly reclaimableBytes: () => number;
  /** Blocks whose stored bytes are not what was written: they can't be moved. */
  readonly bad: (blocks: readonly IndexedBlock[]) => void;
}

interface Choice {
  readonly segment: Segment;
  readonly bytesPerSecond: number;
}

export class Cleaner {
  readonly #options: CleanerOptions;
  /** Live blocks that a segment had left when it was last cleaned: as long as they are the same, they can't be moved. */
  readonly #immovable = new WeakMap<Segment, number>();
  /** The same of segments of which everything was copied: they go with the next checkpoint. */
  readonly #emptied = new WeakMap<Segment, number>();
  /** Since the opening: segments gone through, and bytes of payload copied. */
  readonly done = { segments: 0, copiedBytes: 0 };

  constructor(options: CleanerOptions) {
    this.#options = options;
  }

  /** The segment to clean next, if there is reason to clean one. */
  choose(): Choice | undefined {
    const { log, settings, devices } = this.#options;
    const low = devices.low;
    if (low && this.#options.reclaimableBytes() >= MAX_EMPTIED_SEGMENTS * settings.segmentBytes) return undefined;
    const pinned = this.#options.pinned();
    let live = 0;
    let garbage = 0;
    let best: Segment | undefined;
    let bestScore = 0;
    for (const segment of log.segments.values()) {
      if (segment === log.active || segment.dead || segment.number <= pinned) continue;
      if (this.#emptied.get(segment) === segment.liveBlocks) continue;
      const rewritten = rewrittenBytes(segment);
      live += rewritten;
      garbage += Math.max(0, segment.size - rewritten);
      const part = rewritten / segment.size;
      const age = log.nextSegment - segment.number;
      if (part > (low ? MAX_LIVE_PART_WHEN_LOW : MAX_LIVE_PART) || this.#immovable.get(segment) === segment.liveBlocks)
        continue;
      if (age <= YOUNG_SEGMENTS && !low) continue;
      const score = low ? 1 - part : ((1 - part) * age) / (1 + part);
      if (score <= bestScore) continue;
      best = segment;
      bestScore = score;
    }
    const limit = settings.garbageFraction * live + settings.garbageBytes;
    if (best === undefined || (!low && garbage <= limit)) return undefined;
    const urgent = low || garbage > 2 * limit;
    return { segment: best, bytesPerSecond: settings.cleanBytesPerSecond * (urgent ? URGENT_FACTOR : 1) };
  }

  /**
   * Copies what is live in the segment; resolves to false if the pace was stopped or the disk is full. What is
   * damaged stays where it is, and the segment with it, until it is overwritten or healed. Rejects with errors that
   * are final.
   */
  async clean({ segment, bytesPerSecond }: Choice, pace: Pace): Promise<boolean> {
    const { pool, identity, log } = this.#options;
    const copy = new Copy(this.#options, segment);
    let pooled: PooledFile | undefined;
    try {
      await log.readable(segment);
      pooled = pool.acquire(segment.path);
      const scanner = new SegmentScanner(pooled.file, identity, segment.number, segment.size);
      let bytes = 0;
      let entries = 0;
      let copied = 0;
      for (let at = 0; at < segment.size && segment.liveBlocks > 0; ) {
        const scanned = await scanner.batch(at);
        const found = 'header' in scanned ? scanned : await scanner.find(at + 1);
        if (found === undefined) break;
        await copy.take(found);
        bytes += found.end - at;
        entries += found.header.entryCount;
        at = found.end;
        if (bytes < TURN_BYTES && entries < TURN_ENTRIES) continue;
        await pace.spend(bytes + copy.bytes - copied, bytesPerSecond);
        if (pace.stopped) return false;
        if (copy.unflushed >= FLUSH_BYTES) await copy.flush();
        bytes = entries = 0;
        copied = copy.bytes;
      }
      await copy.append();
      this.#immovable.set(segment, segment.liveBlocks);
      if (!copy.damaged) {
        this.#emptied.set(segment, segment.liveBlocks);
        this.#options.emptied(segment.size);
      }
      this.done.segments++;
      return true;
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      if (error.code === 'no-space') return false;
      // A place that can't be read says nothing about the disk as a whole; what can't be written does, to who writes.
      if (error.path !== segment.path) throw error;
      this.#immovable.set(segment, segment.liveBlocks);
      return true;
    } finally {
      this.done.copiedBytes += copy.bytes;
      if (pooled !== undefined) pool.release(pooled);
    }
  }
}

/** Bytes of log that the segment's live blocks take when they are copied. */
function rewrittenBytes({ liveBytes, liveBlocks }: Segment): number {
  return liveBytes + liveBlocks * (ENTRY_BYTES + ORDER_BYTES);
}

/** Gathers live blocks of one segment into large batches. */
class Copy {
  readonly #options: CleanerOptions;
  readonly #segment: Segment;
  readonly #record = emptyRecord();
  readonly #entries = Buffer.alloc(MAX_BATCH_ENTRIES * ENTRY_BYTES);
  /** Copied together, as views would keep all that was scanned in memory. */
  readonly #payload = Buffer.allocUnsafe(MAX_BATCH_PAYLOAD_BYTES);
  /** Where the payloads are in the segment. */
  readonly #places: number[] = [];
  #filled = 0;
  bytes = 0;
  unflushed = 0;
  /** Something of the segment can't be moved. */
  damaged = false;

  constructor(options: CleanerOptions, segment: Segment) {
    this.#options = options;
    this.#segment = segment;
  }

  /** Gathers what is live in the batch. */
  async take({ header, batch: { entries, payload } }: ScannedBatch): Promise<void> {
    const first = header.offset + HEADER_BYTES + tableBytes(header.kind, header.entryCount);
    const found: { entry: Entry; from: number }[] = [];
    for (let i = 0, from = 0; i < header.entryCount; i++) {
      const entry = readEntry(entries, i);
      if (entry.kind === KIND_DATA) found.push({ entry, from });
      from += entry.storedLength;
    }
    const live = await this.#options.image.index.look(
      found.map(({ entry }) => entry.block),
      (get) => found.filter(({ entry, from }) => this.#isLive(get, entry.block, first + from)),
    );
    for (const { entry, from } of live) {
      const { storedLength } = entry;
      const full = this.#places.length === MAX_BATCH_ENTRIES || this.#filled + storedLength > this.#payload.length;
      if (full) await this.append();
      writeEntry(this.#entries, this.#places.length, entry);
      payload.copy(this.#payload, this.#filled, from, from + storedLength);
      this.#places.push(first + from);
      this.#filled += storedLength;
    }
  }

  /** Whether the block's present payload is the one at this place of the segment; `#record` has it then. */
  #isLive(get: Get, block: number, place: number): boolean {
    const record = this.#record;
    if (!get(block, record)) return false;
    return record.kind === KIND_DATA && record.segment === this.#segment.number && record.offset === place;
  }

  /** Appends what was gathered and is still live. */
  async append(): Promise<void> {
    const { image, makeRoom, written } = this.#options;
    const blocks = Array.from(this.#places, (_, i) => readEntry(this.#entries, i).block);
    if (blocks.length > 0) await makeRoom(this.#gathered);
    await image.index.look(blocks, (get) => this.#append(get));
    await written();
  }

  get #gathered(): Batch {
    return {
      entries: this.#entries.subarray(0, this.#places.length * ENTRY_BYTES),
      payload: this.#payload.subarray(0, this.#filled),
    };
  }

  /** Nothing may come between looking at the index and the append: other writes are either before both or after both. */
  #append(get: Get): void {
    const { checksums, append, bad } = this.#options;
    const gathered = this.#gathered;
    const broken = new Set(badEntries(checksums, gathered));
    const damaged: IndexedBlock[] = [];
    const orders: Order[] = [];
    let length = 0;
    for (let i = 0, at = 0; i < this.#places.length; i++) {
      const entry = readEntry(gathered.entries, i);
      const from = at;
      at += entry.storedLength;
      if (!this.#isLive(get, entry.block, this.#places[i]!)) continue;
      const order = { epoch: this.#record.epoch as Epoch, sequence: this.#record.sequence as Sequence };
      if (broken.has(i)) {
        damaged.push({ ...entry, block: entry.block as BlockNumber, order });
        continue;
      }
      gathered.entries.copy(gathered.entries, orders.length * ENTRY_BYTES, i * ENTRY_BYTES, (i + 1) * ENTRY_BYTES);
      gathered.payload.copy(gathered.payload, length, from, at);
      orders.push(order);
      length += entry.storedLength;
    }
    this.#places.length = this.#filled = 0;
    if (damaged.length > 0) {
      this.damaged = true;
      bad(damaged);
    }
    if (orders.length === 0) return;
    const entries = gathered.entries.subarray(0, orders.length * ENTRY_BYTES);
    append({ orders, batch: { entries, payload: gathered.payload.subarray(0, length) } });
    this.bytes += length;
    this.unflushed += length;
  }

  async flush(): Promise<void> {
    await this.#options.flush();
    this.unflushed = 0;
  }
}
