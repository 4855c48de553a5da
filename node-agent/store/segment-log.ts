/**
 * The log of one deployment: segments, written at their end only, one after the other. Batches are numbered
 * without gaps across all segments; the segments' numbers have no gaps either behind the oldest that a
 * checkpoint needs.
 */

import { type Disk, DiskError, invariant } from '../../core/ports.js';
import type { Batch } from '../../core/record.js';
import type { Device, Devices, SpaceUse } from './devices.js';
import type { FilePool, PooledFile } from './file-pool.js';
import { BATCH_BACKFILL, type BatchHeader, batchBytes, type StoreIdentity, sealHead } from './format.js';
import { LogRoom } from './log-room.js';
import { LogWriter } from './log-writer.js';
import type { SegmentChanges } from './paged/segment-changes.js';
import type { Segment } from './segment.js';

export interface LogOptions {
  readonly disk: Disk;
  readonly devices: Devices;
  readonly pool: FilePool;
  readonly identity: StoreIdentity;
  readonly inode: number;
  readonly segmentBytes: number;
  readonly writeOutBytes: number;
  /** What was appended could not be written, into the page cache or to the disk: as final as a failed sync. */
  readonly lost: (error: unknown) => void;
  /** The disk had no room for what was appended, against all expectation: final, but nothing that was written is lost. */
  readonly full: (error: DiskError) => void;
  /** Makes it durable that segments may be on this device, and allows it. */
  readonly use: (device: Device) => Promise<void>;
}

export class SegmentLog {
  readonly #options: LogOptions;
  readonly room: LogRoom;
  readonly segments = new Map<number, Segment>();
  /** The segment that is written to; undefined between two. */
  active: Segment | undefined;
  /** Number of the segment that comes after all that there are. */
  nextSegment = 0;
  /** The last one that has its place, in the page cache or on its way there. */
  lastBatch = 0;
  /** All batches up to here are durable. */
  durableBatch = 0;
  /** Written to the header of every batch; set when the deployment has opened. */
  opening = 0;
  unsyncedBytes = 0;
  usedBytes = 0;
  /** Bytes of sealed segments without live blocks. */
  deadBytes = 0;
  readonly #writer: LogWriter;
  readonly #unsynced = new Map<Segment, PooledFile>();
  readonly #unsyncedDirectories = new Set<string>();
  /** What of the segment that is written to is before this offset has been handed to the disk. */
  #writtenOut: { segment: Segment | undefined; end: number } = { segment: undefined, end: 0 };
  /** Of what could not be written. */
  #lost: { readonly error: unknown } | undefined;

