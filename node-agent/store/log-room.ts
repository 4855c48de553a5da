/**
 * Where the next batch of a deployment goes, and that there is room for it. While a device has far more room than has
 * to stay free, a batch is written without asking. On a disk that is nearly full its room is reserved in the file
 * system before the batch gets its place in the log: what has its place can't meet the end of the space any more.
 */

import { type Disk, DiskError } from '../../core/ports.js';
import type { DeploymentId } from '../../core/types.js';
import type { Device, Devices, SpaceUse } from './devices.js';
import { StoreClosedError } from './errors.js';
import type { FilePool } from './file-pool.js';
import { Segment } from './segment.js';
import type { SegmentLog } from './segment-log.js';

/** Reserved at a time for payload, if there is as much. */
const RESERVED_BYTES = 1024 * 1024;
/** Others may take what was reserved, the cleaner for one, before whoever asked for it. */
const ATTEMPTS = 8;

export interface LogRoomOptions {
  readonly identity: { readonly deployment: DeploymentId };
  readonly disk: Disk;
  readonly devices: Devices;
  readonly pool: FilePool;
  readonly inode: number;
  readonly segmentBytes: number;
  /** Makes it durable that segments may be on this device, and allows it; an emptier one than those in use. */
  readonly use: (device: Device) => Promise<void>;
}

export class LogRoom {
  readonly #options: LogRoomOptions;
  readonly #log: SegmentLog;
  readonly #allowed = new Set<Device>();
  /** Room is taken by one after the other. */
  #taking: Promise<unknown> = Promise.resolve();
  /** Ends the waiting of those that are not refused before every device has answered. */
  readonly #asking = new Set<() => void>();
  #ended = false;
  /** A segment is being made: nobody else may make the one of this number. */
  #creating = false;

  constructor(options: LogRoomOptions, log: SegmentLog) {
    this.#options = options;
    this.#log = log;
  }

  /** Segments may be made on this device from now on: the superblock says so. */
  allow(device: Device): void {
    this.#allowed.add(device);
  }

  /** The segment that takes so many bytes at its end, a new one perhaps; undefined if room has to be made first. */
  find(bytes: number, use: SpaceUse): Segment | undefined {
    const { active } = this.#log;
    if (active !== undefined && this.#fits(active, bytes)) {
      if (active.size + bytes <= active.reservedEnd || active.device.hasPlenty(bytes, use)) return active;
    }
    if (this.#creating) return undefined;
    const byRoom = this.#options.devices.byRoom();
    this.#want(byRoom[0]);
    const device = byRoom.find((candidate) => this.#allowed.has(candidate) && candidate.hasPlenty(bytes, use));
    return device && this.#newSegment(device);
  }

  /**
   * Makes `find` find one, if nobody else takes the room before. Errors: DiskError 'no-space' and others,
   * StoreClosedError.
   */
  async make(bytes: number, use: SpaceUse): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS && this.find(bytes, use) === undefined; attempt++) {
      if (await this.#inTurn(() => this.#look(bytes, use))) continue;
      // Out of turn: what a device that does not answer has no room for holds up nobody for whom there is some.
      await this.#unlessEnded(this.#ask());
      if (!(await this.#inTurn(() => this.#take(bytes, use)))) {
        throw new DiskError('no-space', this.#log.active?.path ?? 'data', 'the disk is full');
      }
    }
  }

  #inTurn(take: () => Promise<boolean>): Promise<boolean> {
    const taken = this.#taking.then(() => {
      if (this.#ended) throw new StoreClosedError(this.#options.identity.deployment);
      return take();
    });
    this.#taking = taken.catch(() => {});
    return taken;
  }

  /** No room is made any more; nobody waits for a device that does not answer. */
  end(): void {
    this.#ended = true;
    for (const end of this.#asking) end();
  }

  /** Resolves when none is being taken. */
  async idle(): Promise<void> {
    await this.#taking;
  }

  async #look(bytes: number, use: SpaceUse): Promise<boolean> {
    await this.#options.devices.refresh();
    return this.#take(bytes, use);
  }

  /**
   * Nobody is refused for a figure that is old, as a disk has owed its answer for long, or that counts twice what is on
   * its way.
   */
  async #ask(): Promise<void> {
    await this.#log.written();
    await this.#options.devices.ask(new Set([...this.#log.segments.values()].map(({ device }) => device)));
  }

