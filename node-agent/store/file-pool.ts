/** Open files of segments, at most so many of them: a node may have more segments than descriptors. */

import type { Disk, DiskFile } from '../../core/ports.js';

export class PooledFile {
  readonly file: DiskFile;
  users = 0;
  /** No longer in the pool: the last user closes it. */
  forgotten = false;

  constructor(file: DiskFile) {
    this.file = file;
  }
}

export class FilePool {
  readonly #disk: Disk;
  readonly #limit: number;
  /** In order of last use, the oldest first. */
  readonly #files = new Map<string, PooledFile>();
  readonly #closing = new Set<Promise<void>>();

  /** `limit`: files kept open. Those in use are never closed, so there may be more for a while. */
  constructor(disk: Disk, limit: number) {
    this.#disk = disk;
    this.#limit = limit;
  }

  /** Opens the file, or takes it as it is open; every use ends with `release`. */
  acquire(path: string, options: { create: boolean } = { create: false }): PooledFile {
    let pooled = this.#files.get(path);
    if (pooled === undefined) {
      pooled = new PooledFile(this.#disk.open(path, options));
      this.#shrink();
      this.#files.set(path, pooled);
    } else if (pooled.users === 0) {
      this.#files.delete(path);
      this.#files.set(path, pooled);
    }
    pooled.users++;
    return pooled;
  }

  /** Like `acquire`, without holding up the caller while the file is opened. */
  async acquireAsync(path: string, options: { create: boolean } = { create: false }): Promise<PooledFile> {
    if (!this.#files.has(path)) {
      while (this.#closing.size >= this.#limit) await Promise.race(this.#closing);
      const file = await this.#disk.openAsync(path, options);
      if (this.#files.has(path)) await file.close();
      else {
        this.#shrink();
        this.#files.set(path, new PooledFile(file));
      }
    }
    return this.acquire(path);
  }

  release(pooled: PooledFile): void {
    pooled.users--;
    if (pooled.users === 0 && pooled.forgotten) this.#close(pooled);
  }

  /** The file is closed when its last user is done with it, and opened anew for the next. */
  forget(path: string): void {
    const pooled = this.#files.get(path);
    if (pooled === undefined) return;
    this.#files.delete(path);
    pooled.forgotten = true;
    if (pooled.users === 0) this.#close(pooled);
  }

  #close({ file }: PooledFile): void {
    const closed = file.close().finally(() => this.#closing.delete(closed));
    this.#closing.add(closed);
  }

  #shrink(): void {
    for (const [path, { users }] of this.#files) {
      if (this.#files.size <= this.#limit) return;
      if (users === 0) this.forget(path);
    }
  }

  /** Resolves when all files are closed that nobody uses. */
  async close(): Promise<void> {
    for (const path of [...this.#files.keys()]) this.forget(path);
    await Promise.all(this.#closing);
  }
}
