/**
 * The log of one deployment: segments, written at their end only, one after the other. Batches are numbered
 * without gaps across all segments; the segments' numbers have no gaps either behind the oldest that a
 * checkpoint needs.
 */

import { type Disk, DiskError, invariant } from '../../core/ports.js';
import type { Device, Devices, SpaceUse } from './devices.js';
import type { FilePool, PooledFile } from './file-pool.js';
import { type BatchHeader, batchBytes, type StoreIdentity, sealHead } from './format.js';
import { Segment } from './segment.js';

export interface LogOptions {
  readonly disk: Disk;
  readonly devices: Devices;
  readonly pool: FilePool;
  readonly identity: StoreIdentity;
  readonly inode: number;
  readonly segmentBytes: number;
  readonly writeOutBytes: number;
  /** What was appended could not be written to the disk: as final as a failed sync. */
  readonly lost: (error: unknown) => void;
  /** Called when an emptier device than those in use could take segments; `allow` follows, or not. */
  readonly wants: (device: Device) => void;
}

export class SegmentLog {
  readonly #options: LogOptions;
  readonly segments = new Map<number, Segment>();
  /** The segment that is written to; undefined between two. */
  active: Segment | undefined;
  /** Number of the segment that comes after all that there are. */
  nextSegment = 0;
  lastBatch = 0;
  /** All batches up to here are durable. */
  durableBatch = 0;
  /** Written to the header of every batch; set when the deployment has opened. */
  opening = 0;
  unsyncedBytes = 0;
  usedBytes = 0;
  /** Bytes of sealed segments without live blocks. */
  deadBytes = 0;
  readonly #unsynced = new Map<Segment, PooledFile>();
  readonly #unsyncedDirectories = new Set<string>();
  readonly #allowed = new Set<Device>();
  #activeFile: PooledFile | undefined;
  /** What of the active segment is before this offset has been handed to the disk. */
  #writtenOut = 0;
  /** Of a piece that could not be written. */
  #lost: { readonly error: unknown } | undefined;

  constructor(options: LogOptions) {
    this.#options = options;
  }

  /** Segments may be made on this device from now on: the superblock says so. */
  allow(device: Device): void {
    this.#allowed.add(device);
  }

  /** Where the next batch will be if it fits. */
  get end(): { readonly segment: number; readonly offset: number } {
    return { segment: this.active?.number ?? this.nextSegment, offset: this.active?.size ?? 0 };
  }

