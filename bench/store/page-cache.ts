/**
 * What the machine's memory and disk give at best, for whoever writes 128 KiB at a time: pages of the page cache that
 * are new, pages that are there already, and the disk itself. A log writes new pages, a file that is overwritten in
 * place does not. Where a virtual machine gives free memory back to its host, new pages are ten times as expensive
 * (docs/internals/performance.md): then this decides how fast a log can be written, and the ratios to an image that
 * is overwritten in place are worth little.
 */

import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { BLOCK_BYTES, inDirectory, MIB, type StorePart, seconds } from './support.js';

const WRITE_BYTES = 32 * BLOCK_BYTES;
const FILE_BYTES = 256 * MIB;
const QUICK_FILE_BYTES = 64 * MIB;

export interface PageCacheLimits {
  readonly newPagesMibPerSecond: number;
  readonly overwrittenMibPerSecond: number;
  /** Written and synced. */
  readonly diskMibPerSecond: number;
}

export function measurePageCache({ place, quick }: StorePart): Promise<PageCacheLimits> {
  return inDirectory(place, async (directory) => {
    const bytes = quick ? QUICK_FILE_BYTES : FILE_BYTES;
    const buffer = Buffer.alloc(WRITE_BYTES, 1);
    const file = openSync(join(directory, 'pages'), 'w+');
    const pass = (sync: boolean): number => {
      const since = performance.now();
      for (let at = 0; at < bytes; at += WRITE_BYTES) writeSync(file, buffer, 0, WRITE_BYTES, at);
      if (sync) fdatasyncSync(file);
      return bytes / MIB / seconds(since);
    };
    const newPagesMibPerSecond = pass(false);
    const overwrittenMibPerSecond = pass(false);
    fdatasyncSync(file);
    const diskMibPerSecond = pass(true);
    closeSync(file);
    return { newPagesMibPerSecond, overwrittenMibPerSecond, diskMibPerSecond };
  });
}
