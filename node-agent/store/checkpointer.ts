/** When checkpoints of a deployment are made, and what becomes free by them. */

import { type Clock, type Disk, DiskError } from '../../core/ports.js';
import {
  type Checkpoint,
  copiesOf,
  type LogPlace,
  type LogState,
  readCheckpoint,
  type SegmentRow,
  type Snapshot,
  writeCheckpoint,
} from './checkpoint.js';
import type { CheckpointNumbers } from './checkpoint-numbers.js';
import type { StoreSettings } from './environment.js';
import type { Damage } from './errors.js';
import { type BatchHeader, batchBytes, type StoreIdentity } from './format.js';
import type { Image } from './image.js';
import { PAGE_BYTES } from './paged/page.js';
import { type MergeResult, mergeTree } from './paged/tree-merge.js';
import type { Segment } from './segment.js';
import type { SegmentLog } from './segment-log.js';
import { type SnapshotChange, Snapshots } from './snapshots.js';
import type { Superblock } from './superblock.js';

/** After a checkpoint that the disk had no room for. */
const RETRY_MS = 5_000;
/** On a disk that is nearly full, a segment of TRIMs alone is closed, so that it can go, from this part of its size on. */
const SEAL_FRACTION = 16;
/** On a disk that is nearly full, checkpoints are made behind this part of the usual number of entries. */
const LOW_FRACTION = 16;
/** Then a checkpoint brings so many extents at a time into the pages: what it writes fits into the reserve. */
const LOW_EXTENTS = 1024;
/** Entries behind the last checkpoint, in checkpoints' worth of changed extents: bounds the replay. */
const ENTRIES_FACTOR = 8;
/** Writers are slowed down when so many checkpoints' worth of extents wait for one that is being written. */
const CONGESTED_FACTOR = 2;
/** How long a write waits at twice as much. */
const CONGESTED_DELAY_MS = 20;
const MAX_DELAY_MS = 1_000;
export interface CheckpointerOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly settings: StoreSettings;
  readonly directory: string;
  readonly identity: StoreIdentity;
  readonly log: SegmentLog;
  readonly image: Image;
  /** The one that the superblock names, what it says of the log, and its snapshots. */
  readonly last: Superblock['checkpoint'];
  readonly state: LogState;
  readonly snapshots: readonly Snapshot[];
  readonly numbers: CheckpointNumbers;
  /** Slots that the checkpoint that the superblock names has in use, and the index has not. */
  readonly replaced: readonly number[];
  /** Whether the disk is nearly full. */
  readonly low: () => boolean;
  /** Batches in the log that it does not have. */
  readonly batchesBehind: number;
  /** Makes the log durable. */
  readonly flush: () => Promise<void>;
  /** Makes the superblock name the checkpoint. */
  readonly publish: (checkpoint: NonNullable<Superblock['checkpoint']>) => Promise<void>;
  readonly fail: (error: unknown) => void;
}

/** What is being brought into the pages: what had changed at some moment, and the log's state then. */
interface Frozen {
  readonly state: LogState;
  readonly snapshots: SnapshotChange;
  /** All blocks below are in the pages. */
  done: number;
}

