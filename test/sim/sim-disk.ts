/**
 * A disk in memory that keeps what is durable apart from what is only in the page cache, so that crashes can
 * take what a real one takes. A process uses it through `mount()`; `crash` makes all mounts dead: their calls
 * throw and what they await never settles.
 */

import {
  type Clock,
  type Disk,
  DiskError,
  type DiskFile,
  type DiskLock,
  type DiskSpace,
  type Random,
} from '../../core/ports.js';
import { STATE } from './steps/fingerprint.js';

export const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;
const COLD_EVERY_PAGES = 3;

/** A change of a file that no sync has made durable yet. */
type FileChange =
  | { readonly kind: 'write'; readonly position: number; readonly data: Uint8Array }
  | { readonly kind: 'truncate'; readonly size: number };

/** A change of a directory: each pair makes a name mean an inode, or nothing. All pairs happen or none. */
type DirectoryChange = readonly (readonly [name: string, inode: Inode | undefined])[];

class Bytes {
  #data = new Uint8Array(0);
  size = 0;

  write(position: number, data: Uint8Array): void {
    const end = position + data.length;
    if (end > this.#data.length) {
      const grown = new Uint8Array(Math.max(end, this.#data.length * 2, 1024));
      grown.set(this.#data.subarray(0, this.size));
      this.#data = grown;
    }
    this.#data.set(data, position);
    this.size = Math.max(this.size, end);
  }

  truncate(size: number): void {
    if (size > this.size) {
      this.write(size - 1, new Uint8Array(1));
    } else {
      this.#data.fill(0, size, this.size);
      this.size = size;
    }
  }

  view(): Uint8Array {
    return this.#data.subarray(0, this.size);
  }

  [STATE](): unknown {
    return this.view();
  }

  copy(): Bytes {
    const copy = new Bytes();
    copy.#data = this.#data.slice(0, this.size);
    copy.size = this.size;
    return copy;
  }
}

class FileInode {
  cache = new Bytes();
  durable = new Bytes();
  pending: FileChange[] = [];
  /** There is room for the file up to here. */
  reservedEnd = 0;

  apply(change: FileChange, to: Bytes): void {
    if (change.kind === 'write') to.write(change.position, change.data);
    else to.truncate(change.size);
  }

  change(change: FileChange): void {
    this.apply(change, this.cache);
    this.pending.push(change);
  }

  settle(changes: readonly FileChange[]): void {
    const done = new Set(changes);
    for (const change of this.pending) if (done.has(change)) this.apply(change, this.durable);
    this.pending = this.pending.filter((change) => !done.has(change));
  }

  get allocated(): number {
    return Math.ceil(Math.max(this.cache.size, this.reservedEnd) / PAGE_BYTES) * PAGE_BYTES;
  }
}

class DirectoryInode {
  cache = new Map<string, Inode>();
  durable = new Map<string, Inode>();
  pending: DirectoryChange[] = [];

  static apply(change: DirectoryChange, to: Map<string, Inode>): void {
    for (const [name, inode] of change) {
      if (inode === undefined) to.delete(name);
      else to.set(name, inode);
    }
  }

  change(change: DirectoryChange): void {
    DirectoryInode.apply(change, this.cache);
    this.pending.push(change);
  }

  settle(changes: readonly DirectoryChange[]): void {
    for (const change of changes) DirectoryInode.apply(change, this.durable);
    this.pending = this.pending.filter((change) => !changes.includes(change));
  }
}

type Inode = FileInode | DirectoryInode;

/** A write that another thread is about to do. */
interface FlyingWrite {
  readonly file: FileInode;
  readonly position: number;
  readonly data: Uint8Array;
}

interface DelayBounds {
  readonly min: number;
  readonly max: number;
}

export interface SimDiskOptions {
  /** Decides what a power cut takes, and how long a sync lasts. */
  readonly random: Random;
  /** With it, syncs complete after a delay of this clock; without, in a microtask. */
  readonly clock?: Clock;
  /** Bounds of a sync's duration. */
  readonly syncDelayMs?: DelayBounds;
  /** The same of what another thread does in memory: writes into the page cache, opening and renaming files. */
  readonly cachedDelayMs?: DelayBounds;
  readonly capacityBytes?: number;
}

export class SimDisk {
  readonly #options: SimDiskOptions;
  #root = new DirectoryInode();
  #life = 0;
  readonly #flying = new Set<FlyingWrite>();
  #locks = new Set<string>();
  capacityBytes: number;
  /** Called for each sync with the path: true makes it fail, and what it was to write never becomes durable. */
  failSync: (path: string) => boolean = () => false;
  /** Called before each operation that changes the disk or makes something durable; recorders hook in here. */
  onOperation: (operation: string, path: string) => void = () => {};

  constructor(options: SimDiskOptions) {
    this.#options = options;
    this.capacityBytes = options.capacityBytes ?? Number.MAX_SAFE_INTEGER;
  }

  /** The disk as one process sees it, until the next crash. */
  mount(): Disk {
    const life = this.#life;
    const guard = (): void => {
      if (life !== this.#life) throw new DiskError('io', '', 'the process that mounted this disk has crashed');
    };
    return new Mount(this, guard, () => life === this.#life);
  }

  /** The process ends. `power`: so does the machine; a legal part of what was not synced is lost or torn. */
  crash(options: { readonly power: boolean }): void {
    this.#life++;
    this.#locks.clear();
    this.#landFlying();
    if (options.power) this.#loseUnsynced(this.#root, new Set());
  }

  /** An independent disk with the same contents and the same unsynced changes, nothing mounted or locked. */
  clone(random: Random): SimDisk {
    const copies = new Map<Inode, Inode>();
    const copyOf = (inode: Inode): Inode => {
      const known = copies.get(inode);
      if (known !== undefined) return known;
      if (inode instanceof FileInode) {
        const file = new FileInode();
        copies.set(inode, file);
        file.cache = inode.cache.copy();
        file.durable = inode.durable.copy();
        file.pending = [...inode.pending];
        file.reservedEnd = inode.reservedEnd;
        return file;
      }
      const directory = new DirectoryInode();
      copies.set(inode, directory);
      const entries = (from: Map<string, Inode>) => new Map([...from].map(([name, child]) => [name, copyOf(child)]));
      directory.cache = entries(inode.cache);
      directory.durable = entries(inode.durable);
      directory.pending = inode.pending.map((change) =>
        change.map(([name, child]) => [name, child === undefined ? undefined : copyOf(child)] as const),
      );
      return directory;
    };
    const clone = new SimDisk({ random, capacityBytes: this.capacityBytes });
    clone.#root = copyOf(this.#root) as DirectoryInode;
    for (const { file, ...write } of this.#flying) clone.#flying.add({ file: copyOf(file) as FileInode, ...write });
    return clone;
  }

  /** Paths of all files as the page cache has them, sorted. */
  files(): string[] {
    const found: string[] = [];
    const walk = (directory: DirectoryInode, prefix: string): void => {
      for (const [name, inode] of directory.cache) {
        if (inode instanceof DirectoryInode) walk(inode, `${prefix}${name}/`);
        else found.push(prefix + name);
      }
    };
    walk(this.#root, '');
    return found.sort();
  }

  contents(path: string): Uint8Array {
    return this.file(path).cache.view().slice();
  }

  /** Bit rot: changes bytes behind everybody's back, durably. */
  damage(path: string, position: number, change: (byte: number) => number): void {
    const { cache, durable } = this.file(path);
    for (const bytes of [cache, durable]) {
      const view = bytes.view();
      if (position < view.length) view[position] = change(view[position]!) & 0xff;
    }
  }

  freeBytes(): number {
    if (this.capacityBytes === Number.MAX_SAFE_INTEGER) return this.capacityBytes;
    return Math.max(0, this.capacityBytes - this.usedBytes());
  }

  usedBytes(): number {
    let used = 0;
    const walk = (directory: DirectoryInode): void => {
      for (const inode of directory.cache.values()) {
        if (inode instanceof DirectoryInode) walk(inode);
        else used += inode.allocated;
      }
    };
    walk(this.#root);
    return used;
  }

  /** Resolves when the write is to be done; never, if the process dies first: then any part of it may have been. */
  async inFlight(write: FlyingWrite, alive: () => boolean): Promise<void> {
    this.#flying.add(write);
    await this.delay(alive, 'cached');
    this.#flying.delete(write);
  }

  /** Of each write that another thread was doing: nothing, the beginning, or all, in the page cache. */
  #landFlying(): void {
    const { random } = this.#options;
    for (const { file, position, data } of this.#flying) {
      const fate = random.next();
      const part = fate < 0.3 ? 0 : fate < 0.6 ? data.length : Math.floor(random.next() * data.length);
      const room = Math.max(0, file.allocated - position) + this.freeBytes();
      const landed = data.subarray(0, Math.min(part, room));
      if (landed.length > 0) file.change({ kind: 'write', position, data: landed });
    }
    this.#flying.clear();
  }

  /** Resolves when the simulated device, or another thread, has done its work; never, if the process dies first. */
  delay(alive: () => boolean, work: 'sync' | 'cached' = 'sync'): Promise<void> {
    const { clock, random } = this.#options;
    return new Promise((resolve) => {
      const done = (): void => {
        if (alive()) resolve();
      };
      if (clock === undefined) return queueMicrotask(done);
      const { syncDelayMs = { min: 0.2, max: 5 }, cachedDelayMs = { min: 0, max: 0.2 } } = this.#options;
      const { min, max } = work === 'sync' ? syncDelayMs : cachedDelayMs;
      clock.after(min + (max - min) * random.next(), done);
    });
  }

  takeLock(path: string): DiskLock {
    if (this.#locks.has(path)) throw new DiskError('locked', path, 'held');
    this.#locks.add(path);
    const life = this.#life;
    return {
      release: () => {
        if (life === this.#life) this.#locks.delete(path);
      },
    };
  }

  find(path: string): Inode | undefined {
    let inode: Inode | undefined = this.#root;
    for (const name of path.split('/')) {
      if (name === '') continue;
      if (!(inode instanceof DirectoryInode)) return undefined;
      inode = inode.cache.get(name);
    }
    return inode;
  }

  file(path: string): FileInode {
    const inode = this.find(path);
    if (!(inode instanceof FileInode)) throw new DiskError('not-found', path, 'no such file');
    return inode;
  }

  directory(path: string): DirectoryInode {
    const inode = this.find(path);
    if (!(inode instanceof DirectoryInode)) throw new DiskError('not-found', path, 'no such directory');
    return inode;
  }

  #loseUnsynced(inode: Inode, seen: Set<Inode>): void {
    if (seen.has(inode)) return;
    seen.add(inode);
    const random = this.#options.random;
    if (inode instanceof FileInode) {
      this.#loseWrites(inode);
      return;
    }
    inode.settle(inode.pending.filter(() => random.next() < 0.5));
    inode.pending = [];
    inode.cache = new Map(inode.durable);
    for (const child of inode.durable.values()) this.#loseUnsynced(child, seen);
  }

  /** Each change is kept, lost, lost but for the file's length, or torn at sectors; all or nothing of them now and then. */
  #loseWrites(file: FileInode): void {
    const random = this.#options.random;
    const mood = random.next();
    for (const change of file.pending) {
      const fate = mood < 0.15 ? 0 : mood < 0.3 ? 1 : random.next();
      if (fate < 0.4) file.apply(change, file.durable);
      else if (change.kind === 'truncate' || fate > 0.8) continue;
      else if (fate < 0.55) {
        const end = change.position + change.data.length;
        if (end > file.durable.size) file.durable.truncate(end);
      } else this.#tear(file, change.position, change.data);
    }
    file.pending = [];
    file.cache = file.durable.copy();
  }

  #tear(file: FileInode, position: number, data: Uint8Array): void {
    for (let from = 0; from < data.length; ) {
      const to = Math.min(data.length, from + SECTOR_BYTES - ((position + from) % SECTOR_BYTES));
      if (this.#options.random.next() < 0.5) file.durable.write(position + from, data.subarray(from, to));
      from = to;
    }
  }
}

class SimFile implements DiskFile {
  readonly path: string;
  readonly #disk: SimDisk;
  readonly #inode: FileInode;
  readonly #guard: () => void;
  readonly #alive: () => boolean;
  #open = true;

  constructor(disk: SimDisk, path: string, inode: FileInode, guard: () => void, alive: () => boolean) {
    this.path = path;
    this.#disk = disk;
    this.#inode = inode;
    this.#guard = guard;
    this.#alive = alive;
  }

  #check(): void {
    this.#guard();
    if (!this.#open) throw new DiskError('io', this.path, 'the file is closed');
  }

  /** On a full disk a part is written, as a real one does. */
  write(buffers: readonly Uint8Array[], position: number): void {
    this.#check();
    this.#disk.onOperation('write', this.path);
    this.#store(Buffer.concat(buffers), position);
  }

  #store(data: Uint8Array, position: number): void {
    const missing = this.#missing(position + data.length);
    if (missing > 0) {
      const fits = Math.max(0, data.length - missing);
      if (fits > 0) this.#inode.change({ kind: 'write', position, data: data.subarray(0, fits) });
      throw new DiskError('no-space', this.path, 'no space left on device');
    }
    if (data.length > 0) this.#inode.change({ kind: 'write', position, data });
  }

  read(buffer: Uint8Array, position: number): number {
    this.#check();
    const view = this.#inode.cache.view();
    const part = view.subarray(Math.min(position, view.length), Math.min(position + buffer.length, view.length));
    buffer.set(part);
    return part.length;
  }

  /** What lies at some places has left the memory. */
  readCached(buffer: Uint8Array, position: number): boolean {
    return Math.floor(position / PAGE_BYTES) % COLD_EVERY_PAGES !== 0 && this.read(buffer, position) === buffer.length;
  }

  async readAsync(buffer: Uint8Array, position: number): Promise<number> {
    this.#check();
    await this.#disk.delay(this.#alive);
    return this.read(buffer, position);
  }

  async writeAsync(buffers: readonly Uint8Array[], position: number): Promise<void> {
    this.#check();
    this.#disk.onOperation('write', this.path);
    const data = Buffer.concat(buffers);
    await this.#disk.inFlight({ file: this.#inode, position, data }, this.#alive);
    this.#store(data, position);
  }

  async reserve(position: number, length: number): Promise<boolean> {
    this.#check();
    await this.#disk.delay(this.#alive, 'cached');
    this.#makeRoom(position + length);
    this.#inode.reservedEnd = Math.max(this.#inode.reservedEnd, position + length);
    return true;
  }

  /** Returns the bytes that are missing, if the file system has no room for the file up to `end`. */
  #missing(end: number): number {
    const allocated = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
    return Math.max(0, allocated - this.#inode.allocated) - this.#disk.freeBytes();
  }

  #makeRoom(end: number): void {
    if (this.#missing(end) > 0) throw new DiskError('no-space', this.path, 'no space left on device');
  }

  async sync(): Promise<void> {
    this.#check();
    this.#disk.onOperation('sync', this.path);
    const changes = [...this.#inode.pending];
    await this.#disk.delay(this.#alive);
    if (this.#disk.failSync(this.path)) {
      // As Linux does: what could not be written is clean in the cache and never written again.
      this.#inode.pending = this.#inode.pending.filter((change) => !changes.includes(change));
      throw new DiskError('io', this.path, 'input/output error');
    }
    this.#inode.settle(changes);
  }

  async writeOut(): Promise<void> {
    this.#check();
    await this.#disk.delay(this.#alive);
  }

  truncate(size: number): void {
    this.#check();
    this.#disk.onOperation('truncate', this.path);
    this.#inode.reservedEnd = Math.min(this.#inode.reservedEnd, size);
    this.#inode.change({ kind: 'truncate', size });
  }

  async truncateAsync(size: number): Promise<void> {
    this.#check();
    await this.#disk.delay(this.#alive, 'cached');
    this.truncate(size);
  }

  size(): number {
    this.#check();
    return this.#inode.cache.size;
  }

  async close(): Promise<void> {
    this.#open = false;
  }
}

class Mount implements Disk {
  readonly #disk: SimDisk;
  readonly #guard: () => void;
  readonly #alive: () => boolean;

  constructor(disk: SimDisk, guard: () => void, alive: () => boolean) {
    this.#disk = disk;
    this.#guard = guard;
    this.#alive = alive;
  }

  #locate(path: string): { directory: DirectoryInode; name: string; inode: Inode | undefined } {
    this.#guard();
    const slash = path.lastIndexOf('/');
    const directory = this.#disk.directory(path.slice(0, Math.max(slash, 0)));
    const name = path.slice(slash + 1);
    return { directory, name, inode: directory.cache.get(name) };
  }

  open(path: string, options: { create: boolean }): DiskFile {
    const { directory, name, inode } = this.#locate(path);
    let file = inode;
    if (file === undefined && options.create) {
      this.#disk.onOperation('create', path);
      file = new FileInode();
      directory.change([[name, file]]);
    }
    if (!(file instanceof FileInode)) throw new DiskError('not-found', path, 'no such file');
    return new SimFile(this.#disk, path, file, this.#guard, this.#alive);
  }

  /** Resolves when the call that this stands for would have been made by another thread. */
  async #later(): Promise<void> {
    this.#guard();
    await this.#disk.delay(this.#alive, 'cached');
  }

  async openAsync(path: string, options: { create: boolean }): Promise<DiskFile> {
    await this.#later();
    return this.open(path, options);
  }

  async listAsync(directory: string): Promise<string[]> {
    await this.#later();
    return this.list(directory);
  }

  async makeDirectoryAsync(path: string): Promise<void> {
    await this.#later();
    this.makeDirectory(path);
  }

  async renameAsync(from: string, to: string): Promise<void> {
    await this.#later();
    this.rename(from, to);
  }

  async removeDirectoryAsync(path: string): Promise<void> {
    await this.#later();
    this.removeDirectory(path);
  }

  async spaceAsync(directory: string): Promise<DiskSpace> {
    await this.#later();
    return this.space(directory);
  }

  list(directory: string): string[] {
    this.#guard();
    return [...this.#disk.directory(directory).cache.keys()].sort();
  }

  makeDirectory(path: string): void {
    const { directory, name, inode } = this.#locate(path);
    if (inode !== undefined) throw new DiskError('exists', path, 'exists');
    this.#disk.onOperation('mkdir', path);
    directory.change([[name, new DirectoryInode()]]);
  }

  rename(from: string, to: string): void {
    const source = this.#locate(from);
    const target = this.#locate(to);
    if (source.inode === undefined) throw new DiskError('not-found', from, 'no such file');
    if (source.directory !== target.directory) throw new Error('renames between directories are not simulated');
    this.#disk.onOperation('rename', from);
    source.directory.change([
      [source.name, undefined],
      [target.name, source.inode],
    ]);
  }

  unlink(path: string): void {
    const { directory, name, inode } = this.#locate(path);
    if (!(inode instanceof FileInode)) throw new DiskError('not-found', path, 'no such file');
    this.#disk.onOperation('unlink', path);
    directory.change([[name, undefined]]);
  }

  async unlinkAsync(path: string): Promise<void> {
    await this.#later();
    this.unlink(path);
  }

  removeDirectory(path: string): void {
    const { directory, name, inode } = this.#locate(path);
    if (!(inode instanceof DirectoryInode)) throw new DiskError('not-found', path, 'no such directory');
    if (inode.cache.size > 0) throw new DiskError('exists', path, 'not empty');
    this.#disk.onOperation('rmdir', path);
    directory.change([[name, undefined]]);
  }

  async syncDirectory(path: string): Promise<void> {
    this.#guard();
    this.#disk.onOperation('syncdir', path);
    const directory = this.#disk.directory(path);
    const changes = [...directory.pending];
    await this.#disk.delay(this.#alive);
    if (this.#disk.failSync(path)) throw new DiskError('io', path, 'input/output error');
    directory.settle(changes);
  }

  space(directory: string): DiskSpace {
    this.#guard();
    this.#disk.directory(directory);
    const totalBytes = this.#disk.capacityBytes;
    return { fileSystem: 'sim', totalBytes, freeBytes: this.#disk.freeBytes() };
  }

  lock(path: string): DiskLock {
    this.#guard();
    return this.#disk.takeLock(path);
  }
}
