import { readdir } from 'node:fs/promises';
import { isUuid, type VolumeId } from '../core/types.js';

/** Volumes of which the directory has a file `<volume id><suffix>`; none if there is no directory. Errors: those of the file system. */
export async function volumesWithFile(directory: string, suffix: string): Promise<VolumeId[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names
    .filter((name) => name.endsWith(suffix))
    .map((name) => name.slice(0, -suffix.length))
    .filter(isUuid) as VolumeId[];
}
