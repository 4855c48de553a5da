import { constants } from 'node:fs';
import { open, readlink } from 'node:fs/promises';
import { basename } from 'node:path';
import { listMounts, type Mount } from './mounts.js';

/** Mounts of this mount namespace that are on the device. */
export async function mountsOf(device: string): Promise<Mount[]> {
  return (await listMounts()).filter((mount) => mount.source === device);
}

/** Whether anybody holds the device exclusively, in any mount namespace: a filesystem, device mapper, swap. */
export async function isHeld(device: string): Promise<boolean> {
  try {
    const handle = await open(device, constants.O_RDONLY | constants.O_EXCL | constants.O_NONBLOCK);
    await handle.close();
    return false;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EBUSY';
  }
}

/** Where the symbolic link points; undefined if there is none. */
export async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch {
    return undefined;
  }
}

/** `loop3` of `/dev/loop3`. */
export const kernelName = (device: string): string => basename(device);
