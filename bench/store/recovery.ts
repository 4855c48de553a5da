/**
 * How long a deployment takes to open after its process was killed, by the length of the log behind the last
 * checkpoint; the volume is one of 1 TiB that is thin, with its data all over it. The limit beside it is reading the
 * same files, as they lie in the page cache.
 */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openFileDisk } from '../../node-agent/store/file-disk.js';
import { BLOCK_BYTES, DEPLOYMENT, GIB, inDirectory, MIB, openStores, type StorePart, seconds } from './support.js';

const PROGRAM = fileURLToPath(new URL('./log-writer.js', import.meta.url));
const VOLUME_BYTES = 1024 * GIB;
const LOGS = [1, 2, 4].map((gib) => gib * GIB);
const QUICK_LOGS = [256 * MIB];
/** design/performance.md: seconds, and seconds for each GiB. */
const GOAL_S = 2;
const GOAL_S_PER_GIB = 1;

export interface Recovery {
  readonly logMib: number;
  readonly openSeconds: number;
  readonly goalSeconds: number;
  readonly mibPerSecond: number;
  /** Reading the same bytes. */
  readonly fileMibPerSecond: number;
  readonly ratio: number;
}

export async function measureRecovery({ place, quick }: StorePart): Promise<Recovery[]> {
  const rows: Recovery[] = [];
  for (const bytes of quick ? QUICK_LOGS : LOGS) {
    rows.push(await inDirectory(place, (directory) => recovery(directory, bytes)));
  }
  return rows;
}

async function recovery(directory: string, bytes: number): Promise<Recovery> {
  const writer = fork(PROGRAM, [directory, String(bytes), String(VOLUME_BYTES / BLOCK_BYTES)]);
  const ended = once(writer, 'exit');
  const outcome = await Promise.race([once(writer, 'message').then(() => 'ready'), ended]);
  if (outcome !== 'ready') throw new Error('the writer of the log has ended');
  writer.kill('SIGKILL');
  await ended;
  const since = performance.now();
  const stores = await openStores(openFileDisk(directory));
  await stores.open(DEPLOYMENT);
  const openSeconds = seconds(since);
  const readFrom = performance.now();
  const read = readAll(join(directory, 'data', 'dev1'));
  const fileMibPerSecond = read / MIB / seconds(readFrom);
  await stores.close();
  const mibPerSecond = bytes / MIB / openSeconds;
  return {
    logMib: bytes / MIB,
    openSeconds,
    goalSeconds: GOAL_S + (GOAL_S_PER_GIB * bytes) / GIB,
    mibPerSecond,
    fileMibPerSecond,
    ratio: mibPerSecond / fileMibPerSecond,
  };
}

/** Returns how many bytes there were. */
function readAll(directory: string): number {
  const piece = Buffer.alloc(MIB);
  let total = 0;
  for (const name of readdirSync(directory)) {
    const file = openSync(join(directory, name), 'r');
    for (let count = 1; count > 0; total += count) count = readSync(file, piece);
    closeSync(file);
  }
  return total;
}
