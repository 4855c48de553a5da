/** The real disk: a directory of the machine's file system, through node:fs. */

import { spawnSync } from 'node:child_process';
import {
  close,
  closeSync,
  fdatasync,
  fstatSync,
  fsync,
  ftruncate,
  ftruncateSync,
  mkdir,
  mkdirSync,
  open,
  openSync,
  read,
  readdir,
  readdirSync,
  readSync,
  rename,
  renameSync,
  rmdir,
  rmdirSync,
  type Stats,
  type StatsFs,
  stat,
  statfs,
  statfsSync,
  statSync,
  unlink,
  unlinkSync,
  writeSync,
  writev,
  writevSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  type Disk,
  DiskError,
  type DiskErrorCode,
  type DiskFile,
  type DiskLock,
  type DiskSpace,
} from '../../core/ports.js';
import { type IoLane, IoLanes, type Settle } from './io-lane.js';
import { readCached, startWriteOut } from './page-cache.js';
import { preallocate } from './preallocate.js';

/** The kernel's own bound on the parts of one vectored write (IOV_MAX). */
const MAX_WRITE_PARTS = 1024;
/** Taking a lock is one system call of a helper process. */
const LOCK_TIMEOUT_MS = 5_000;

const CODES: Readonly<Record<string, DiskErrorCode>> = {
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  EFBIG: 'no-space',
  ENOENT: 'not-found',
  ENOTDIR: 'not-found',
  EEXIST: 'exists',
  ENOTEMPTY: 'exists',
};

function diskError(path: string, error: unknown): DiskError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new DiskError(CODES[code ?? ''] ?? 'io', path, message);
}

function attempt<T>(path: string, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    throw error instanceof DiskError ? error : diskError(path, error);
  }
}

/** A failed sync is no full disk, even if the kernel says so: what it could not write does not come back with the space. */
function final(settle: Settle<void>): Settle<void> {
  return (error) => settle(error === null ? null : Object.assign(error, { code: 'EIO' }));
}

/** What of the buffers lies behind their first `skip` bytes. */
function behind(buffers: readonly Uint8Array[], skip: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  for (const buffer of buffers) {
    if (skip < buffer.length) rest.push(skip > 0 ? buffer.subarray(skip) : buffer);
    skip = Math.max(0, skip - buffer.length);
  }
  return rest;
}

/** Those of an open file. */
interface FileLanes {
  readonly writes: IoLane;
  readonly others: IoLane;
}

/** The number of the file system there. One look per path at a time: it may hold a thread until the disk answers. */
function deviceOf(full: string): Promise<number> {
  return new Promise((resolve, reject) => {
    stat(full, (error, stats) => {
      if (error === null) resolve(stats.dev);
      else reject(error);
    });
  });
}

function checkParts(buffers: readonly Uint8Array[]): void {
  if (buffers.length > MAX_WRITE_PARTS) throw new RangeError(`${buffers.length} buffers in one write`);
}

class NodeFile implements DiskFile {
  readonly path: string;
  readonly #fd: number;
  readonly #lanes: FileLanes;
  /**
   * The kernel tells an open file of an error in writing back once, whoever asks first. So what is written out is
   * asked for through another one: `sync` has to hear of every error itself.
   */
  #writeOutFd: number | undefined;

  constructor(path: string, fd: number, lanes: FileLanes) {
    this.path = path;
    this.#fd = fd;
    this.#lanes = lanes;
  }

