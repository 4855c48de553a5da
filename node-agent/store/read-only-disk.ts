/** A disk that nothing changes: what a store would write, cut or remove while it opens stays as it is. */

import type { Disk, DiskFile } from '../../core/ports.js';

export class ReadOnlyDisk implements Disk {
  readonly #disk: Disk;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  open(path: string): DiskFile {
    const file = this.#disk.open(path, { create: false });
    return {
      path,
      write: () => {},
      read: (buffer, position) => file.read(buffer, position),
      readAsync: (buffer, position) => file.readAsync(buffer, position),
      readCached: (buffer, position) => file.readCached(buffer, position),
      sync: async () => {},
      writeOut: async () => {},
      truncate: () => {},
      size: () => file.size(),
      close: () => file.close(),
    };
  }

  list(directory: string): string[] {
    return this.#disk.list(directory);
  }

  makeDirectory(): void {}

  rename(): void {}

  unlink(): void {}

  async unlinkAsync(): Promise<void> {}

  removeDirectory(): void {}

  async syncDirectory(): Promise<void> {}

  space(directory: string): ReturnType<Disk['space']> {
    return this.#disk.space(directory);
  }

  lock(path: string): ReturnType<Disk['lock']> {
    return this.#disk.lock(path);
  }
}
