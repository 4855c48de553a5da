/** Opening a deployment: its parts are made and filled from the disk, and that it is open becomes durable. */

import type { DiskError } from '../../core/ports.js';
import type { VolumeId } from '../../core/types.js';
import type { BlockChecksums } from '../codec/index.js';
import { CheckpointNumbers } from './checkpoint-numbers.js';
import type { Device } from './devices.js';
import type { StoreEnvironment } from './environment.js';
import { IndexDamageError, StoreCorruptError } from './errors.js';
import { type StoreIdentity, storeIdentity } from './format.js';
import { Image } from './image.js';
import { PageFile } from './paged/page-file.js';
import { PagedIndex } from './paged/paged-index.js';
import { type RecoveryReport, recover, removeSegment } from './recovery.js';
import { SegmentLog } from './segment-log.js';
import { type Superblock, SuperblockFile } from './superblock.js';

export interface OpeningOptions {
  /** Holds superblock and checkpoints. */
  readonly directory: string;
  readonly checksums: (volume: VolumeId) => BlockChecksums;
  /** An earlier opening ended with a disk error: acknowledged writes may be missing. */
  readonly suspect: boolean;
}

/** What log and index tell the store that they are parts of. Before there is one, errors end the opening anyway. */
export interface Upcalls {
  /** What was appended could not be written, into the page cache or to the disk. */
  readonly lost: (error: unknown) => void;
  /** The disk had no room for what was appended, against all expectation. */
  readonly full: (error: DiskError) => void;
  /** Makes it durable that segments may be on this device. */
  readonly use: (device: Device) => Promise<void>;
  /** The index takes too much memory. */
  readonly shrink: () => void;
}

/** What a store is made of. */
export interface Opened {
  readonly checksums: BlockChecksums;
  readonly identity: StoreIdentity;
  readonly log: SegmentLog;
  readonly image: Image;
  readonly superblockFile: SuperblockFile;
  readonly superblock: Superblock;
  readonly report: RecoveryReport;
  readonly numbers: CheckpointNumbers;
}

export class Opening {
  readonly #environment: StoreEnvironment;
  readonly #options: OpeningOptions;
  readonly #file: SuperblockFile;
  /** As the last opening has left it, but for the count of openings and what is known to be durable. */
  #found: Superblock;
  readonly #identity: StoreIdentity;
  readonly #log: SegmentLog;
  readonly #index: PagedIndex;
  /** Set by the store. */
  upcalls: Upcalls | undefined;

  private constructor(
    environment: StoreEnvironment,
    options: OpeningOptions,
    { file, superblock }: { readonly file: SuperblockFile; readonly superblock: Superblock },
  ) {
    const { clock, settings, indexMemory } = environment;
    this.#environment = environment;
    this.#options = options;
    this.#file = file;
    this.#found = superblock;
    this.#identity = storeIdentity(superblock.volume, superblock.deployment);
    const identity = this.#identity;
    this.#log = new SegmentLog({
      ...environment,
      identity,
      inode: superblock.inode,
      segmentBytes: settings.segmentBytes,
      writeOutBytes: settings.writeOutBytes,
      lost: (error) => this.upcalls?.lost(error),
      full: (error) => this.upcalls?.full(error),
      use: async (device) => {
        if (this.upcalls === undefined) return;
        await this.upcalls.use(device);
        this.#log.room.allow(device);
      },
    });
    this.#index = new PagedIndex({
      memory: indexMemory,
      file: new PageFile({
        ...environment,
        directory: options.directory,
        identity,
        cache: indexMemory.part(),
        maxRows: settings.indexPageRows,
      }),
      shrink: () => this.upcalls?.shrink(),
      refer: (segment, blocks, bytes) => this.#log.refer(segment, blocks, bytes),
      pause: () => new Promise((resolve) => clock.after(0, resolve)),
    });
  }

  /** Reads the superblock; nothing is changed yet. Throws StoreCorruptError, and the disk's errors. */
  static async begin(environment: StoreEnvironment, options: OpeningOptions): Promise<Opening> {
    const read = await SuperblockFile.read(environment.disk, options.directory);
    if (!('superblock' in read)) throw new StoreCorruptError(read.owner?.deployment, read.damages);
    return new Opening(environment, options, read);
  }

  /**
   * Recovers the deployment and makes durable that it is open. Throws StoreCorruptError, with nothing changed, if what
   * had been durable is damaged beyond single blocks, and the disk's errors.
   */
  async recover(): Promise<Opened> {
    const { disk, clock, bootId, random } = this.#environment;
    const { directory, suspect } = this.#options;
    const log = this.#log;
    const found = this.#found;
    const opening = found.opening + 1;
    const superblockFile = this.#file;
    const numbers = new CheckpointNumbers(opening, found.checkpoint?.number ?? 0, () =>
      superblockFile.write({ ...this.#found, opening }),
    );
    const identity = this.#identity;
    const checksums = this.#options.checksums(found.volume);
    const image = new Image(this.#index, log);
    const report = await recover({
      ...this.#environment,
      identity,
      superblock: found,
      checkpointPath: (number) => `${directory}/checkpoint.${number}`,
      checksums,
      // A store whose sync has failed is unclean: the kernel may have dropped what it could not write.
      sameBoot: found.bootId === bootId && !suspect && !found.unclean,
      log,
      image,
      pause: () => new Promise((resolve) => clock.after(0, resolve)),
      numbers,
      recordDurable: async (durableBatch) => {
        this.#found = { ...this.#found, durableBatch };
        // Numbers of checkpoints may have been given out already.
        await superblockFile.write({ ...this.#found, opening });
      },
    });
    log.recovered();
    log.opening = opening;
    await log.sync();
    const superblock: Superblock = {
      ...found,
      opening,
      incarnation: random.uuid(),
      bootId,
      clean: false,
      unclean: found.unclean || report.lost || suspect || (!found.clean && found.bootId !== bootId),
      durableBatch: log.durableBatch,
    };
    await superblockFile.write(superblock);
    numbers.recorded();
    for (const segment of report.stale) await removeSegment(disk, segment);
    return { checksums, identity, log, image, superblockFile, superblock, report, numbers };
  }

  /** It has failed with this error before there was a store. */
  async abort(error: unknown): Promise<void> {
    if (error instanceof IndexDamageError) {
      // The next opening repairs the index; one that has not been told meets the same page.
      const opening = this.#found.opening + 1;
      await this.#file.write({ ...this.#found, opening, unclean: true, damage: error.damage }).catch(() => {});
    }
    this.#index.close();
    this.#log.close();
  }
}