  constructor(options: LogOptions) {
    this.#options = options;
    this.room = new LogRoom(options, this);
    this.#writer = new LogWriter({
      pool: options.pool,
      wrote: (segment) => this.#wrote(segment),
      failed: (error) => {
        if (error instanceof DiskError && error.code === 'no-space') options.full(error);
        else this.#lose(error);
      },
    });
  }

  /** Where the next batch will be if it fits. */
  get end(): { readonly segment: number; readonly offset: number } {
    return { segment: this.active?.number ?? this.nextSegment, offset: this.active?.size ?? 0 };
  }

  /**
   * Appends a batch whose table is in `head` behind the header's place; completes `header` and returns the segment.
   * The batch has its place then, and is on its way to the page cache: neither `head` nor the payload may change
   * before `written`. DiskError('no-space'): room has to be made first, nothing has changed.
   */
  append(header: BatchHeader, head: Buffer, batch: Batch | undefined, use: SpaceUse): Segment {
    const bytes = batchBytes(header);
    const segment = this.room.find(bytes, use);
    if (segment === undefined) throw new DiskError('no-space', this.active?.path ?? 'data', 'the disk is full');
    if (segment !== this.active) this.begin(segment);
    header.opening = this.opening;
    header.segment = segment.number;
    header.offset = segment.size;
    header.number = ++this.lastBatch;
    header.durable = this.durableBatch;
    sealHead(head, this.#options.identity, header);
    this.#writer.append(segment, header.number, head, batch);
    this.grow(segment, segment.size + bytes);
    if (header.kind === BATCH_BACKFILL && use !== 'copy') segment.backfilledBytes += bytes;
    this.unsyncedBytes += bytes;
    return segment;
  }

  /** Everything appended before the call is in the page cache when it resolves. Rejects with the error that was final. */
  written(): Promise<void> {
    return this.#writer.written(this.lastBatch);
  }

  /** The same for what is in the segment now, whatever comes behind. */
  async readable(segment: Segment): Promise<void> {
    if (segment.pendingBytes > 0) await this.written();
  }

  /** Appended and not in the page cache yet. */
  get queuedBytes(): number {
    return this.#writer.queuedBytes;
  }

  #wrote(segment: Segment): void {
    this.#markUnsynced(segment);
    if (this.#writtenOut.segment !== segment) {
      // Its file is there, since not long ago.
      this.#unsyncedDirectories.add(segment.device.path);
      this.#writtenOut = { segment, end: 0 };
    }
    if (segment.written - this.#writtenOut.end >= this.#options.writeOutBytes) this.#writeOut(segment);
  }

  #lose(error: unknown): void {
    this.#lost ??= { error };
    this.#options.lost(error);
  }

  /** The number in the names of its segments. */
  get inode(): number {
    return this.#options.inode;
  }

  /** Batches go to this new segment from now on. */
  begin(segment: Segment): void {
    invariant(segment.number === this.nextSegment, 'segments ascend', () => segment.path);
    this.seal();
    this.nextSegment++;
    this.active = segment;
    this.segments.set(segment.number, segment);
  }

  /**
   * Nothing is appended to the segment any more, and all of it is in the page cache. xfs keeps room behind the end of a
   * file that grows, up to as much again, for as long as the file is open: nobody could use that.
   */
  #closeForGood(segment: Segment): void {
    this.#options.pool.forget(segment.path);
  }

  /** The next batch opens a new segment. */
  seal(): void {
    const { active } = this;
    if (active === undefined) return;
    if (active.dead) this.deadBytes += active.size;
    this.#writer.sealed(active);
    if (active.pendingBytes === 0 && !this.#unsynced.has(active)) this.#closeForGood(active);
    this.active = undefined;
  }

  /** Recovery has found a segment; they come in ascending order. */
  adopt(segment: Segment): void {
    invariant(segment.number >= this.nextSegment, 'segments ascend', () => segment.path);
    this.segments.set(segment.number, segment);
    this.nextSegment = segment.number + 1;
    this.#count(segment.device, segment.size);
  }

  /** The index refers to so many payloads more, or less, of a segment. */
  refer(number: number, blocks: number, bytes: number): void {
    const segment = this.segments.get(number);
    invariant(segment !== undefined, 'the index refers to segments that exist', () => `segment ${number}`);
    segment.liveBlocks += blocks;
    segment.liveBytes += bytes;
    if (blocks < 0 && segment.dead && segment !== this.active) this.deadBytes += segment.size;
  }

  /** What a merge has changed: pages refer to other payloads than before. */
  change(changes: SegmentChanges): void {
    for (const [number, change] of changes) {
      const segment = this.segments.get(number);
      invariant(segment !== undefined, 'the index refers to segments that exist', () => `segment ${number}`);
      segment.indexedBlocks += change.blocks;
      segment.indexedBytes += change.bytes;
      segment.heldBlocks += change.heldBlocks;
      segment.heldBytes += change.heldBytes;
      segment.liveBlocks += change.blocks;
      segment.liveBytes += change.bytes;
    }
  }

  /** Sealed segments that nothing refers to. */
  dead(): Segment[] {
    return [...this.segments.values()].filter((segment) => segment.dead && segment !== this.active);
  }

  /** References have changed in another way than by `refer`. */
  countDead(): void {
    this.deadBytes = this.dead().reduce((bytes, segment) => bytes + segment.size, 0);
  }

  /** Recovery has found all batches up to `lastBatch`. */
  recovered(): void {
    this.#writer.resume(this.lastBatch);
  }

  /** Recovery goes on writing to this segment, which has been cut behind its last whole batch. */
  resume(segment: Segment): void {
    this.active = segment;
    this.#writtenOut = { segment, end: segment.size };
  }

  /** What recovery found is only in the page cache perhaps: the next sync includes it. */
  distrust(segment: Segment): void {
    this.#markUnsynced(segment);
    this.#unsyncedDirectories.add(segment.device.path);
  }

  #writeOut(segment: Segment): void {
    const { pool } = this.#options;
    const { device } = segment;
    const { end } = this.#writtenOut;
    const length = segment.written - end;
    // A piece that mostly came with a sync leaves memory: it is read when this copy is a primary one day, if at all.
    const backfilled = Math.min(segment.backfilledBytes, length);
    segment.backfilledBytes -= backfilled;
    const drop = 2 * backfilled > length;
    const held = pool.acquire(segment.path);
    this.#writtenOut = { segment, end: segment.written };
    device.writingBytes += length;
    device
      .answered(held.file.writeOut(end, length, drop))
      .catch((error: unknown) => this.#lose(error))
      .finally(() => {
        device.writingBytes -= length;
        pool.release(held);
      });
  }

  #markUnsynced(segment: Segment): void {
    if (!this.#unsynced.has(segment)) this.#unsynced.set(segment, this.#options.pool.acquire(segment.path));
  }

  /** Makes durable what there is at the moment of the call. One at a time; a failure is final. */
  async sync(): Promise<void> {
    const { disk, pool } = this.#options;
    const batch = this.lastBatch;
    await this.written();
    const files = [...this.#unsynced];
    const directories = [...this.#unsyncedDirectories];
    this.#unsynced.clear();
    this.#unsyncedDirectories.clear();
    this.unsyncedBytes = 0;
    const outcomes = await Promise.allSettled([
      ...files.map(([{ device }, { file }]) => device.answered(file.sync())),
      ...directories.map((directory) => disk.syncDirectory(directory)),
    ]);
    for (const [segment, file] of files) {
      pool.release(file);
      if (segment !== this.active && segment.pendingBytes === 0) this.#closeForGood(segment);
    }
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    if (this.#lost !== undefined) throw this.#lost.error;
    this.durableBatch = batch;
  }

  /** Removes a sealed segment that nothing refers to, neither in memory nor in the last durable checkpoint. */
  async remove(segment: Segment): Promise<void> {
    const { disk, pool } = this.#options;
    invariant(segment !== this.active && segment.dead, 'only dead segments go', () => segment.path);
    this.segments.delete(segment.number);
    pool.forget(segment.path);
    this.deadBytes -= segment.size;
    await disk.unlinkAsync(segment.path);
    this.#count(segment.device, -segment.size);
  }

  /** The segment's last whole batch ends at `size` now. */
  grow(segment: Segment, size: number): void {
    this.#count(segment.device, size - segment.size);
    segment.size = size;
  }

  #count(device: Device, bytes: number): void {
    this.usedBytes += bytes;
    device.segmentBytes += bytes;
  }

  /** The end of a clean shutdown: nothing is appended any more, and no room is kept for that when it resolves. */
  async finish(): Promise<void> {
    await this.room.idle();
    this.seal();
    await this.#writer.idle();
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.room.idle();
    await this.#writer.idle();
  }

  /** Gives back all files; nothing may be under way. */
  close(): void {
    const { pool } = this.#options;
    this.seal();
    this.#writer.close();
    for (const file of this.#unsynced.values()) pool.release(file);
    this.#unsynced.clear();
    for (const segment of this.segments.values()) {
      pool.forget(segment.path);
      segment.device.segmentBytes -= segment.size;
    }
  }
}
