/** One open deployment: appends, reads, flushes, checkpoints and its superblock (core/ports.ts, DeploymentStore). */

import {
  type DeploymentState,
  type DeploymentStatePatch,
  type DeploymentStore,
  DiskError,
  type IndexedBlock,
  type LogBatch,
  type Lookup,
  type ScrubProgress,
  type StoredBlocks,
} from '../../core/ports.js';
import { entryCount, type Lender } from '../../core/record.js';
import type { BlockNumber, Epoch, Generation, HistoryEntry, Incarnation, Order, Sequence } from '../../core/types.js';
import type { BlockChecksums } from '../codec/index.js';
import { Appender } from './appender.js';
import { BadBlocks } from './bad-blocks.js';
import { BlockReader } from './block-reader.js';
import type { Snapshot } from './checkpoint.js';
import { Checkpointer } from './checkpointer.js';
import { Cleaner } from './cleaner.js';
import type { StoreEnvironment } from './environment.js';
import { type Damage, IndexDamageError, StoreClosedError, StoreFailedError } from './errors.js';
import type { StoreIdentity } from './format.js';
import { GroupCommit } from './group-commit.js';
import type { Image } from './image.js';
import { deadFilter, lastLive } from './live.js';
import { LogCheck } from './log-check.js';
import { readLog } from './log-reader.js';
import { type Opened, Opening, type OpeningOptions, type Upcalls } from './opening.js';
import type { Pace } from './pace.js';
import { emptyRecord, type IndexRecord } from './paged/extents.js';
import { type Interesting, PageTree } from './paged/page-tree.js';
import { Scrubber } from './scrubber.js';
import type { SegmentLog } from './segment-log.js';
import type { StoreStatistics } from './statistics.js';
import { SuperblockUpdates } from './superblock-updates.js';

export interface OpenOptions extends OpeningOptions {
  /** Told of blocks whose stored bytes are not what was written, when nobody has asked for them. */
  readonly bad: (blocks: readonly IndexedBlock[]) => void;
  /** Told of damage to log or checkpoint that was found while memory has what was there: a checkpoint replaces it. */
  readonly damaged: (damage: Damage) => void;
}

/** How long writers wait before they ask again whether the disk has caught up. */
const BEHIND_DELAY_MS = 5;

export class LocalDeploymentStore implements DeploymentStore {
  readonly incarnation: Incarnation;
  /** What opening found damaged: of the index, which is repaired, and blocks, whose reads fail until they are healed. */
  readonly damages: readonly Damage[];
  readonly #checksums: BlockChecksums;
  readonly #identity: StoreIdentity;
  readonly #environment: StoreEnvironment;
  readonly #log: SegmentLog;
  readonly #image: Image;
  readonly #reader: BlockReader;
  readonly #checkpointer: Checkpointer;
  readonly #appender: Appender;
  readonly #cleaner: Cleaner;
  readonly #scrubber: Scrubber;
  readonly #bad = new BadBlocks();
  #cleaning: Promise<boolean> = Promise.resolve(false);
  #scrubbing: Promise<number> = Promise.resolve(0);
  readonly #superblock: SuperblockUpdates;
  readonly #flushes = new GroupCommit(() => this.#sync());
  readonly #record = emptyRecord();
  #durable = 0;
  /** The log's `durableBatch`, from the moment at which `durable` says the same. */
  #syncedBatch = 0;
  #failure: unknown;
  #suspect = false;
  #closing: Promise<void> | undefined;

