/**
 * The directories that data is spread over: `data/dev<N>` for segments, `data/db<N>` for superblocks and
 * checkpoints. Directories that appear at run time are found by looking again. Watches over the space too: so
 * many bytes of every file system stay free for what frees space and for what must not fail.
 */

import { type Clock, type Disk, DiskError, type DiskSpace, type Random, type Timer } from '../../core/ports.js';
import { isUuid } from '../../core/types.js';

export const DATA_ROOT = 'data';
/** Within 30 s a new directory has to be in use. */
const LOOK_INTERVAL_MS = 15_000;
/** While more than this is free, nobody asks the file system again. */
const LOOK_MARGIN_BYTES = 64 * 1024 * 1024;
/** A disk that has not answered for so long gets no more writes until it does. */
const STALLED_MS = 250;
const ID_FILE = 'device';
const ID_BYTES = 36;
/** Directories of one kind at the most. */
const MAX_DIRECTORIES = 1024;

/**
 * `payload` may not touch the reserve; a record without payload (TRIM, zeroes, positions) may take half of it,
 * as it frees space; the cleaner's copies three quarters; checkpoints and superblocks may take the rest.
 */
export type SpaceUse = 'payload' | 'record' | 'copy';

/** The part of the reserve that stays free for others. */
const KEPT: Readonly<Record<SpaceUse, number>> = { payload: 1, record: 1 / 2, copy: 1 / 4 };

export interface Capacity {
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Free and not reserved. */
  readonly availableBytes: number;
  /** What is to stay free of all file systems together. */
  readonly reservedBytes: number;
}

/** One `data/dev<N>`, for metrics. */
export interface DeviceSpace {
  readonly path: string;
  /** Of its file system, when it was last asked. */
  readonly freeBytes: number;
  /** Of segments there. */
  readonly segmentBytes: number;
}

/** One `data/dev<N>`. */
export class Device {
  readonly path: string;
  readonly number: number;
  /** In the file `device` there: tells it from an empty directory whose file system was not mounted. */
  readonly id: string;
  readonly #disk: Disk;
  readonly #reserveBytes: number;
  /** Free bytes when last asked, less what was taken since. */
  #free = 0;
  #sinceLook = 0;
  /** Segment bytes on it that this process knows of: tells directories on one file system apart. */
  segmentBytes = 0;
  /** What has been handed to the disk and is not known to have arrived. */
  writingBytes = 0;
  readonly #clock: Clock;
  /** When each operation began that the disk has not answered; the oldest first. */
  readonly #unanswered = new Set<{ readonly since: number }>();

  private constructor(disk: Disk, clock: Clock, number: number, id: string, reserveBytes: number) {
    this.#clock = clock;
    this.path = `${DATA_ROOT}/dev${number}`;
    this.number = number;
    this.id = id;
    this.#disk = disk;
    this.#reserveBytes = reserveBytes;
    this.look();
  }

  /** Reads the device's id; a device without one gets one, durable before anything else is written there. */
  static async open(disk: Disk, clock: Clock, random: Random, number: number, reserveBytes: number): Promise<Device> {
    const directory = `${DATA_ROOT}/dev${number}`;
    const file = disk.open(`${directory}/${ID_FILE}`, { create: true });
    try {
      const text = Buffer.alloc(ID_BYTES);
      let id = text.toString('latin1', 0, file.read(text, 0));
      if (!isUuid(id)) {
        id = random.uuid();
        file.write([Buffer.from(id)], 0);
        await file.sync();
        await disk.syncDirectory(directory);
      }
      return new Device(disk, clock, number, id, reserveBytes);
    } finally {
      file.close();
    }
  }

  /** Asks the file system; returns the share of it that is free. */
  look(): number {
    const { freeBytes, totalBytes } = this.#disk.space(this.path);
    this.#free = freeBytes;
    this.#sinceLook = 0;
    return freeBytes / totalBytes;
  }

