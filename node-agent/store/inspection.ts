/** Looks at the deployments of a data directory that no agent is using, and changes nothing. */

import type { Clock, Disk, Random } from '../../core/ports.js';
import { BadBlockError, DiskError } from '../../core/ports.js';
import { MAX_BATCH_ENTRIES, MAX_BATCH_PAYLOAD_BYTES } from '../../core/record.js';
import type { VolumeId } from '../../core/types.js';
import type { BlockChecksums } from '../codec/index.js';
import { BadBlocks } from './bad-blocks.js';
import { BlockReader } from './block-reader.js';
import { DATA_ROOT, Devices } from './devices.js';
import { type Damage, IndexDamageError, StoreCorruptError } from './errors.js';
import { FilePool } from './file-pool.js';
import { storeIdentity } from './format.js';
import { Image } from './image.js';
import { SegmentScanner } from './log-scanner.js';
import { IndexMemory } from './paged/index-memory.js';
import { MAX_ROWS } from './paged/page.js';
import { PageFile } from './paged/page-file.js';
import { PagedIndex } from './paged/paged-index.js';
import { ReadOnlyDisk } from './read-only-disk.js';
import { recover } from './recovery.js';
import type { Segment } from './segment.js';
import { SegmentLog } from './segment-log.js';
import { type CopyReport, type Superblock, SuperblockFile, type SuperblockReading } from './superblock.js';

const OPEN_FILES = 64;
const INDEX_BYTES = 64 * 1024 * 1024;
/** Pages of the index that are read at a time. */
const LEAVES_AT_ONCE = 256;
/** Damages of one deployment that are listed; more are counted. */
const MAX_LISTED = 1000;

export interface InspectionOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly bootId: string;
  readonly checksums: (volume: VolumeId) => BlockChecksums;
}

export interface SegmentReport {
  readonly path: string;
  readonly bytes: number;
  readonly liveBlocks: number;
  readonly liveBytes: number;
  /** Last sequence of the stream's present part in it, 0 if there is none. */
  readonly lastSequence: number;
}

export interface DeploymentReport {
  readonly directory: string;
  readonly copies: readonly CopyReport[];
  /** The one that counts; undefined if no copy is whole. */
  readonly superblock?: Superblock;
  /** Undefined if the deployment would not open. */
  readonly contents?: {
    /** Payloads that the index refers to. */
    readonly blocks: number;
    readonly lastEpoch: number;
    readonly lastSequence: number;
    /** The log has the stream from here on. */
    readonly floor: number;
    readonly usedBytes: number;
    readonly segments: readonly SegmentReport[];
    /** Batches behind the checkpoint, and bytes of a torn tail that opening will cut. */
    readonly replayedBatches: number;
    readonly cutBytes: number;
  };
  readonly damages: readonly Damage[];
  /** Damages that are not listed. */
  readonly more: number;
}

/**
 * All deployments below the disk's root, ascending by directory, or those with, or of a volume with, one of the ids
 * `only`. `deep` reads every block and every batch, else what opening reads. Errors: DiskError 'locked' while an
 * agent uses the directory.
 */
export async function* inspect(
  options: InspectionOptions,
  deep: boolean,
  only?: ReadonlySet<string>,
): AsyncGenerator<DeploymentReport> {
  const { clock, random } = options;
  // Not a data directory: nothing is made in it, not even the lock.
  await options.disk.listAsync(DATA_ROOT);
  const lock = options.disk.lock('lock');
  try {
    const disk = new ReadOnlyDisk(options.disk);
    const devices = await Devices.open(disk, clock, random, 0);
    try {
      for (const index of await devices.indexDirectories()) {
        const names = (await disk.listAsync(index)).filter((name) => /^[1-9]\d{0,14}$/.test(name));
        for (const name of names.sort((a, b) => Number(a) - Number(b))) {
          const directory = `${index}/${name}`;
          if (only !== undefined && !isOneOf(only, await SuperblockFile.read(disk, directory))) continue;
          yield await new Inspection({ ...options, disk }, devices, directory).run(deep);
        }
      }
    } finally {
      await devices.close();
    }
  } finally {
    lock.release();
  }
}

function isOneOf(ids: ReadonlySet<string>, read: SuperblockReading): boolean {
  const owner = 'superblock' in read ? read.superblock : read.owner;
  return owner !== undefined && (ids.has(owner.volume) || ids.has(owner.deployment));
}

class Inspection {
  readonly #options: InspectionOptions;
  readonly #devices: Devices;
  readonly #directory: string;
  readonly #damages: Damage[] = [];
  #more = 0;

  constructor(options: InspectionOptions, devices: Devices, directory: string) {
    this.#options = options;
    this.#devices = devices;
    this.#directory = directory;
  }

