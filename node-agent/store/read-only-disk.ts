/** A disk that nothing changes: what a store would write, cut or remove while it opens stays as it is. */

import { type Disk, DiskError, type DiskFile } from '../../core/ports.js';

export class ReadOnlyDisk implements Disk {
  readonly #disk: Disk;
  /** Files that were made: they are in memory only. */
  readonly #made = new Map<string, Buffer>();
  readonly #gone = new Set<string>();

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  open(path: string, { create }: { create: boolean }): DiskFile {
    if (this.#made.has(path)) return this.#memoryFile(path);
    let file: DiskFile;
    try {
      if (this.#gone.has(path)) throw new DiskError('not-found', path, 'removed');
      file = this.#disk.open(path, { create: false });
    } catch (error) {
      if (!create || !(error instanceof DiskError && error.code === 'not-found')) throw error;
      this.#made.set(path, Buffer.alloc(0));
      return this.#memoryFile(path);
    }
    return {
      path,
      write: () => {},
      writeAsync: async () => {},
      read: (buffer, position) => file.read(buffer, position),
      readAsync: (buffer, position) => file.readAsync(buffer, position),
      readCached: (buffer, position) => file.readCached(buffer, position),
      sync: async () => {},
      writeOut: async () => {},
      reserve: async () => true,
      truncate: () => {},
      truncateAsync: async () => {},
      size: () => file.size(),
      close: () => file.close(),
    };
  }

  async openAsync(path: string, options: { create: boolean }): Promise<DiskFile> {
    return this.open(path, options);
  }

  #memoryFile(path: string): DiskFile {
    const read = (buffer: Uint8Array, position: number): number => {
      const part = this.#made.get(path)!.subarray(position, position + buffer.length);
      buffer.set(part);
      return part.length;
    };
    const write = (buffers: readonly Uint8Array[], position: number): void => {
      const data = Buffer.concat(buffers);
      const old = this.#made.get(path)!;
      const bytes = Buffer.alloc(Math.max(old.length, position + data.length));
      old.copy(bytes);
      data.copy(bytes, position);
      this.#made.set(path, bytes);
    };
    const truncate = (size: number): void => {
      this.#made.set(path, Buffer.from(this.#made.get(path)!.subarray(0, size)));
    };
    return {
      path,
      write,
      writeAsync: async (buffers, position) => write(buffers, position),
      read,
      readAsync: async (buffer, position) => read(buffer, position),
      readCached: (buffer, position) => read(buffer, position) === buffer.length,
      writeOut: async () => {},
      reserve: async () => true,
      sync: async () => {},
      truncate,
      truncateAsync: async (size) => truncate(size),
      size: () => this.#made.get(path)!.length,
      close: async () => {},
    };
  }

  list(directory: string): string[] {
    return this.#disk.list(directory);
  }

  listAsync(directory: string): Promise<string[]> {
    return this.#disk.listAsync(directory);
  }

  makeDirectory(): void {}

  async makeDirectoryAsync(): Promise<void> {}

  rename(): void {}

  async renameAsync(): Promise<void> {}

  /** For those who look through this disk. */
  unlink(path: string): void {
    this.#gone.add(path);
  }

  async unlinkAsync(): Promise<void> {}

  removeDirectory(): void {}

  async removeDirectoryAsync(): Promise<void> {}

  async syncDirectory(): Promise<void> {}

  space(directory: string): ReturnType<Disk['space']> {
    return this.#disk.space(directory);
  }

  spaceAsync(directory: string): ReturnType<Disk['spaceAsync']> {
    return this.#disk.spaceAsync(directory);
  }

  lock(path: string): ReturnType<Disk['lock']> {
    return this.#disk.lock(path);
  }
}