  /** Whether so many bytes may be written; if so, counts them. */
  take(bytes: number, use: SpaceUse): boolean {
    const floor = this.#reserveBytes * KEPT[use];
    if (this.#free - bytes < floor + LOOK_MARGIN_BYTES || this.#sinceLook > LOOK_MARGIN_BYTES) this.look();
    if (this.#free - bytes < floor) return false;
    this.#free -= bytes;
    this.#sinceLook += bytes;
    return true;
  }

  get freeBytes(): number {
    return this.#free;
  }

  /** Passes on what comes of an operation of the disk, which counts as unanswered until then. */
  async answered<T>(operation: Promise<T>): Promise<T> {
    const entry = { since: this.#clock.now() };
    this.#unanswered.add(entry);
    try {
      return await operation;
    } finally {
      this.#unanswered.delete(entry);
    }
  }

  /**
   * The disk has owed an answer for some time. Writes into the page cache still succeed then, until one of them waits
   * for the file system's journal, and the event loop with it: better that none is tried.
   */
  get stalled(): boolean {
    for (const { since } of this.#unanswered) return this.#clock.now() - since > STALLED_MS;
    return false;
  }

  /** Less than twice the reserve is free: whatever can be freed should be. */
  get low(): boolean {
    return this.#free < 2 * this.#reserveBytes;
  }
}

function numbered(disk: Disk, prefix: string): number[] {
  return disk
    .list(DATA_ROOT)
    .map((name) => new RegExp(`^${prefix}([1-9]\\d{0,5})$`).exec(name)?.[1])
    .filter((number) => number !== undefined)
    .map(Number)
    .sort((a, b) => a - b)
    .slice(0, MAX_DIRECTORIES);
}

export class Devices {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #reserveBytes: number;
  readonly #devices = new Map<number, Device>();
  #timer: Timer | undefined;
  #closed = false;

  private constructor(disk: Disk, clock: Clock, random: Random, reserveBytes: number) {
    this.#disk = disk;
    this.#clock = clock;
    this.#random = random;
    this.#reserveBytes = reserveBytes;
  }

  /** Makes `data/dev1` and `data/db1` where there is nothing yet. */
  static async open(disk: Disk, clock: Clock, random: Random, reserveBytes: number): Promise<Devices> {
    if (makeDirectory(disk, DATA_ROOT)) await disk.syncDirectory('');
    let made = false;
    for (const kind of ['dev', 'db']) {
      if (numbered(disk, kind).length === 0) made = makeDirectory(disk, `${DATA_ROOT}/${kind}1`) || made;
    }
    if (made) await disk.syncDirectory(DATA_ROOT);
    const devices = new Devices(disk, clock, random, reserveBytes);
    await devices.look();
    devices.#watch();
    return devices;
  }

  #watch(): void {
    if (this.#closed) return;
    this.#timer = this.#clock.after(LOOK_INTERVAL_MS, () => {
      void this.look().then(() => this.#watch());
    });
  }

  /** Finds new directories and asks for everybody's free space. One that can't be used is left out until it can. */
  async look(): Promise<void> {
    for (const number of onError([], () => numbered(this.#disk, 'dev'))) {
      try {
        const known = this.#devices.get(number);
        if (known !== undefined) known.look();
        else
          this.#devices.set(
            number,
            await Device.open(this.#disk, this.#clock, this.#random, number, this.#reserveBytes),
          );
      } catch (error) {
        if (!(error instanceof DiskError)) throw error;
      }
    }
  }

  all(): readonly Device[] {
    return [...this.#devices.values()];
  }

  /** There is no device with much room left. */
  get low(): boolean {
    for (const device of this.#devices.values()) if (!device.low) return false;
    return true;
  }

  /** Bytes of payload that the roomiest device still takes. */
  room(): number {
    const free = this.all().map((device) => onError(0, () => device.look()) && device.freeBytes);
    return Math.max(0, Math.max(0, ...free) - this.#reserveBytes);
  }

  /** All devices that can be asked, the emptiest first. */
  byRoom(): Device[] {
    return this.all()
      .map((device) => ({ device, free: onError(-1, () => device.look()) }))
      .filter(({ free }) => free >= 0)
      .sort((a, b) => b.free - a.free || a.device.segmentBytes - b.device.segmentBytes)
      .map(({ device }) => device);
  }

  /** Directories for superblocks and checkpoints, as they are now. */
  indexDirectories(): string[] {
    return numbered(this.#disk, 'db').map((number) => `${DATA_ROOT}/db${number}`);
  }

  /** Of all file systems that hold segments. */
  capacity(): Capacity {
    const systems = new Map<string, DiskSpace>();
    for (const { path } of this.all()) {
      const space = onError(undefined, () => this.#disk.space(path));
      if (space !== undefined) systems.set(space.fileSystem, space);
    }
    let totalBytes = 0;
    let freeBytes = 0;
    let availableBytes = 0;
    for (const space of systems.values()) {
      totalBytes += space.totalBytes;
      freeBytes += space.freeBytes;
      availableBytes += Math.max(0, space.freeBytes - this.#reserveBytes);
    }
    return { totalBytes, freeBytes, availableBytes, reservedBytes: systems.size * this.#reserveBytes };
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}

/** `otherwise`, if the disk does not answer. */
function onError<T>(otherwise: T, ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    if (error instanceof DiskError) return otherwise;
    throw error;
  }
}

function makeDirectory(disk: Disk, path: string): boolean {
  try {
    disk.makeDirectory(path);
    return true;
  } catch (error) {
    if (error instanceof DiskError && error.code === 'exists') return false;
    throw error;
  }
}
