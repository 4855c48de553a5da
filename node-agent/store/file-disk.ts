/** The real disk: a directory of the machine's file system, through node:fs. */

import { spawnSync } from 'node:child_process';
import {
  closeSync,
  fdatasync,
  fstatSync,
  fsync,
  ftruncateSync,
  mkdirSync,
  openSync,
  read,
  readdirSync,
  readSync,
  renameSync,
  rmdirSync,
  type Stats,
  statfsSync,
  statSync,
  unlink,
  unlinkSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import {
  type Disk,
  DiskError,
  type DiskErrorCode,
  type DiskFile,
  type DiskLock,
  type DiskSpace,
} from '../../core/ports.js';
import { IoLane } from './io-lane.js';
import { readCached, startWriteOut } from './page-cache.js';

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

class NodeFile implements DiskFile {
  readonly path: string;
  readonly #fd: number;
  readonly #lane: IoLane;
  /**
   * The kernel tells an open file of an error in writing back once, whoever asks first. So what is written out is
   * asked for through another one: `sync` has to hear of every error itself.
   */
  #writeOutFd: number | undefined;

  constructor(path: string, fd: number, lane: IoLane) {
    this.path = path;
    this.#fd = fd;
    this.#lane = lane;
  }

  write(buffers: readonly Uint8Array[], position: number): void {
    if (buffers.length > MAX_WRITE_PARTS) throw new RangeError(`${buffers.length} buffers in one write`);
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
      const count = await this.#lane.run<number>(this.path, (settle) => {
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
    return this.#lane.run(this.path, (settle) => fdatasync(this.#fd, settle));
  }

  async writeOut(position: number, length: number): Promise<void> {
    const fd = attempt(this.path, () => (this.#writeOutFd ??= openSync(`/proc/self/fd/${this.#fd}`, 'r')));
    return this.#lane.run(this.path, (settle) => {
      if (startWriteOut === undefined) fdatasync(fd, settle);
      else startWriteOut(fd, position, length, settle);
    });
  }

  truncate(size: number): void {
    attempt(this.path, () => ftruncateSync(this.#fd, size));
  }

  size(): number {
    return attempt(this.path, () => fstatSync(this.#fd).size);
  }

  close(): void {
    attempt(this.path, () => {
      if (this.#writeOutFd !== undefined) closeSync(this.#writeOutFd);
      closeSync(this.#fd);
    });
  }
}

class NodeDisk implements Disk {
  readonly #root: string;
  /** By the number of the file system: one that does not answer has no threads of the others. */
  readonly #lanes = new Map<number, IoLane>();

  constructor(root: string) {
    this.#root = root;
  }

  #lane({ dev }: Stats): IoLane {
    let lane = this.#lanes.get(dev);
    if (lane === undefined) {
      lane = new IoLane(diskError);
      this.#lanes.set(dev, lane);
    }
    return lane;
  }

  #file(path: string, fd: number): NodeFile {
    return new NodeFile(path, fd, this.#lane(fstatSync(fd)));
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

  list(directory: string): string[] {
    return attempt(directory, () => readdirSync(join(this.#root, directory)));
  }

  makeDirectory(path: string): void {
    attempt(path, () => mkdirSync(join(this.#root, path), { mode: 0o700 }));
  }

  rename(from: string, to: string): void {
    attempt(from, () => renameSync(join(this.#root, from), join(this.#root, to)));
  }

  unlink(path: string): void {
    attempt(path, () => unlinkSync(join(this.#root, path)));
  }

  async unlinkAsync(path: string): Promise<void> {
    const full = join(this.#root, path);
    const lane = this.#lane(attempt(path, () => statSync(dirname(full))));
    await lane.run(path, (settle) => unlink(full, settle));
  }

  removeDirectory(path: string): void {
    attempt(path, () => rmdirSync(join(this.#root, path)));
  }

  async syncDirectory(path: string): Promise<void> {
    const fd = attempt(path, () => openSync(join(this.#root, path), 'r'));
    try {
      await this.#lane(fstatSync(fd)).run(path, (settle) => fsync(fd, settle));
    } finally {
      closeSync(fd);
    }
  }

  space(directory: string): DiskSpace {
    return attempt(directory, () => {
      const full = join(this.#root, directory);
      const { blocks, bavail, bsize } = statfsSync(full);
      return { fileSystem: `${statSync(full).dev}`, totalBytes: blocks * bsize, freeBytes: bavail * bsize };
    });
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