  private constructor(environment: StoreEnvironment, options: OpenOptions, parts: Opened) {
    const { log, image, identity } = parts;
    this.#environment = environment;
    this.#checksums = parts.checksums;
    this.#identity = identity;
    this.#log = log;
    this.#image = image;
    this.#superblock = new SuperblockUpdates({
      file: parts.superblockFile,
      superblock: parts.superblock,
      durableBatch: () => log.durableBatch,
      scrubbed: () => this.#scrubber.position,
      flush: () => this.#flushes.request(),
      failed: () => this.failed,
      suspect: () => this.#suspect,
      fail: (error) => this.#fail(error),
    });
    this.#durable = image.lastSequence;
    this.#syncedBatch = log.durableBatch;
    this.incarnation = parts.superblock.incarnation as Incarnation;
    this.damages = [...parts.report.indexDamages, ...parts.report.damages];
    this.#reader = new BlockReader({
      deployment: identity.deployment,
      index: image.index,
      segments: log.segments,
      pool: environment.pool,
      readable: (segment) => log.readable(segment),
      checksums: parts.checksums,
      known: this.#bad,
    });
    this.#checkpointer = new Checkpointer({
      disk: environment.disk,
      clock: environment.clock,
      settings: environment.settings,
      directory: options.directory,
      identity,
      log,
      image,
      last: parts.superblock.checkpoint,
      state: parts.report.state,
      snapshots: parts.report.snapshots,
      numbers: parts.numbers,
      replaced: parts.report.replaced,
      batchesBehind: parts.report.replayedBatches + (parts.report.checkpointDue ? 1 : 0),
      low: () => environment.devices.low,
      flush: () => this.#flushes.request(),
      publish: (checkpoint) => this.#superblock.update({ checkpoint, damage: null }),
      fail: (error) => this.#fail(error),
    });
    this.#appender = new Appender({
      ...environment,
      log,
      image,
      checkpointer: this.#checkpointer,
      shape: parts.superblock,
      bad: this.#bad,
      flush: () => this.#flushes.request(),
      fail: (error) => this.#fail(error),
    });
    this.#cleaner = new Cleaner({
      ...environment,
      identity,
      log,
      image,
      checksums: parts.checksums,
      makeRoom: async (batch) => {
        await this.#appender.makeRoom(entryCount(batch), batch.payload.length, 'copy');
        this.#check();
      },
      append: (blocks) => {
        this.#check();
        this.#appender.backfill(blocks, 'copy');
      },
      written: () => this.written(),
      flush: () => this.flush(),
      emptied: (bytes) => this.#checkpointer.emptied(bytes),
      reclaimableBytes: () => this.#checkpointer.reclaimableBytes,
      pinned: () => this.#checkpointer.newestSnapshot?.end.segment ?? -1,
      bad: (blocks) => {
        this.#bad.found(blocks);
        options.bad(blocks);
      },
    });
    this.#scrubber = new Scrubber({
      blockSize: parts.superblock.blockSize,
      image,
      reader: this.#reader,
      logCheck: new LogCheck({ ...environment, ...parts, start: () => this.#checkpointer.logStart }),
      position: parts.superblock.scrub,
      wallMs: () => this.#wallMs,
      bad: options.bad,
      verifyCheckpoint: () => this.#checkpointer.verify(),
      damaged: (damage) => {
        this.#checkpointer.replaceDamaged();
        options.damaged(damage);
      },
      save: () => this.#superblock.update({}),
    });
  }

  /**
   * Recovers the deployment and makes durable that it is open. Throws StoreCorruptError, with nothing changed,
   * if what had been durable is damaged beyond single blocks, and the disk's errors.
   */
  static async open(environment: StoreEnvironment, options: OpenOptions): Promise<LocalDeploymentStore> {
    const opening = await Opening.begin(environment, options);
    let opened: Opened;
    try {
      opened = await opening.recover();
    } catch (error) {
      await opening.abort(error);
      throw error;
    }
    const store = new LocalDeploymentStore(environment, options, opened);
    opening.upcalls = store.#upcalls;
    try {
      await store.#checkpointer.removeStale();
      if (opened.report.checkpointDue) await store.#checkpointer.last();
      return store;
    } catch (error) {
      if (error instanceof IndexDamageError) store.#fail(error);
      await store.abandon();
      throw error;
    }
  }

  get #upcalls(): Upcalls {
    return {
      lost: (error) => this.#fail(error),
      full: (error) => {
        this.#failure ??= error;
      },
      use: (device) => this.#superblock.addDevice(device),
      shrink: () => this.#checkpointer.shrink(),
    };
  }

  get state(): DeploymentState {
    return this.#superblock.state;
  }

  get last(): Order {
    return { epoch: this.#image.lastEpoch as Epoch, sequence: this.#image.lastSequence as Sequence };
  }

  get generation(): Generation {
    return this.#image.generation as Generation;
  }

  get durable(): Sequence {
    return this.#durable as Sequence;
  }

  get usedBytes(): number {
    return this.#log.usedBytes;
  }

  /** What the cleaner has done since the opening. */
  get cleaned(): Cleaner['done'] {
    return this.#cleaner.done;
  }

  get appendDelayMs(): number {
    return Math.max(this.#diskDelayMs, this.#checkpointer.delayMs);
  }

  get #diskDelayMs(): number {
    const { throttle, settings } = this.#environment;
    const device = this.#log.active?.device;
    const behindBytes = this.#log.queuedBytes + (device?.writingBytes ?? 0);
    const behind = behindBytes > settings.maxWritingBytes || device?.stalled === true;
    return Math.max(throttle.delayMs, behind ? BEHIND_DELAY_MS : 0);
  }

  get badBlocks(): number {
    return this.#bad.count;
  }

  get statistics(): StoreStatistics {
    const { inode, usedBytes, deadBytes, unsyncedBytes, segments } = this.#log;
    return {
      inode,
      usedBytes,
      liveBytes: this.liveBytes,
      dataBytes: this.#dataBlocks * this.state.blockSize,
      segments: segments.size,
      deadBytes,
      unsyncedBytes,
      cleaned: this.cleaned,
      checkpoints: this.#checkpointer.done,
      scrub: this.scrubProgress,
      scrubbed: this.#scrubber.done,
      badBlocks: this.badBlocks,
    };
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Whether an error was final. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Whether what was acknowledged may be missing after it. */
  get suspect(): boolean {
    return this.#suspect;
  }

  /**
   * Changes to `unclean` and `syncBase` speak about the log: it is flushed before they are recorded. `state`
   * shows a change when it is durable.
   */
  async update(patch: DeploymentStatePatch): Promise<void> {
    this.#check();
    await this.#superblock.update(patch);
  }

  hasRoom(entries: number, payloadBytes: number): boolean {
    this.#check();
    return this.#appender.hasRoom(entries, payloadBytes);
  }

  async makeRoom(entries: number, payloadBytes: number): Promise<void> {
    this.#check();
    await this.#appender.makeRoom(entries, payloadBytes);
    this.#check();
  }

  append(batch: LogBatch): void {
    this.#check();
    this.#appender.stream(batch);
  }

  position(position: Order): void {
    this.#check();
    const { lastEpoch, lastSequence } = this.#image;
    if (position.epoch === lastEpoch && position.sequence === lastSequence) return;
    this.#appender.position(position);
    this.#durable = Math.min(this.#durable, position.sequence);
  }

  backfill(blocks: StoredBlocks): void {
    this.#check();
    this.#appender.backfill(blocks);
  }

  async written(): Promise<void> {
    this.#check();
    await this.#log.written();
    // A sync that has failed meanwhile may have lost what had been written.
    if (this.failed) this.#check();
  }

  async flush(): Promise<void> {
    this.#check();
    if (this.#log.lastBatch > this.#syncedBatch) await this.#flushes.request();
  }

  look<T>(blocks: readonly BlockNumber[], act: (lookup: Lookup) => T): Promise<T> {
    return this.#ask(() =>
      this.#image.index.look(blocks, (get) => {
        this.#check();
        const record = this.#record;
        return act((block) => (get(block, record) ? indexedBlock(block, record) : undefined));
      }),
    );
  }

  /** What the index can't answer is final for this opening; if a page of it is damaged, for the next ones, too. */
  async #ask<T>(question: () => Promise<T>): Promise<T> {
    this.#check();
    try {
      return await question();
    } catch (error) {
      if (
        error instanceof IndexDamageError ||
        (error instanceof DiskError && error.path === this.#image.index.file.path)
      ) {
        this.#fail(error);
      }
      throw error;
    }
  }

  async read(first: BlockNumber, blocks: number, lend?: Lender): Promise<StoredBlocks> {
    return this.#ask(() => this.#reader.read(blocks, (i) => first + i, { lend }));
  }

  readCached(first: BlockNumber, blocks: number, lend?: Lender): StoredBlocks | undefined {
    this.#check();
    return this.#reader.readCached(blocks, (i) => first + i, lend);
  }

  async readBlocks(blocks: readonly BlockNumber[], lend?: Lender): Promise<StoredBlocks> {
    return this.#ask(() => this.#reader.read(blocks.length, (i) => blocks[i]!, { lend }));
  }

  async readLog(from: Sequence, maxBytes: number): Promise<LogBatch[] | undefined> {
    this.#check();
    const options = {
      identity: this.#identity,
      log: this.#log,
      image: this.#image,
      pool: this.#environment.pool,
      checksums: this.#checksums,
    };
    return readLog(options, this.state.history, from, maxBytes);
  }

  newerThan(after: Sequence, from: BlockNumber, limit: number): Promise<BlockNumber[]> {
    return this.#select(
      from,
      limit,
      (highest) => highest > after,
      (_epoch, sequence) => sequence > after,
    );
  }

  deadBlocks(history: readonly HistoryEntry[], from: BlockNumber, limit: number): Promise<BlockNumber[]> {
    // Later epochs live at least as long as the lowest one.
    const mayBeDead = (highest: number, lowestEpoch: number): boolean =>
      highest > lastLive(lowestEpoch as Epoch, history);
    return this.#select(from, limit, mayBeDead, deadFilter(history));
  }

  #select(
    from: BlockNumber,
    limit: number,
    interesting: Interesting,
    matches: (epoch: number, sequence: number) => boolean,
  ): Promise<BlockNumber[]> {
    return this.#ask(async () => (await this.#image.index.select(from, limit, interesting, matches)) as BlockNumber[]);
  }

  /**
   * Gives back what is garbage in one sparse segment, if there is reason to; resolves to whether that was done, and
   * there may be more. One call at a time. Never rejects: what goes wrong shows at the next call of something else.
   */
  async clean(pace: Pace): Promise<boolean> {
    if (this.closed || this.failed || pace.stopped) return false;
    const choice = this.#cleaner.choose();
    if (choice !== undefined) {
      this.#cleaning = this.#cleaner.clean(choice, pace).catch((error: unknown) => {
        if (!this.closed && !this.failed) this.#fail(error);
        return false;
      });
    }
    const done = choice !== undefined && (await this.#cleaning);
    if (!this.closed && !this.failed) this.#checkpointer.look();
    return done;
  }

  /**
   * Keeps the present contents under this id (a UUID), blocks and index shared with what comes later. Durable when it
   * resolves. Waits for a checkpoint, which it causes.
   */
  snapshot(id: string): Promise<void> {
    this.#check();
    return this.#checkpointer.snapshot(id, this.#wallMs);
  }

  get snapshots(): readonly Snapshot[] {
    return this.#checkpointer.snapshots;
  }

  /**
   * Gives back the space that only this snapshot takes. Durable when it resolves. Waits for a checkpoint, which it
   * causes, and for who reads the snapshot. Errors: RangeError if there is none of this id.
   */
  removeSnapshot(id: string): Promise<void> {
    this.#check();
    return this.#checkpointer.removeSnapshot(id);
  }

  /**
   * Like `readBlocks`, as the blocks were when the snapshot was taken. Errors: RangeError if there is no such snapshot;
   * IndexDamageError, which says nothing of the present contents.
   */
  readSnapshot(id: string, blocks: readonly BlockNumber[]): Promise<StoredBlocks> {
    this.#check();
    return this.#checkpointer.readSnapshot(id, ({ root }) =>
      this.#reader.readTree(new PageTree(this.#image.index.file, root), blocks),
    );
  }

  /** Reads the next stored blocks to see whether they are intact; resolves to the bytes. One call at a time. Never rejects. */
  scrub(): Promise<number> {
    if (this.closed || this.failed) return Promise.resolve(0);
    this.#scrubbing = this.#scrubber.step().catch((error: unknown) => {
      if (!this.closed && !this.failed) this.#fail(error);
      return 0;
    });
    return this.#scrubbing;
  }

  /** What a pass of the scrub reads: pages of the index are little beside it. */
  get scrubBytes(): number {
    return this.liveBytes + this.#scrubber.logBytes;
  }

  get scrubProgress(): ScrubProgress {
    const { doneBytes, passes, endedMs } = this.#scrubber.position;
    return { doneBytes, totalBytes: Math.max(doneBytes, this.liveBytes), passes, endedMs };
  }

  get #wallMs(): number {
    return Date.parse(this.#environment.clock.timestamp());
  }

  /** What may be given back, as far as that is known; more than there is rather than less. */
  get garbageBytes(): number {
    const { usedBytes } = this.#log;
    const known = Math.max(0, usedBytes - this.liveBytes);
    return Math.min(usedBytes, known + this.#checkpointer.unknownGarbageBytes);
  }

  /** Bytes of payload that the index refers to. */
  get liveBytes(): number {
    let bytes = 0;
    for (const segment of this.#log.segments.values()) bytes += segment.liveBytes;
    return bytes;
  }

  get #dataBlocks(): number {
    let blocks = 0;
    for (const segment of this.#log.segments.values()) blocks += segment.liveBlocks;
    return blocks;
  }

  close(): Promise<void> {
    this.#closing ??= this.#end(true);
    return this.#closing;
  }

  /** Ends without anything made durable: the deployment is about to be erased. */
  abandon(): Promise<void> {
    this.#closing ??= this.#end(false);
    return this.#closing;
  }

  async #end(clean: boolean): Promise<void> {
    this.#log.room.end();
    try {
      await Promise.all([this.#cleaning, this.#scrubbing]);
      await this.#checkpointer.stop();
      if (clean && !this.failed) {
        await this.#flushes.request();
        await this.#checkpointer.last();
        await this.#log.finish();
        await this.#superblock.update({ clean: true });
      }
    } finally {
      await Promise.allSettled([this.#flushes.idle(), this.#superblock.idle(), this.#log.idle()]);
      this.#image.index.close();
      this.#log.close();
    }
  }

  #check(): void {
    if (this.#closing !== undefined) throw new StoreClosedError(this.#identity.deployment);
    if (this.failed) throw new StoreFailedError(this.#identity.deployment, { cause: this.#failure });
  }

  async #sync(): Promise<void> {
    const { positions, lastSequence } = this.#image;
    try {
      await this.#log.sync();
    } catch (error) {
      // The end of the store may be what it failed with.
      if (error !== this.#failure) this.#fail(error);
      throw error;
    }
    this.#syncedBatch = this.#log.durableBatch;
    if (positions === this.#image.positions) this.#durable = lastSequence;
  }

  /**
   * Final for this opening. The next one has to know even if this process ends first: acknowledged writes may
   * be missing. If the disk does not take that either, NodeStores remembers while the process lives.
   */
  #fail(error: unknown): void {
    if (this.#suspect) return;
    this.#suspect = true;
    this.#failure ??= error;
    const damage = error instanceof IndexDamageError ? { damage: error.damage } : {};
    this.#superblock.update({ unclean: true, ...damage }).catch(() => {});
  }
}

function indexedBlock(block: BlockNumber, record: IndexRecord): IndexedBlock {
  const { epoch, sequence, kind, flags, storedLength, checksumLow, checksumHigh } = record;
  const order = { epoch: epoch as Epoch, sequence: sequence as Sequence };
  return { block, order, kind, flags, storedLength, checksumLow, checksumHigh };
}
