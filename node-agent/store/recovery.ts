/**
 * Opening a deployment: the checkpoint's index, then the log behind it, batch after batch.
 *
 * Where the row of batches ends, what follows is either the torn tail of a crash, which is cut off, or damage
 * to what had been durable, which is reported and nothing is changed. The second is proven if the superblock,
 * or any later batch's header, says that the missing batch was durable when it was written. What is cut off may be all
 * that says so of the batches before it: the superblock takes that over first.
 */

import { type Disk, DiskError } from '../../core/ports.js';
import { readEntry } from '../../core/record.js';
import type { BlockChecksums } from '../codec/index.js';
import { badEntries } from './block-reader.js';
import type { LogState, Snapshot } from './checkpoint.js';
import { CheckpointLoader, type CheckpointLoaderOptions, type Loaded, type SegmentFile } from './checkpoint-loader.js';
import { DATA_ROOT, type Devices } from './devices.js';
import { type Damage, StoreCorruptError } from './errors.js';
import type { FilePool } from './file-pool.js';
import { BATCH_BACKFILL, BATCH_POSITION, BATCH_STREAM, HEADER_BYTES, parseSegmentName } from './format.js';
import { fillGaps } from './index-gaps.js';
import { IndexSpill } from './index-spill.js';
import { type ScannedBatch, SegmentScanner } from './log-scanner.js';
import { Segment } from './segment.js';
import { UnsyncedTail } from './unsynced-tail.js';

export interface RecoveryOptions extends CheckpointLoaderOptions {
  readonly devices: Devices;
  readonly checksums: BlockChecksums;
  /** The page cache survived since the deployment was last open: only the process ended. */
  readonly sameBoot: boolean;
  readonly pool: FilePool;
  /** Has the superblock say that all batches up to this one are durable. Rejects with the disk's errors. */
  readonly recordDurable: (batch: number) => Promise<void>;
}

/** Blocks that were found to be damaged while opening; reads of them fail, and another copy heals them. */
export interface RecoveryReport {
  readonly damages: readonly Damage[];
  /** Of the index: what was damaged and has been replaced, in memory so far. */
  readonly indexDamages: readonly Damage[];
  readonly replayedBatches: number;
  readonly cutBytes: number;
  /** What the checkpoint says of the log, and its snapshots. */
  readonly state: LogState;
  readonly snapshots: readonly Snapshot[];
  /** The index has pages that no checkpoint names yet, or a file of the checkpoint is damaged. */
  readonly checkpointDue: boolean;
  /** Slots that the durable index has in use, and the present one has not. */
  readonly replaced: readonly number[];
  /** There are blocks of which not even the order is known any more. */
  readonly lost: boolean;
  /**
   * Segments that a crash left behind the checkpoint that the superblock names. To be removed once the superblock is
   * known to be durable: what was read of it may be in the page cache only, and a power cut brings the one before
   * back, whose log begins earlier.
   */
  readonly stale: readonly Segment[];
}

export async function recover(options: RecoveryOptions): Promise<RecoveryReport> {
  return new Recovery(options).run();
}

/** Somebody's word that all batches up to this one were durable. */
interface Proof {
  readonly durable: number;
  readonly where: string;
}

class Recovery {
  readonly #options: RecoveryOptions;
  readonly #damages: Damage[] = [];
  /** Of the last batch: they never fall. */
  #opening = 0;
  #replayed = 0;
  readonly #unsynced: UnsyncedTail;
  readonly #spill: IndexSpill | undefined;
  readonly #checkpoint: CheckpointLoader;
  #newest: Snapshot | undefined;
  /**
   * The last segment that the pages refer to. Behind a checkpoint that was made in pieces it may be one that has still
   * to be read: until then the pages are ahead of the log, and stay as they are.
   */
  #farthest = 0;
  #cutBytes = 0;
  #lost = false;

  constructor(options: RecoveryOptions) {
    this.#options = options;
    this.#unsynced = new UnsyncedTail(options.superblock.durableBatch);
    const { numbers, image, log, pause } = options;
    if (numbers !== undefined) this.#spill = new IndexSpill({ index: image.index, log, numbers, pause });
    this.#checkpoint = new CheckpointLoader(options, this.#spill);
  }

  async run(): Promise<RecoveryReport> {
    const { log, superblock } = this.#options;
    this.#checkDevices();
    const files = await this.#listSegments();
    const loaded = await this.#checkpoint.load(files);
    const { state, snapshots } = loaded;
    this.#newest = snapshots.at(-1);
    for (const { number, blocks } of loaded.segments) if (blocks > 0) this.#farthest = Math.max(this.#farthest, number);
    log.lastBatch = state.batch;
    const behind = [...files.values()].filter(({ segment }) => segment.number >= state.start.segment);
    const stale = [...files.values()]
      .map(({ segment }) => segment)
      .filter(({ number }) => number < state.start.segment && !log.segments.has(number));
    await this.#replay(behind, loaded);
    await this.#unsynced.rewrite(this.#options.disk);
    log.countDead();
    log.durableBatch = Math.min(log.lastBatch, superblock.durableBatch);
    return {
      damages: this.#damages,
      indexDamages: this.#checkpoint.damages,
      replayedBatches: this.#replayed,
      cutBytes: this.#cutBytes,
      state,
      snapshots,
      checkpointDue: loaded.checkpointDue || this.#spill?.used === true,
      replaced: this.#spill?.replaced ?? [],
      lost: this.#lost,
      stale,
    };
  }