  #unlessEnded(asked: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => reject(new StoreClosedError(this.#options.identity.deployment));
      this.#asking.add(end);
      if (this.#ended) end();
      asked.then(resolve, reject).finally(() => this.#asking.delete(end));
    });
  }

  /** Takes room from the first place that has it; false if there is none. */
  async #take(bytes: number, use: SpaceUse): Promise<boolean> {
    // The file of a segment is made with the first batch that is written to it; others may begin one meanwhile.
    while (this.#log.active?.written === 0 && this.#log.active.size > 0) await this.#log.written();
    if (this.find(bytes, use) !== undefined) return true;
    const { active } = this.#log;
    if (active !== undefined && this.#fits(active, bytes) && (await this.#reserve(active, bytes, use))) return true;
    return this.#create(bytes, use);
  }

  #fits({ size }: Segment, bytes: number): boolean {
    return size === 0 || size + bytes <= this.#options.segmentBytes;
  }

  #newSegment(device: Device): Segment {
    return new Segment(device, this.#options.inode, this.#log.nextSegment);
  }

  #want(roomiest: Device | undefined): void {
    // Who can't be told has failed, which shows at the next call.
    if (roomiest !== undefined && !this.#allowed.has(roomiest)) this.#options.use(roomiest).catch(() => {});
  }

  /** A new segment on the first device that has room. */
  async #create(bytes: number, use: SpaceUse): Promise<boolean> {
    this.#creating = true;
    try {
      for (const device of this.#options.devices.byRoom()) {
        if (!device.admits(bytes, use)) continue;
        if (!this.#allowed.has(device)) await this.#options.use(device);
        const segment = this.#newSegment(device);
        if (await this.#reserve(segment, bytes, use)) {
          this.#log.begin(segment);
          return true;
        }
        await this.#remove(segment);
      }
      return false;
    } finally {
      this.#creating = false;
    }
  }

  /** Reserves room for so many bytes behind the segment's end, for more of them if there is; false if there is none. */
  async #reserve(segment: Segment, bytes: number, use: SpaceUse): Promise<boolean> {
    const from = Math.max(segment.size, segment.reservedEnd);
    const missing = segment.size + bytes - from;
    const more = Math.min(RESERVED_BYTES, this.#options.segmentBytes - from);
    const lengths = use === 'payload' && more > missing ? [more, missing] : [missing];
    for (const length of lengths) {
      if (segment.device.admits(length, use) && (await this.#allocate(segment, from, length))) return true;
    }
    return false;
  }

  /** Its file was made and can't be used: the segment of this number will be elsewhere. */
  async #remove({ path }: Segment): Promise<void> {
    const { disk, pool } = this.#options;
    pool.forget(path);
    await disk.unlinkAsync(path).catch((error: unknown) => {
      if (!(error instanceof DiskError && error.code === 'not-found')) throw error;
    });
  }

  async #allocate(segment: Segment, from: number, length: number): Promise<boolean> {
    const { pool } = this.#options;
    const { device } = segment;
    try {
      const pooled = await device.answered(pool.acquireAsync(segment.path, { create: from === 0 }));
      try {
        // A file system that can't reserve is taken at its word about what is free.
        await device.answered(pooled.file.reserve(from, length));
      } finally {
        pool.release(pooled);
      }
    } catch (error) {
      if (error instanceof DiskError && error.code === 'no-space') return false;
      throw error;
    }
    segment.reservedEnd = from + length;
    device.reserved(length);
    return true;
  }
}
