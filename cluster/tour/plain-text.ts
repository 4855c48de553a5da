/** Looks for a text in files and devices. */

import { closeSync, lstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

const CHUNK_BYTES = 4 << 20;

/** Whether the bytes of the file (or block device) hold `needle` anywhere. */
export function fileHolds(path: string, needle: Buffer): boolean {
  const file = openSync(path, 'r');
  try {
    const overlap = needle.length - 1;
    const buffer = Buffer.alloc(overlap + CHUNK_BYTES);
    let kept = 0;
    for (let position = 0; ; ) {
      const count = readSync(file, buffer, kept, CHUNK_BYTES, position);
      if (count === 0) return false;
      position += count;
      const filled = buffer.subarray(0, kept + count);
      if (filled.includes(needle)) return true;
      kept = Math.min(overlap, filled.length);
      filled.copy(buffer, 0, filled.length - kept);
    }
  } finally {
    closeSync(file);
  }
}

export interface Search {
  readonly files: number;
  readonly found: readonly string[];
}

/** Every regular file at or below a directory, on the same filesystem: what is mounted below it is on no disk of its own. */
export function searchTree(directory: string, needle: Buffer): Search {
  const { dev } = statSync(directory);
  const search = { files: 0, found: [] as string[] };
  const visit = (folder: string): void => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      const status = lstatSync(path, { throwIfNoEntry: false });
      // A file may go while the node runs; one that matters would be there at the next look.
      if (status === undefined || status.dev !== dev) continue;
      if (status.isDirectory()) visit(path);
      if (!status.isFile()) continue;
      search.files++;
      if (fileHolds(path, needle)) search.found.push(path);
    }
  };
  visit(directory);
  return search;
}