  /**
   * Appends a batch whose table is in `head` behind the header's place; completes `header` and returns the
   * segment. In the page cache on return, or, after DiskError('no-space'), not in the log at all. Any other
   * error leaves the log in an unknown state.
   */
  append(header: BatchHeader, head: Buffer, payload: Uint8Array, use: SpaceUse): Segment {
    const bytes = batchBytes(header);
    const segment = this.#place(bytes, use);
    header.opening = this.opening;
    header.segment = segment.number;
    header.offset = segment.size;
    header.number = this.lastBatch + 1;
    header.durable = this.durableBatch;
    sealHead(head, this.#options.identity, header);
    const { file } = this.#activeFile!;
    try {
      file.write(payload.length > 0 ? [head, payload] : [head], segment.size);
    } catch (error) {
      if (error instanceof DiskError && error.code === 'no-space') file.truncate(segment.size);
      throw error;
    }
    this.#markUnsynced(segment);
    this.grow(segment, segment.size + bytes);
    this.lastBatch++;
    this.unsyncedBytes += bytes;
    if (segment.size - this.#writtenOut >= this.#options.writeOutBytes) this.#writeOut(segment);
    return segment;
  }

  /** The number in the names of its segments. */
  get inode(): number {
    return this.#options.inode;
  }

  #place(bytes: number, use: SpaceUse): Segment {
    const { devices, segmentBytes } = this.#options;
    const { active } = this;
    const full = active !== undefined && active.size > 0 && active.size + bytes > segmentBytes;
    if (active !== undefined && !full && active.device.take(bytes, use)) return active;
    const byRoom = devices.byRoom();
    if (byRoom[0] !== undefined && !this.#allowed.has(byRoom[0])) this.#options.wants(byRoom[0]);
    const device = byRoom.find((candidate) => this.#allowed.has(candidate) && candidate.take(bytes, use));
    if (device === undefined) throw new DiskError('no-space', active?.path ?? 'data', 'the disk is full');
    this.seal();
    return this.#create(device);
  }

  #create(device: Device): Segment {
    const { pool, inode } = this.#options;
    const segment = new Segment(device, inode, this.nextSegment);
    const opened = pool.acquire(segment.path, { create: true });
    this.#writtenOut = 0;
    invariant(opened.file.size() === 0, 'a new segment is empty', () => segment.path);
    this.#activeFile = opened;
    this.nextSegment++;
    this.active = segment;
    this.segments.set(segment.number, segment);
    this.#unsyncedDirectories.add(device.path);
    return segment;
  }

  /**
   * Nothing is appended to the segment any more. xfs keeps room behind the end of a file that grows, up to as much
   * again, for as long as the file is open: nobody could use that.
   */
  #closeForGood(segment: Segment): void {
    this.#options.pool.forget(segment.path);
  }

  /** The next batch opens a new segment. */
  seal(): void {
    if (this.active?.dead === true) this.deadBytes += this.active.size;
    if (this.#activeFile !== undefined) this.#options.pool.release(this.#activeFile);
    if (this.active !== undefined && !this.#unsynced.has(this.active)) this.#closeForGood(this.active);
    this.#activeFile = undefined;
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

  /** Sealed segments that nothing refers to. */
  dead(): Segment[] {
    return [...this.segments.values()].filter((segment) => segment.dead && segment !== this.active);
  }

  /** References have changed in another way than by `refer`. */
  countDead(): void {
    this.deadBytes = this.dead().reduce((bytes, segment) => bytes + segment.size, 0);
  }

  /** Recovery goes on writing to this segment, which has been cut behind its last whole batch. */
  resume(segment: Segment): void {
    this.#activeFile = this.#options.pool.acquire(segment.path);
    this.active = segment;
    this.#writtenOut = segment.size;
  }

  /** What recovery found is only in the page cache perhaps: the next sync includes it. */
  distrust(segment: Segment): void {
    this.#markUnsynced(segment);
    this.#unsyncedDirectories.add(segment.device.path);
  }

  #writeOut(segment: Segment): void {
    const { pool } = this.#options;
    const { device } = segment;
    const from = this.#writtenOut;
    const length = segment.size - from;
    const held = pool.acquire(segment.path);
    this.#writtenOut = segment.size;
    device.writingBytes += length;
    device
      .answered(held.file.writeOut(from, length))
      .catch((error: unknown) => {
        this.#lost ??= { error };
        this.#options.lost(error);
      })
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
    const files = [...this.#unsynced];
    const directories = [...this.#unsyncedDirectories];
    const batch = this.lastBatch;
    this.#unsynced.clear();
    this.#unsyncedDirectories.clear();
    this.unsyncedBytes = 0;
    const outcomes = await Promise.allSettled([
      ...files.map(([{ device }, { file }]) => device.answered(file.sync())),
      ...directories.map((directory) => disk.syncDirectory(directory)),
    ]);
    for (const [segment, file] of files) {
      pool.release(file);
      if (segment !== this.active) this.#closeForGood(segment);
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

  /** Gives back all files; nothing may be under way. */
  close(): void {
    const { pool } = this.#options;
    this.seal();
    for (const file of this.#unsynced.values()) pool.release(file);
    this.#unsynced.clear();
    for (const segment of this.segments.values()) {
      pool.forget(segment.path);
      segment.device.segmentBytes -= segment.size;
    }
  }
}
