/** A real file system of a few hundred MiB in a file of its own, mounted: a disk that can be full. Needs root. */

import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, statfsSync } from 'node:fs';

export type SmallDiskType = 'ext4' | 'xfs';

const MAKE: Readonly<Record<SmallDiskType, readonly string[]>> = {
  // Nothing is kept for root, or the last bytes would be root's only.
  ext4: ['mkfs.ext4', '-q', '-F', '-m', '0'],
  xfs: ['mkfs.xfs', '-q', '-f'],
};

function command(program: string, ...args: string[]): void {
  const { status, error, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
}

export class SmallDisk {
  readonly mountPoint: string;
  readonly #image: string;

  /** At least 300 MiB for xfs. The mount point is made; the image is beside it. */
  constructor(mountPoint: string, type: SmallDiskType, sizeBytes: number) {
    this.mountPoint = mountPoint;
    this.#image = `${mountPoint}.${type}`;
    mkdirSync(mountPoint, { recursive: true });
    const file = openSync(this.#image, 'w');
    ftruncateSync(file, sizeBytes);
    closeSync(file);
    const [program, ...args] = MAKE[type];
    try {
      command(program!, ...args, this.#image);
      command('mount', '-o', 'loop', this.#image, mountPoint);
    } catch (error) {
      rmSync(this.#image, { force: true });
      throw error;
    }
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.mountPoint);
    return bavail * bsize;
  }

  /** Again: nothing. */
  release(): void {
    spawnSync('umount', ['--lazy', this.mountPoint]);
    rmSync(this.#image, { force: true });
  }
}