  #fail(damage: Damage): never {
    throw new StoreCorruptError(this.#options.identity.deployment, [damage, ...this.#damages]);
  }

  /** A log whose end is on a file system that is not mounted looks like a shorter log. */
  #checkDevices(): void {
    const { devices, log, superblock } = this.#options;
    for (const [number, id] of superblock.devices) {
      const device = devices.all().find((candidate) => candidate.number === number);
      if (device?.id !== id) {
        const what = `device ${id} is not there: is it mounted?`;
        this.#fail({ path: `${DATA_ROOT}/dev${number}`, offset: 0, what, unread: true });
      }
      log.room.allow(device);
    }
  }

  async #listSegments(): Promise<Map<number, SegmentFile>> {
    const { disk, devices, superblock } = this.#options;
    const found: SegmentFile[] = [];
    for (const device of devices.all()) {
      for (const name of await disk.listAsync(device.path)) {
        const parsed = parseSegmentName(name);
        if (parsed?.inode !== superblock.inode) continue;
        const segment = new Segment(device, superblock.inode, parsed.segment);
        const file = await disk.openAsync(segment.path, { create: false });
        found.push({ segment, size: file.size() });
        await file.close();
      }
    }
    found.sort((a, b) => a.segment.number - b.segment.number);
    return new Map(found.map((file) => [file.segment.number, file]));
  }

  /** Follows the batches' numbers; a segment without any is one that nothing could be written to. */
  async #replay(files: readonly SegmentFile[], loaded: Loaded): Promise<void> {
    let current: SegmentFile | undefined;
    let rest = files;
    const { start } = loaded.state;
    if (files[0]?.segment.number === start.segment) {
      current = files[0];
      rest = files.slice(1);
      if (current.size < start.offset) {
        this.#fail({
          path: current.segment.path,
          offset: current.size,
          what: 'segment shorter than its checkpoint says',
        });
      }
      this.#enter(current.segment, start.offset, loaded);
    } else if (start.offset > 0) {
      this.#fail({ path: `segment ${start.segment}`, offset: 0, what: 'segment missing' });
    }
    await this.#fillGaps(loaded);
    for (;;) {
      const problem = current === undefined ? 'segment missing' : await this.#replaySegment(current, rest);
      const next = await this.#continuation(rest);
      if (next < 0) return this.#endOfLog(current, rest, problem);
      for (const { segment } of rest.slice(0, next + 1)) this.#enter(segment, 0, loaded);
      current = rest[next]!;
      rest = rest.slice(next + 1);
    }
  }

  async #fillGaps({ gaps, state }: Loaded): Promise<void> {
    if (gaps.length === 0) return;
    const { identity, pool, image, log } = this.#options;
    const { start: end, lastSequence } = state;
    this.#lost = await fillGaps({ identity, pool, image, segments: log.segments, gaps, end, lastSequence });
  }

  #enter(segment: Segment, size: number, { segments }: Loaded): void {
    const { log } = this.#options;
    segment.size = size;
    segment.lastSequence = segments.find((row) => row.number === segment.number)?.lastSequence ?? 0;
    log.adopt(segment);
    log.distrust(segment);
  }

  /** Replays from `segment.size` on; says why it stopped if that is not the file's end. */
  async #replaySegment(file: SegmentFile, rest: readonly SegmentFile[]): Promise<string> {
    const { segment, size } = file;
    const { checksums, sameBoot } = this.#options;
    const scanner = await this.#scanner(segment, size);
    try {
      while (segment.size < size) {
        const found = await scanner.reader.batch(segment.size);
        if (!('header' in found)) return found.what;
        const problem = this.#outOfPlace(found);
        if (problem !== undefined) return problem;
        const bad = found.batch.payload.length > 0 ? badEntries(checksums, found.batch) : [];
        // A torn write, unless it is known that it was whole: then the blocks have gone bad since.
        if (
          bad.length > 0 &&
          !sameBoot &&
          (await this.#proof(file, found.end, rest, found.header.number)).durable < found.header.number
        ) {
          return 'payload checksum';
        }
        for (const i of bad) {
          const what = `block ${readEntry(found.batch.entries, i).block}: bad checksum`;
          this.#damages.push({ path: segment.path, offset: found.header.offset, what });
        }
        this.#apply(found, segment);
        if (segment.number >= this.#farthest) await this.#spill?.relieve(this.#newest);
      }
      return 'batches are missing';
    } finally {
      await scanner.close();
    }
  }

  #outOfPlace({ header }: ScannedBatch): string | undefined {
    const { log, image, superblock } = this.#options;
    if (header.number !== log.lastBatch + 1) return `batch ${header.number} where ${log.lastBatch + 1} was expected`;
    if (header.opening > superblock.opening || header.opening < this.#opening) return 'batch of another opening';
    if (header.kind === BATCH_STREAM && header.sequence !== image.lastSequence + 1) return 'gap in the stream';
    return undefined;
  }

  #apply({ header, table, end }: ScannedBatch, segment: Segment): void {
    const { log, image } = this.#options;
    if (header.kind === BATCH_STREAM) image.applyStream(header, table, segment);
    else if (header.kind === BATCH_BACKFILL) image.applyBackfill(header, table, segment);
    else if (header.kind === BATCH_POSITION) image.applyPosition(header);
    this.#opening = header.opening;
    log.lastBatch = header.number;
    log.grow(segment, end);
    this.#unsynced.found(header.number, header.durable, segment, header.offset);
    this.#replayed++;
  }

  /** Which of the segments begins with the batch that is due, or -1. */
  async #continuation(rest: readonly SegmentFile[]): Promise<number> {
    for (const [i, { segment, size }] of rest.entries()) {
      const scanner = await this.#scanner(segment, size);
      try {
        const first = await scanner.reader.batch(0);
        if ('header' in first && this.#outOfPlace(first) === undefined) return i;
      } finally {
        await scanner.close();
      }
    }
    return -1;
  }

  /** No intact batch comes next: what follows is cut, if nothing that was durable is lost by that. */
  async #endOfLog(file: SegmentFile | undefined, rest: readonly SegmentFile[], problem: string): Promise<void> {
    const { disk, log, superblock, recordDurable } = this.#options;
    const end = file?.segment.size ?? 0;
    const { durable, where } = await this.#proof(file, end, rest, log.lastBatch + 1);
    const path = file?.segment.path ?? `segment ${log.nextSegment}`;
    if (durable > log.lastBatch) this.#fail({ path, offset: end, what: `${problem}; it was durable, says ${where}` });
    if (this.#options.sameBoot) await this.#refuseUntornTail(file, rest);
    if (durable > superblock.durableBatch) await recordDurable(durable);
    for (const later of [...rest].reverse()) {
      this.#cutBytes += later.size;
      await removeSegment(disk, later.segment);
    }
    if (file === undefined) return;
    if (file.size > end) {
      this.#cutBytes += file.size - end;
      const handle = await disk.openAsync(file.segment.path, { create: false });
      try {
        await handle.truncateAsync(end);
        await handle.sync();
      } finally {
        await handle.close();
      }
    }
    log.resume(file.segment);
  }

  /**
   * While the machine was up, the page cache kept all that was written, in order: the end of the process can have
   * cut the last batch short, and nothing else. A whole batch that is not intact has been damaged.
   */
  async #refuseUntornTail(file: SegmentFile | undefined, rest: readonly SegmentFile[]): Promise<void> {
    for (const { segment, size } of file === undefined ? rest : [file, ...rest]) {
      const from = segment === file?.segment ? segment.size : 0;
      if (size === from) continue;
      const scanner = await this.#scanner(segment, size);
      try {
        const found = await scanner.reader.batch(from);
        if ('header' in found) this.#fail({ path: segment.path, offset: from, what: 'damaged, or out of place' });
        if (!found.cutShort) this.#fail({ path: segment.path, offset: from, what: `${found.what}, in the same boot` });
      } finally {
        await scanner.close();
      }
    }
  }

  /**
   * The superblock's word, or that of a batch behind `from` in `file` or in `rest` if it goes farther; whose is not
   * looked for any more once it goes as far as batch `number`.
   */
  async #proof(
    file: SegmentFile | undefined,
    from: number,
    rest: readonly SegmentFile[],
    number: number,
  ): Promise<Proof> {
    let best: Proof = { durable: this.#options.superblock.durableBatch, where: 'the superblock' };
    for (const later of file === undefined ? rest : [file, ...rest]) {
      if (best.durable >= number) break;
      const scanner = await this.#scanner(later.segment, later.size);
      try {
        let header = await scanner.reader.findHeader(later === file ? from : 0);
        while (header !== undefined && best.durable < number) {
          const { durable, offset, opening } = header;
          if (durable > best.durable && opening >= this.#opening) {
            best = { durable, where: `the batch at ${offset} of ${later.segment.path}` };
          }
          header = await scanner.reader.findHeader(offset + HEADER_BYTES);
        }
      } finally {
        await scanner.close();
      }
    }
    return best;
  }

  async #scanner(segment: Segment, size: number): Promise<{ reader: SegmentScanner; close: () => Promise<void> }> {
    const { disk, identity } = this.#options;
    const file = await disk.openAsync(segment.path, { create: false });
    return { reader: new SegmentScanner(file, identity, segment.number, size), close: () => file.close() };
  }
}

/** Removes what is left of a segment, durably. */
export async function removeSegment(disk: Disk, segment: Segment): Promise<void> {
  try {
    await disk.unlinkAsync(segment.path);
  } catch (error) {
    if (!(error instanceof DiskError && error.code === 'not-found')) throw error;
  }
  await disk.syncDirectory(segment.device.path);
}