  /** The kernel may write less than asked for, on a disk that fills up for one; the next call then says why. */
  async writeAsync(buffers: readonly Uint8Array[], position: number): Promise<void> {
    checkParts(buffers);
    let rest: readonly Uint8Array[] = buffers;
    for (let at = position; rest.length > 0; ) {
      const count = await this.#lanes.writes.run<number>(this.path, (settle) => {
        writev(this.#fd, rest, at, settle);
      });
      rest = behind(rest, count);
      if (count === 0 && rest.length > 0) throw new DiskError('io', this.path, 'the disk takes no more bytes');
      at += count;
    }
  }

  write(buffers: readonly Uint8Array[], position: number): void {
    checkParts(buffers);
    attempt(this.path, () => {
      let total = 0;
      for (const buffer of buffers) total += buffer.length;
      const written =
        buffers.length === 1
          ? writeSync(this.#fd, buffers[0]!, 0, total, position)
          : writevSync(this.#fd, buffers as Uint8Array[], position);
      if (written < total) this.#writeRest(buffers, position, written);
    });
  }

  /** The kernel may write less than asked for, on a disk that fills up for one; the next call then says why. */
  #writeRest(buffers: readonly Uint8Array[], position: number, written: number): void {
    let skip = written;
    let at = position + written;
    for (const buffer of buffers) {
      if (skip >= buffer.length) {
        skip -= buffer.length;
        continue;
      }
      for (let from = skip; from < buffer.length; ) {
        const count = writeSync(this.#fd, buffer, from, buffer.length - from, at);
        if (count === 0) throw new DiskError('io', this.path, 'the disk takes no more bytes');
        from += count;
        at += count;
      }
      skip = 0;
    }
  }

  read(buffer: Uint8Array, position: number): number {
    return attempt(this.path, () => {
      let done = 0;
      while (done < buffer.length) {
        const count = readSync(this.#fd, buffer, done, buffer.length - done, position + done);
        if (count === 0) break;
        done += count;
      }
      return done;
    });
  }

  async readAsync(buffer: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < buffer.length) {
      const count = await this.#lanes.others.run<number>(this.path, (settle) => {
        read(this.#fd, buffer, done, buffer.length - done, position + done, settle);
      });
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  readCached(buffer: Uint8Array, position: number): boolean {
    return readCached(this.#fd, buffer, position);
  }

  sync(): Promise<void> {
    return this.#lanes.others.run(this.path, (settle) => fdatasync(this.#fd, final(settle)));
  }

  async writeOut(position: number, length: number, drop: boolean): Promise<void> {
    const fd = attempt(this.path, () => (this.#writeOutFd ??= openSync(`/proc/self/fd/${this.#fd}`, 'r')));
    return this.#lanes.others.run(this.path, (settle) => {
      if (startWriteOut === undefined) fdatasync(fd, final(settle));
      else startWriteOut(fd, position, length, drop, settle);
    });
  }

  reserve(position: number, length: number): Promise<boolean> {
    return this.#lanes.others.run(this.path, (settle) => preallocate(this.#fd, position, length, settle));
  }

  truncate(size: number): void {
    attempt(this.path, () => ftruncateSync(this.#fd, size));
  }

  truncateAsync(size: number): Promise<void> {
    return this.#lanes.others.run(this.path, (settle) => ftruncate(this.#fd, size, settle));
  }

  /** In the inode, which an open file keeps in memory. */
  size(): number {
    return attempt(this.path, () => fstatSync(this.#fd).size);
  }

  /** The last one to close a file may free its blocks, and wait for the journal. */
  async close(): Promise<void> {
    const fds = this.#writeOutFd === undefined ? [this.#fd] : [this.#fd, this.#writeOutFd];
    this.#writeOutFd = undefined;
    // What was to be durable has been synced: an error of close tells nothing more.
    await Promise.allSettled(fds.map((fd) => this.#lanes.others.run(this.path, (settle) => close(fd, settle))));
  }
}

class NodeDisk implements Disk {
  readonly #root: string;
  readonly #lanes = new IoLanes(diskError);
  /** File systems of the directories up to `data/<name>`: nothing is mounted below. */
  readonly #devices = new Map<string, Promise<number>>();

  constructor(root: string) {
    this.#root = root;
  }

  #file(path: string, fd: number): NodeFile {
    const { dev } = fstatSync(fd);
    return new NodeFile(path, fd, { writes: this.#lanes.writes(dev), others: this.#lanes.others(dev) });
  }

  /** Runs what concerns an entry of a directory. */
  #runIn<T = void>(path: string, operation: (full: string, settle: Settle<T>) => void): Promise<T> {
    return this.#run(path.slice(0, Math.max(0, path.lastIndexOf('/'))), operation, path);
  }

  /** Runs what concerns the directory, or `path` in it, bounded by its file system's share of threads. */
  async #run<T = void>(
    directory: string,
    operation: (full: string, settle: Settle<T>) => void,
    path = directory,
  ): Promise<T> {
    const place = directory.split('/', 2).join('/');
    let device = this.#devices.get(place);
    if (device === undefined) {
      device = deviceOf(join(this.#root, place));
      this.#devices.set(place, device);
    }
    let lane: IoLane;
    try {
      lane = this.#lanes.others(await device);
    } catch (error) {
      this.#devices.delete(place);
      throw diskError(path, error);
    }
    return lane.run<T>(path, (settle) => operation(join(this.#root, path), settle));
  }

  open(path: string, options: { create: boolean }): DiskFile {
    const full = join(this.#root, path);
    return attempt(path, () => {
      try {
        return this.#file(path, openSync(full, 'r+'));
      } catch (error) {
        if (!options.create || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        return this.#file(path, openSync(full, 'wx+', 0o600));
      }
    });
  }

  async openAsync(path: string, options: { create: boolean }): Promise<DiskFile> {
    try {
      return this.#file(path, await this.#runIn<number>(path, (full, settle) => open(full, 'r+', settle)));
    } catch (error) {
      if (!options.create || !(error instanceof DiskError && error.code === 'not-found')) throw error;
      return this.#file(path, await this.#runIn<number>(path, (full, settle) => open(full, 'wx+', 0o600, settle)));
    }
  }

  list(directory: string): string[] {
    return attempt(directory, () => readdirSync(join(this.#root, directory)));
  }

  listAsync(directory: string): Promise<string[]> {
    return this.#run(directory, (full, settle) => readdir(full, settle));
  }

  makeDirectory(path: string): void {
    attempt(path, () => mkdirSync(join(this.#root, path), { mode: 0o700 }));
  }

  makeDirectoryAsync(path: string): Promise<void> {
    return this.#runIn(path, (full, settle) => mkdir(full, { mode: 0o700 }, settle));
  }

  rename(from: string, to: string): void {
    attempt(from, () => renameSync(join(this.#root, from), join(this.#root, to)));
  }

  renameAsync(from: string, to: string): Promise<void> {
    return this.#runIn(from, (full, settle) => rename(full, join(this.#root, to), settle));
  }

  unlink(path: string): void {
    attempt(path, () => unlinkSync(join(this.#root, path)));
  }

  unlinkAsync(path: string): Promise<void> {
    return this.#runIn(path, (full, settle) => unlink(full, settle));
  }

  removeDirectory(path: string): void {
    attempt(path, () => rmdirSync(join(this.#root, path)));
  }

  removeDirectoryAsync(path: string): Promise<void> {
    return this.#runIn(path, (full, settle) => rmdir(full, settle));
  }

  async syncDirectory(path: string): Promise<void> {
    const fd = await this.#run<number>(path, (full, settle) => open(full, 'r', settle));
    try {
      await this.#run(path, (_full, settle) => fsync(fd, final(settle)));
    } finally {
      await this.#run(path, (_full, settle) => close(fd, settle));
    }
  }

  space(directory: string): DiskSpace {
    return attempt(directory, () => {
      const full = join(this.#root, directory);
      const { blocks, bavail, bsize } = statfsSync(full);
      return { fileSystem: `${statSync(full).dev}`, totalBytes: blocks * bsize, freeBytes: bavail * bsize };
    });
  }

  async spaceAsync(directory: string): Promise<DiskSpace> {
    const { dev } = await this.#run<Stats>(directory, (full, settle) => stat(full, settle));
    const { blocks, bavail, bsize } = await this.#run<StatsFs>(directory, (full, settle) => statfs(full, settle));
    return { fileSystem: `${dev}`, totalBytes: blocks * bsize, freeBytes: bavail * bsize };
  }

  /**
   * flock(2), which the kernel takes back when this process ends however it ends, and which holds across
   * containers that share the directory. Node has no call for it, but a lock belongs to the open file
   * description: util-linux's flock, given ours as a descriptor, locks it and leaves; the lock stays.
   */
  lock(path: string): DiskLock {
    const fd = attempt(path, () => openSync(join(this.#root, path), 'a', 0o600));
    const { status, error } = spawnSync('flock', ['--exclusive', '--nonblock', '3'], {
      stdio: ['ignore', 'ignore', 'ignore', fd],
      timeout: LOCK_TIMEOUT_MS,
    });
    if (status === 0) return { release: () => closeSync(fd) };
    closeSync(fd);
    if (error !== undefined) {
      throw new DiskError('io', path, `cannot lock: ${error.message}; the flock command (util-linux) is needed`);
    }
    throw new DiskError('locked', path, 'another process is using this data directory');
  }
}

/** The directory tree below `root`, which must exist. */
export function openFileDisk(root: string): Disk {
  return new NodeDisk(root);
}