/** A checkpoint counts, or may count, and the index in memory is not that one: no other may be built on it. */
class HalfPublishedError extends Error {
  constructor(options: { readonly cause: unknown }) {
    super('a checkpoint was published and could not be put to use', options);
    this.name = 'HalfPublishedError';
  }
}

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #published: Superblock['checkpoint'];
  #replaced: readonly number[];
  /** The log up to which the pages have everything. */
  #state: LogState;
  readonly #snapshots: Snapshots;
  #batchesBehind: number;
  #bytesBehind = 0;
  #entriesBehind = 0;
  /** There are TRIMs or zeroes among them: they may have freed something. */
  #zeroesBehind = false;
  /** Of the checkpoint that is being made: how much log it covers, and whether that has TRIMs or zeroes. */
  #merging = { bytes: 0, zeroes: false };
  /** Bytes of segments that the cleaner has copied away since the last checkpoint began. */
  #emptiedBytes = 0;
  #memoryShort = false;
  /** Something that the next opening would read is damaged on the disk. */
  #damaged = false;
  #frozen: Frozen | undefined;
  #running: Promise<void> | undefined;
  #notBefore = Number.NEGATIVE_INFINITY;
  #stopped = false;
  /** Since the opening: checkpoints that are durable, their bytes, the time they took, and the bytes of segments that went with them. */
  readonly done = { checkpoints: 0, writtenBytes: 0, seconds: 0, reclaimedBytes: 0 };

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#published = options.last;
    this.#replaced = options.replaced;
    this.#state = options.state;
    this.#snapshots = new Snapshots(options.snapshots);
    this.#batchesBehind = options.batchesBehind;
  }

  /** Where the log begins that an opening would replay. */
  get logStart(): LogPlace {
    return this.#state.start;
  }

  get snapshots(): readonly Snapshot[] {
    return this.#snapshots.all;
  }

  /** The newest one that has pages and payloads. */
  get newestSnapshot(): Snapshot | undefined {
    return this.#snapshots.newest;
  }

  /** A batch is in the log and in the image. */
  appended(header: BatchHeader): void {
    this.#batchesBehind++;
    this.#bytesBehind += batchBytes(header);
    this.#entriesBehind += header.entryCount;
    if (header.payloadLength === 0 && header.entryCount > 0) this.#zeroesBehind = true;
    this.look();
  }

  /** The cleaner has copied all that was live in a segment. */
  emptied(bytes: number): void {
    this.#emptiedBytes += bytes;
  }

  /** Of segments that a checkpoint will give back. */
  get reclaimableBytes(): number {
    return this.#options.log.deadBytes + this.#emptiedBytes;
  }

  /** The most that may be garbage without being counted so yet: a checkpoint finds what the log behind the last one has replaced. */
  get unknownGarbageBytes(): number {
    if (this.#zeroesBehind || this.#merging.zeroes) return this.#options.log.usedBytes;
    return this.#bytesBehind + this.#merging.bytes;
  }

  /**
   * The indexes of the node take too much memory, this one the most. Who says so may be in the middle of bringing a
   * batch into this very index, of which a checkpoint has to have all or nothing: it begins when that is done.
   */
  shrink(): void {
    if (this.#memoryShort) return;
    this.#memoryShort = true;
    queueMicrotask(() => this.look());
  }

  /** Part of what an opening would read beside pages and payloads has rotted: it is made anew, out of memory. */
  replaceDamaged(): void {
    this.#damaged = true;
    this.look();
  }

  /** How long who writes should wait: checkpoints don't keep up. Milliseconds. */
  get delayMs(): number {
    if (this.#frozen === undefined) return 0;
    const limit = CONGESTED_FACTOR * this.#options.settings.checkpointEntries;
    const over = this.#options.image.index.changedExtents / limit;
    return over < 1 ? 0 : Math.min(MAX_DELAY_MS, CONGESTED_DELAY_MS * over ** 4);
  }

  /**
   * Keeps the index as it is now, under this id (a UUID), until the snapshot is removed. Durable when it resolves;
   * everything that was appended before is in it.
   */
  snapshot(id: string, createdMs: number): Promise<void> {
    const taken = this.#snapshots.take(id, createdMs);
    this.look();
    return taken;
  }

  /** Gives back what only this snapshot has. Durable when it resolves. Errors: RangeError if there is none of this id. */
  removeSnapshot(id: string): Promise<void> {
    const removed = this.#snapshots.remove(id);
    this.look();
    return removed;
  }

  /** Pages and payloads of the snapshot stay for as long as `use` takes. Errors: RangeError if there is none of this id. */
  readSnapshot<T>(id: string, use: (snapshot: Snapshot) => Promise<T>): Promise<T> {
    return this.#snapshots.read(id, use);
  }

  /** Begins one if it is due. */
  look(): void {
    if (this.#running === undefined && this.#due()) this.#start();
  }

  #due(): boolean {
    const { settings, log, image } = this.#options;
    if (this.#frozen !== undefined || this.#snapshots.waiting || this.#memoryShort || this.#damaged) return true;
    if (this.#bytesBehind >= settings.checkpointBytes) return true;
    if (image.index.changedExtents >= settings.checkpointEntries) return true;
    if (this.#entriesBehind >= ENTRIES_FACTOR * settings.checkpointEntries) return true;
    if (this.reclaimableBytes >= settings.reclaimBytes) return true;
    if (log.active?.device.low !== true) return false;
    if (log.active.dead && log.active.size >= settings.segmentBytes / SEAL_FRACTION) log.seal();
    if (this.reclaimableBytes > 0 || this.#zeroesBehind) return true;
    return this.#entriesBehind >= settings.checkpointEntries / LOW_FRACTION;
  }

  /** An append found no room: what can be freed is. */
  noSpace(): void {
    const { log } = this.#options;
    if (log.active?.dead === true && log.active.size > 0) log.seal();
    if (this.#running === undefined && (this.reclaimableBytes > 0 || this.#batchesBehind > 0)) this.#start();
  }

  /** What can be freed is, when it resolves. Never rejects. */
  async freeSpace(): Promise<void> {
    this.noSpace();
    await this.#running?.catch(() => {});
  }

  #start(): void {
    const { clock, fail } = this.#options;
    if (this.#stopped || clock.now() < this.#notBefore) return;
    this.#running = this.#run().then(
      () => {
        this.#running = undefined;
        if (this.#due()) this.#start();
      },
      (error) => {
        this.#running = undefined;
        if (error instanceof DiskError && error.code === 'no-space') this.#notBefore = clock.now() + RETRY_MS;
        else {
          fail(error);
          this.#snapshots.stop(error);
        }
      },
    );
  }

  /** Brings what has changed into the pages and makes them the durable index. */
  async #run(): Promise<void> {
    const began = this.#options.clock.now();
    this.#frozen ??= this.#freeze();
    const frozen = this.#frozen;
    do await this.#piece(frozen);
    while (frozen.done < Number.POSITIVE_INFINITY);
    this.#frozen = undefined;
    this.#merging = { bytes: 0, zeroes: false };
    this.#snapshots.settle(frozen.snapshots);
    this.done.checkpoints++;
    this.done.seconds += (this.#options.clock.now() - began) / 1000;
  }

  #freeze(): Frozen {
    const { log, image } = this.#options;
    image.index.freeze();
    const frozen = {
      state: {
        batch: log.lastBatch,
        start: log.end,
        lastEpoch: image.lastEpoch,
        lastSequence: image.lastSequence,
        generation: image.generation,
        floor: image.floor,
        streamStart: image.streamStart,
      },
      snapshots: this.#snapshots.begin(),
      done: 0,
    };
    this.#merging = { bytes: this.#bytesBehind, zeroes: this.#zeroesBehind };
    this.#batchesBehind = this.#bytesBehind = this.#entriesBehind = this.#emptiedBytes = 0;
    this.#memoryShort = this.#zeroesBehind = this.#damaged = false;
    return frozen;
  }

  /**
   * Brings a part of what is frozen into the pages, usually all of it. The log is replayed from the same place as
   * before until all of it is there: replaying again what the pages have already changes nothing.
   */
  async #piece(frozen: Frozen): Promise<void> {
    const { disk, clock, identity, image, flush, publish, low, numbers } = this.#options;
    const { index } = image;
    const { file } = index;
    const number = await numbers.take();
    const path = this.#path(number);
    const pause = (): Promise<void> => new Promise((resolve) => clock.after(0, resolve));
    const memtable = index.frozen!;
    const end = low() ? memtable.startAfter(frozen.done, LOW_EXTENTS) : Number.POSITIVE_INFINITY;
    const { newest } = this.#snapshots;
    const snapshot = newest === undefined ? undefined : { checkpoint: newest.checkpoint, ...newest.end };
    const merge = { file, root: index.root, memtable, from: frozen.done, end, checkpoint: number, snapshot, pause };
    const merged = await mergeTree(merge);
    merged.freed.push(...this.#replaced);
    let next: Checkpoint;
    let bytes: number;
    try {
      if (end === Number.POSITIVE_INFINITY) await this.#snapshots.release(frozen.snapshots, file, merged, pause);
      await file.sync();
      next = this.#describe(frozen, merged, end, number);
      bytes = await writeCheckpoint({ disk, path, identity, number }, next);
      await flush();
    } catch (error) {
      for (const slot of merged.written) file.slots.free(slot);
      await this.#unlinkCopies(path);
      throw error;
    }
    try {
      await publish({ number, bytes });
      if (this.#published !== null) await this.#unlinkCopies(this.#path(this.#published.number));
      this.#published = { number, bytes };
      this.#replaced = [];
      frozen.done = end;
      this.done.writtenBytes += bytes + merged.written.length * PAGE_BYTES;
      await this.#adopt(next, merged, end === Number.POSITIVE_INFINITY);
    } catch (error) {
      throw new HalfPublishedError({ cause: error });
    }
  }

  /** The pages are the durable index: what only the former ones needed is free. */
  async #adopt(next: Checkpoint, merged: MergeResult, whole: boolean): Promise<void> {
    const { log, image } = this.#options;
    this.#state = next;
    this.#snapshots.durable = next.snapshots;
    log.change(merged.changes);
    image.index.file.slots = next.slots;
    image.index.publish(merged.root, whole);
    image.floor = Math.max(image.floor, next.floor);
    log.countDead();
    await image.index.file.trim();
    const kept = new Set(next.segments.map(({ number }) => number));
    for (const segment of [...log.segments.values()]) {
      if (segment.number >= next.start.segment || kept.has(segment.number)) continue;
      this.done.reclaimedBytes += segment.size;
      await log.remove(segment);
    }
  }

  #describe(frozen: Frozen, merged: MergeResult, end: number, number: number): Checkpoint {
    const { log, image } = this.#options;
    const whole = end === Number.POSITIVE_INFINITY;
    const state = whole ? frozen.state : this.#state;
    const segments: SegmentRow[] = [];
    let { floor } = state;
    for (const segment of log.segments.values()) {
      const row = rowOf(segment, merged);
      const dead = row.blocks === 0 && row.heldBlocks === 0;
      if (dead && segment.number < state.start.segment) floor = Math.max(floor, segment.lastSequence + 1);
      else segments.push(row);
    }
    const { root } = merged;
    const slots = image.index.file.slots.without(merged.freed);
    const snapshots = whole ? this.#snapshots.after(frozen.snapshots, state, number, merged) : this.#snapshots.durable;
    return { ...state, floor, segments, root, slots, snapshots };
  }

  #path(number: number): string {
    return `${this.#options.directory}/checkpoint.${number}`;
  }

  async #unlinkCopies(path: string): Promise<void> {
    for (const copy of copiesOf(path)) await this.#unlink(copy);
  }

  /** What can't be removed now is removed by the next opening. */
  async #unlink(path: string): Promise<void> {
    try {
      await this.#options.disk.unlinkAsync(path);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
    }
  }

  /** Reads the checkpoint's files, of which the next opening needs one; what is damaged in them. */
  async verify(): Promise<readonly Damage[]> {
    const published = this.#published;
    if (published === null || this.#stopped) return [];
    const { disk, identity } = this.#options;
    const { number, bytes } = published;
    const damages: Damage[] = [];
    for (const path of copiesOf(this.#path(number))) {
      const read = await readCheckpoint({ disk, path, identity, number }, bytes);
      // A checkpoint that is being made removes them.
      if ('what' in read && this.#published === published && this.#running === undefined) damages.push(read);
    }
    return damages;
  }

  /** Removes what a crash left behind between writing a checkpoint and naming it, or naming it and removing the old. */
  async removeStale(): Promise<void> {
    const { disk, directory, image } = this.#options;
    if (this.#published !== null) await image.index.file.trim();
    const current: readonly string[] = this.#published === null ? [] : copiesOf(`checkpoint.${this.#published.number}`);
    for (const name of await disk.listAsync(directory)) {
      if (name.startsWith('checkpoint.') && !current.includes(name)) await this.#unlink(`${directory}/${name}`);
    }
  }

  /** Starts no more; resolves when none is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    this.#snapshots.stop(new Error('the store was closed'));
  }

  /** The one at the end of a clean shutdown, or of an opening, if there is anything new. A full disk forgoes it. */
  async last(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    if (this.#batchesBehind === 0 && this.#frozen === undefined) return;
    // `shrink` begins no other beside it.
    this.#running = this.#runTwice();
    try {
      await this.#running;
    } catch (error) {
      if (!(error instanceof DiskError && error.code === 'no-space')) throw error;
    } finally {
      this.#running = undefined;
    }
  }

  /** The second one has what the first one, which may have been begun long ago, has not. */
  async #runTwice(): Promise<void> {
    await this.#run();
    if (this.#batchesBehind > 0) await this.#run();
  }
}

function rowOf(segment: Segment, { changes }: MergeResult): SegmentRow {
  const { blocks, bytes, heldBlocks, heldBytes } = changes.get(segment.number);
  return {
    number: segment.number,
    device: segment.device.number,
    size: segment.size,
    lastSequence: segment.lastSequence,
    blocks: segment.indexedBlocks + blocks,
    bytes: segment.indexedBytes + bytes,
    heldBlocks: segment.heldBlocks + heldBlocks,
    heldBytes: segment.heldBytes + heldBytes,
  };
}
