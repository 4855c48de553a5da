/** When checkpoints of a deployment are made, and what becomes free by them. */

import { type Clock, type Disk, DiskError } from '../../core/ports.js';
import { BLOCK_ROW_BYTES, type CheckpointHead, readCheckpoint, writeCheckpoint } from './checkpoint.js';
import type { StoreSettings } from './environment.js';
import { type BatchHeader, batchBytes, type StoreIdentity } from './format.js';
import type { Image } from './image.js';
import type { Segment } from './segment.js';
import type { SegmentLog } from './segment-log.js';
import type { Superblock } from './superblock.js';

/** After a checkpoint that the disk had no room for. */
const RETRY_MS = 5_000;
/** A checkpoint that is made for the space alone gives back so many times its own size. */
const RECLAIM_FACTOR = 4;
/** On a disk that is nearly full, a segment of TRIMs alone is closed, so that it can go, from this part of its size on. */
const SEAL_FRACTION = 16;

export interface CheckpointerOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly settings: StoreSettings;
  readonly directory: string;
  readonly identity: StoreIdentity;
  readonly log: SegmentLog;
  readonly image: Image;
  /** The one that the superblock names. */
  readonly last: Superblock['checkpoint'];
  /** Batches in the log that it does not have. */
  readonly batchesBehind: number;
  /** Makes the log durable. */
  readonly flush: () => Promise<void>;
  /** Makes the superblock name the checkpoint. */
  readonly publish: (checkpoint: NonNullable<Superblock['checkpoint']>) => Promise<void>;
  readonly fail: (error: unknown) => void;
}

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #published: Superblock['checkpoint'];
  #nextNumber: number;
  #batchesBehind: number;
  #bytesBehind = 0;
  #entriesBehind = 0;
  #running: Promise<void> | undefined;
  #notBefore = Number.NEGATIVE_INFINITY;
  #stopped = false;
  /** Since the opening: checkpoints that are durable, their bytes, the time they took, and the bytes of segments that went with them. */
  readonly done = { checkpoints: 0, writtenBytes: 0, seconds: 0, reclaimedBytes: 0 };

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#published = options.last;
    this.#nextNumber = (options.last?.number ?? 0) + 1;
    this.#batchesBehind = options.batchesBehind;
  }

  /** A batch is in the log and in the image. */
  appended(header: BatchHeader): void {
    this.#batchesBehind++;
    this.#bytesBehind += batchBytes(header);
    this.#entriesBehind += header.entryCount;
    this.look();
  }

  /** Begins one if it is due. */
  look(): void {
    if (this.#running === undefined && this.#due()) this.#start();
  }

  #due(): boolean {
    const { settings, log, image } = this.#options;
    if (this.#bytesBehind >= settings.checkpointBytes) return true;
    if (this.#entriesBehind >= Math.max(settings.checkpointEntries, image.index.size / 4)) return true;
    const checkpointBytes = image.index.size * BLOCK_ROW_BYTES;
    if (log.deadBytes >= Math.max(settings.reclaimBytes, RECLAIM_FACTOR * checkpointBytes)) return true;
    if (log.active?.device.low !== true) return false;
    if (log.active.liveBlocks === 0 && log.active.size >= settings.segmentBytes / SEAL_FRACTION) log.seal();
    return log.deadBytes > 0;
  }

  /** An append found no room: what can be freed is. */
  noSpace(): void {
    const { log } = this.#options;
    if (log.active !== undefined && log.active.liveBlocks === 0 && log.active.size > 0) log.seal();
    if (this.#running === undefined && log.deadBytes > 0) this.#start();
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
        else fail(error);
      },
    );
  }

  async #run(): Promise<void> {
    const { disk, clock, identity, log, image, flush, publish } = this.#options;
    const number = this.#nextNumber++;
    const path = this.#path(number);
    const began = clock.now();
    const dead = log.dead();
    const head = this.#head(dead);
    this.#batchesBehind = this.#bytesBehind = this.#entriesBehind = 0;
    const pause = (): Promise<void> => new Promise((resolve) => clock.after(0, resolve));
    let bytes: number;
    try {
      bytes = await writeCheckpoint({ disk, path, identity, number }, head, image.index, pause);
    } catch (error) {
      await this.#unlink(path);
      throw error;
    }
    await flush();
    await publish({ number, bytes });
    if (this.#published !== null) await this.#unlink(this.#path(this.#published.number));
    this.#published = { number, bytes };
    image.floor = Math.max(image.floor, floorWithout(dead));
    for (const segment of dead) {
      this.done.reclaimedBytes += segment.size;
      await log.remove(segment);
    }
    this.done.checkpoints++;
    this.done.writtenBytes += bytes;
    this.done.seconds += (clock.now() - began) / 1000;
  }

  #head(dead: readonly Segment[]): CheckpointHead {
    const { log, image } = this.#options;
    const gone = new Set(dead);
    return {
      batch: log.lastBatch,
      start: log.end,
      lastEpoch: image.lastEpoch,
      lastSequence: image.lastSequence,
      generation: image.generation,
      floor: Math.max(image.floor, floorWithout(dead)),
      streamStart: image.streamStart,
      segments: [...log.segments.values()]
        .filter((segment) => !gone.has(segment))
        .map(({ number, device, size, lastSequence }) => ({ number, device: device.number, size, lastSequence })),
    };
  }

  #path(number: number): string {
    return `${this.#options.directory}/checkpoint.${number}`;
  }

  /** What can't be removed now is removed by the next opening. */
  async #unlink(path: string): Promise<void> {
    try {
      await this.#options.disk.unlinkAsync(path);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
    }
  }

  /** Reads the checkpoint that the next opening would need; one that is damaged is replaced. */
  async verify(): Promise<void> {
    const published = this.#published;
    if (published === null || this.#stopped) return;
    const { disk, identity } = this.#options;
    const { number, bytes } = published;
    const read = await readCheckpoint({ disk, path: this.#path(number), identity, number }, bytes, () => {});
    if ('what' in read && this.#published === published && this.#running === undefined) this.#start();
  }

  /** Removes what a crash left behind between writing a checkpoint and naming it, or naming it and removing the old. */
  async removeStale(): Promise<void> {
    const { disk, directory } = this.#options;
    const current = `checkpoint.${this.#published?.number}`;
    for (const name of disk.list(directory)) {
      if (name.startsWith('checkpoint.') && name !== current) await this.#unlink(`${directory}/${name}`);
    }
  }

  /** Starts no more; resolves when none is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** The one at the end of a clean shutdown, if there is anything new. A full disk forgoes it. */
  async last(): Promise<void> {
    if (this.#batchesBehind === 0) return;
    try {
      await this.#run();
    } catch (error) {
      if (!(error instanceof DiskError && error.code === 'no-space')) throw error;
    }
  }
}

/** Without these segments, the log holds the stream from here on. */
function floorWithout(segments: readonly Segment[]): number {
  return segments.reduce((floor, { lastSequence }) => Math.max(floor, lastSequence + 1), 0);
}