  async run(deep: boolean): Promise<DeploymentReport> {
    const { disk } = this.#options;
    const directory = this.#directory;
    const copies = await SuperblockFile.copies(disk, directory);
    for (const { path, problem } of copies) if (problem !== undefined) this.#note({ path, offset: 0, what: problem });
    const read = await SuperblockFile.read(disk, directory);
    if (!('superblock' in read)) return { directory, copies, damages: this.#damages, more: this.#more };
    const { superblock } = read;
    const contents = await this.#open(superblock, deep);
    return {
      directory,
      copies,
      superblock,
      ...(contents !== undefined && { contents }),
      damages: this.#damages,
      more: this.#more,
    };
  }

  #note(damage: Damage): void {
    if (this.#damages.length < MAX_LISTED) this.#damages.push(damage);
    else this.#more++;
  }

  /** As the agent would, on a disk that nothing changes. */
  async #open(superblock: Superblock, deep: boolean): Promise<DeploymentReport['contents']> {
    const { disk, clock, bootId } = this.#options;
    const identity = storeIdentity(superblock.volume, superblock.deployment);
    const checksums = this.#options.checksums(superblock.volume);
    const pool = new FilePool(disk, OPEN_FILES);
    const log = new SegmentLog({
      disk,
      devices: this.#devices,
      pool,
      identity,
      inode: superblock.inode,
      segmentBytes: Number.MAX_SAFE_INTEGER,
      writeOutBytes: Number.MAX_SAFE_INTEGER,
      lost: () => {},
      full: () => {},
      use: async () => {},
    });
    try {
      const memory = new IndexMemory(INDEX_BYTES);
      const pause = (): Promise<void> => new Promise((resolve) => clock.after(0, resolve));
      const index = new PagedIndex({
        memory,
        file: new PageFile({
          disk,
          pool,
          directory: this.#directory,
          identity,
          cache: memory.part(),
          maxRows: MAX_ROWS,
        }),
        shrink: () => {},
        refer: (segment, blocks, bytes) => log.refer(segment, blocks, bytes),
        pause,
      });
      const image = new Image(index, log);
      const { replayedBatches, cutBytes, damages, indexDamages } = await recover({
        disk,
        devices: this.#devices,
        identity,
        superblock,
        checkpointPath: (number) => `${this.#directory}/checkpoint.${number}`,
        checksums,
        sameBoot: superblock.bootId === bootId && !superblock.unclean,
        log,
        image,
        pool,
        pause,
        // Nothing is cut off for good: the disk is an overlay.
        recordDurable: async () => {},
      });
      await index.replaced((segment, blocks, bytes) => log.refer(segment, blocks, bytes));
      const segments = [...log.segments.values()];
      for (const damage of indexDamages) this.#note(damage);
      if (deep) {
        for (const segment of segments) await this.#scan(segment, pool, identity);
        const { deployment } = identity;
        const known = new BadBlocks();
        const reader = new BlockReader({
          deployment,
          index: image.index,
          segments: log.segments,
          pool,
          readable: (segment) => log.readable(segment),
          checksums,
          known,
        });
        await this.#readIndex(index);
        await this.#read(image, reader, superblock.blockSize);
      } else for (const damage of damages) this.#note(damage);
      return {
        blocks: segments.reduce((blocks, { liveBlocks }) => blocks + liveBlocks, 0),
        lastEpoch: image.lastEpoch,
        lastSequence: image.lastSequence,
        floor: image.floor,
        usedBytes: log.usedBytes,
        segments: segments.map(({ path, size, liveBlocks, liveBytes, lastSequence }) => ({
          path,
          bytes: size,
          liveBlocks,
          liveBytes,
          lastSequence,
        })),
        replayedBatches,
        cutBytes,
      };
    } catch (error) {
      if (error instanceof StoreCorruptError) for (const damage of error.damages) this.#note(damage);
      else if (error instanceof IndexDamageError) this.#note(error.damage);
      else if (error instanceof DiskError) this.#note({ path: error.path, offset: 0, what: error.message });
      else throw error;
      return undefined;
    } finally {
      log.close();
      pool.close();
    }
  }

  /** Whether the segment is a row of intact batches to its end: what members that lack the stream's end are sent. */
  async #scan(segment: Segment, pool: FilePool, identity: ReturnType<typeof storeIdentity>): Promise<void> {
    const { path, number, size } = segment;
    const pooled = pool.acquire(path);
    try {
      const scanner = new SegmentScanner(pooled.file, identity, number, size);
      for (let at = 0; at < size; ) {
        const scanned = await scanner.batch(at);
        if ('header' in scanned) {
          at = scanned.end;
          continue;
        }
        this.#note({ path, offset: at, what: scanned.what });
        const next = await scanner.find(at + 1);
        if (next === undefined) return;
        at = next.end;
      }
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#note({ path, offset: 0, what: error.message });
    } finally {
      pool.release(pooled);
    }
  }

  /** Every page of the index, from the disk. Errors: IndexDamageError. */
  async #readIndex(index: PagedIndex): Promise<void> {
    for (let next = 0; next < Number.POSITIVE_INFINITY; ) ({ next } = await index.verify(next, LEAVES_AT_ONCE));
  }

  async #read(image: Image, reader: BlockReader, blockSize: number): Promise<void> {
    const limit = Math.min(MAX_BATCH_ENTRIES, Math.floor(MAX_BATCH_PAYLOAD_BYTES / blockSize));
    for (let from = 0; ; ) {
      const blocks = await image.index.select(from, limit, always, always);
      if (blocks.length === 0) return;
      from = blocks.at(-1)! + 1;
      try {
        await reader.read(blocks.length, (i) => blocks[i]!, { patient: true });
      } catch (error) {
        if (!(error instanceof BadBlockError)) throw error;
        for (const { block, order } of error.blocks) {
          const what = `block ${block} of order ${order.epoch}/${order.sequence}: bad checksum`;
          this.#note({ path: this.#directory, offset: 0, what });
        }
      }
    }
  }
}

function always(): boolean {
  return true;
}
