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
/**
 * While so much more is free than has to stay free, what is appended is written without asking for room first. What
 * others put on the file system between two looks should be less.
 */
const MARGIN_BYTES = 64 * 1024 * 1024;
/** What is free is asked for again after this time, and behind half of that margin. */
const SPACE_INTERVAL_MS = 1_000;
/** A disk that has not answered for so long gets no more writes until it does, and nobody else waits for it. */
const STALLED_MS = 250;
const ID_FILE = 'device';
const ID_BYTES = 36;
/** Directories of one kind at the most. */
const MAX_DIRECTORIES = 1024;

/**
 * `payload` may not touch the reserve; the cleaner's copies may take half of it; a record without payload (TRIM, zeroes,
 * positions) three quarters, as it frees space and must work while copies wait for the checkpoint that pays for them;
 * checkpoints and superblocks may take the rest.
 */
export type SpaceUse = 'payload' | 'record' | 'copy';

/** The part of the reserve that stays free for others. */
const KEPT: Readonly<Record<SpaceUse, number>> = { payload: 1, copy: 1 / 2, record: 1 / 4 };

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
  /** As the file system said when it was last asked. */
  #space: DiskSpace;
  /** Free bytes then, less what was taken since. */
  #free = 0;
  #sinceLook = 0;
  /** Taken, and perhaps unknown to the file system yet. */
  #unlandedBytes = 0;
  #looking: Promise<void> | undefined;
  /** Segment bytes on it that this process knows of: tells directories on one file system apart. */
  segmentBytes = 0;
  /** What has been handed to the disk and is not known to have arrived. */
  writingBytes = 0;
  readonly #clock: Clock;
  /** When each operation began that the disk has not answered; the oldest first. */
  readonly #unanswered = new Set<{ readonly since: number }>();

  private constructor(
    disk: Disk,
    clock: Clock,
    { number, id, space }: { number: number; id: string; space: DiskSpace },
    reserveBytes: number,
  ) {
    this.#clock = clock;
    this.#space = space;
    this.path = `${DATA_ROOT}/dev${number}`;
    this.number = number;
    this.id = id;
    this.#disk = disk;
    this.#reserveBytes = reserveBytes;
    this.#note(space);
  }

  /** Reads the device's id; a device without one gets one, durable before anything else is written there. */
  static async open(disk: Disk, clock: Clock, random: Random, number: number, reserveBytes: number): Promise<Device> {
    const path = `${DATA_ROOT}/dev${number}`;
    const file = await disk.openAsync(`${path}/${ID_FILE}`, { create: true });
    try {
      const text = Buffer.alloc(ID_BYTES);
      let id = text.toString('latin1', 0, await file.readAsync(text, 0));
      if (!isUuid(id)) {
        id = random.uuid();
        await file.writeAsync([Buffer.from(id)], 0);
        await file.sync();
        await disk.syncDirectory(path);
      }
      return new Device(disk, clock, { number, id, space: await disk.spaceAsync(path) }, reserveBytes);
    } finally {
      await file.close();
    }
  }

  /** Asks the file system; one question at a time, and who comes meanwhile gets the answer of the next one. */
  async look(): Promise<void> {
    await this.#looking;
    this.#looking ??= this.answered(this.#disk.spaceAsync(this.path))
      .then((space) => this.#note(space))
      .finally(() => {
        this.#looking = undefined;
      });
    await this.#looking;
  }

  /** Resolves when the file system has answered what it was asked. */
  async idle(): Promise<void> {
    await this.#looking?.catch(unlessDiskError);
  }

  #note(space: DiskSpace): void {
    this.#space = space;
    this.#free = space.freeBytes - this.#unlandedBytes;
    this.#sinceLook = 0;
  }

  /** Asks, unless somebody does already, and waits for no answer. */
  refresh(): void {
    // Who needs the answer asks, too.
    if (this.#looking === undefined) this.look().catch(() => {});
  }

  /** So many bytes are going to be written that no room was reserved for; `landed` follows. */
  take(bytes: number): void {
    this.#free -= bytes;
    this.#sinceLook += bytes;
    this.#unlandedBytes += bytes;
    if (this.#sinceLook >= MARGIN_BYTES / 2) this.refresh();
  }

  /** They were written, or never will be. */
  landed(bytes: number): void {
    this.#unlandedBytes -= bytes;
  }

  /** Whether there is far more room than for so many bytes: otherwise it is reserved first, as `admits` allows it. */
  hasPlenty(bytes: number, use: SpaceUse): boolean {
    return this.admits(bytes + MARGIN_BYTES, use);
  }

  /** Whether so many bytes leave free what has to stay free. */
  admits(bytes: number, use: SpaceUse): boolean {
    return this.#free - bytes >= this.#reserveBytes * KEPT[use];
  }

  /** So many bytes were reserved in the file system. */
  reserved(bytes: number): void {
    this.#free -= bytes;
  }

  get space(): DiskSpace {
    return this.#space;
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

async function numbered(disk: Disk, prefix: string): Promise<number[]> {
  const names = await disk.listAsync(DATA_ROOT);
  return names
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
  /** That are under way: one at a time per directory, as the first one gives it its id. */
  #listing: Promise<number[] | undefined> | undefined;
  readonly #looks = new Map<number, Promise<void>>();
  readonly #timers = new Map<'directories' | 'space', Timer>();
  #closed = false;

  private constructor(disk: Disk, clock: Clock, random: Random, reserveBytes: number) {
    this.#disk = disk;
    this.#clock = clock;
    this.#random = random;
    this.#reserveBytes = reserveBytes;
  }

  /** Makes `data/dev1` and `data/db1` where there is nothing yet. */
  static async open(disk: Disk, clock: Clock, random: Random, reserveBytes: number): Promise<Devices> {
    if (await makeDirectory(disk, DATA_ROOT)) await disk.syncDirectory('');
    let made = false;
    for (const kind of ['dev', 'db']) {
      if ((await numbered(disk, kind)).length === 0) {
        made = (await makeDirectory(disk, `${DATA_ROOT}/${kind}1`)) || made;
      }
    }
    if (made) await disk.syncDirectory(DATA_ROOT);
    const devices = new Devices(disk, clock, random, reserveBytes);
    await devices.look();
    devices.#watch();
    return devices;
  }

  #watch(): void {
    // One that does not answer holds up none of the others.
    this.#every('directories', LOOK_INTERVAL_MS, () => void this.#begin());
    this.#every('space', SPACE_INTERVAL_MS, () => {
      for (const device of this.all()) device.refresh();
    });
  }

  #every(what: 'directories' | 'space', intervalMs: number, act: () => void): void {
    if (this.#closed) return;
    const timer = this.#clock.after(intervalMs, () => {
      act();
      this.#every(what, intervalMs, act);
    });
    this.#timers.set(what, timer);
  }

  /** Finds new directories and asks for everybody's free space. One that can't be used is left out until it can. */
  async look(): Promise<void> {
    await Promise.all(await this.#begin());
  }

  /** Asks for the free space of the devices that are known, and does not wait for those that owe an answer. */
  async refresh(): Promise<void> {
    await Promise.all(this.all().map((device) => this.#lookBriefly(device).catch(unlessDiskError)));
  }

  /**
   * The same, but waits for those of `needed` however long it takes: who has data there waits for them anyway. Of one
   * that can't tell, what it said last counts: that it can't is no error of a write.
   */
  async ask(needed: ReadonlySet<Device>): Promise<void> {
    const look = (device: Device): Promise<void> => (needed.has(device) ? device.look() : this.#lookBriefly(device));
    await Promise.all(this.all().map((device) => look(device).catch(unlessDiskError)));
  }

  /** Resolves also when the answer takes so long that there may be none. */
  #lookBriefly(device: Device): Promise<void> {
    if (device.stalled) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(STALLED_MS, resolve);
      device
        .look()
        .then(resolve, reject)
        .finally(() => timer.cancel());
    });
  }

  async #begin(): Promise<Promise<void>[]> {
    this.#listing ??= numbered(this.#disk, 'dev')
      .catch(unlessDiskError)
      .finally(() => {
        this.#listing = undefined;
      });
    const numbers = await this.#listing;
    return (numbers ?? []).map((number) => {
      const looking = this.#looks.get(number) ?? this.#lookAt(number);
      this.#looks.set(number, looking);
      return looking;
    });
  }

  async #lookAt(number: number): Promise<void> {
    try {
      const known = this.#devices.get(number);
      if (known !== undefined) await known.look();
      else {
        const found = await Device.open(this.#disk, this.#clock, this.#random, number, this.#reserveBytes);
        this.#devices.set(number, found);
      }
    } catch (error) {
      unlessDiskError(error);
    } finally {
      this.#looks.delete(number);
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
    const devices = this.all();
    // Whoever slows writers down has to know it better than once a second.
    for (const device of devices) device.refresh();
    return Math.max(0, Math.max(0, ...devices.map(({ freeBytes }) => freeBytes)) - this.#reserveBytes);
  }

  /** The emptiest first, as far as is known; those that have stopped answering behind all others. */
  byRoom(): Device[] {
    const share = ({ space, freeBytes }: Device): number => freeBytes / space.totalBytes;
    const late = ({ stalled }: Device): number => Number(stalled);
    return [...this.all()].sort((a, b) => late(a) - late(b) || share(b) - share(a) || a.segmentBytes - b.segmentBytes);
  }

  /** Directories for superblocks and checkpoints, as they are now. */
  async indexDirectories(): Promise<string[]> {
    return (await numbered(this.#disk, 'db')).map((number) => `${DATA_ROOT}/db${number}`);
  }

  /** Of all file systems that hold segments, as they were when they were last looked at. */
  capacity(): Capacity {
    const systems = new Map(this.all().map(({ space }) => [space.fileSystem, space]));
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

  /** Resolves when nobody looks any more. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    await this.#listing;
    await Promise.all([...this.#looks.values(), ...this.all().map((device) => device.idle())]);
  }
}

function unlessDiskError(error: unknown): undefined {
  if (!(error instanceof DiskError)) throw error;
}

async function makeDirectory(disk: Disk, path: string): Promise<boolean> {
  try {
    await disk.makeDirectoryAsync(path);
    return true;
  } catch (error) {
    if (error instanceof DiskError && error.code === 'exists') return false;
    throw error;
  }
}
