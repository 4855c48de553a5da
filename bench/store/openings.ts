/** How long a node with many deployments takes to open them all, and how many files it has open then. */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openFileDisk } from '../../node-agent/store/file-disk.js';
import { deploymentOf, inDirectory, MIB, openStores, type StorePart, seconds } from './support.js';

const PROGRAM = fileURLToPath(new URL('./deployments-writer.js', import.meta.url));
/** The most that StorageOS attaches to a node. */
const DEPLOYMENTS = 250;
const QUICK_DEPLOYMENTS = 50;
const LOG_BYTES = 4 * MIB;

export interface Opening {
  readonly deployments: number;
  /** How the process before had ended. */
  readonly after: 'kill' | 'close';
  /** All superblocks are read. */
  readonly listSeconds: number;
  /** All deployments are open, too. */
  readonly openSeconds: number;
  /** When the first one and half of them were. */
  readonly firstSeconds: number;
  readonly halfSeconds: number;
  /** File descriptors of the process beyond those that it had before. */
  readonly files: number;
  readonly residentMib: number;
}

export function measureOpenings({ place, quick }: StorePart): Promise<Opening[]> {
  return inDirectory(place, async (directory) => {
    const count = quick ? QUICK_DEPLOYMENTS : DEPLOYMENTS;
    const writer = fork(PROGRAM, [directory, String(count), String(LOG_BYTES)]);
    const ended = once(writer, 'exit');
    const outcome = await Promise.race([once(writer, 'message').then(() => 'ready'), ended]);
    if (outcome !== 'ready') throw new Error('the writer of the deployments has ended');
    writer.kill('SIGKILL');
    await ended;
    return [await opening(directory, count, 'kill'), await opening(directory, count, 'close')];
  });
}

const openFiles = (): number => readdirSync('/proc/self/fd').length;

async function opening(directory: string, count: number, after: Opening['after']): Promise<Opening> {
  const filesBefore = openFiles();
  const since = performance.now();
  const stores = await openStores(openFileDisk(directory));
  const listSeconds = seconds(since);
  const opened = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      await stores.open(deploymentOf(i));
      return seconds(since);
    }),
  );
  opened.sort((a, b) => a - b);
  const row = {
    deployments: count,
    after,
    listSeconds,
    openSeconds: opened.at(-1)!,
    firstSeconds: opened[0]!,
    halfSeconds: opened[count >> 1]!,
    files: openFiles() - filesBefore,
    residentMib: process.memoryUsage.rss() / MIB,
  };
  await stores.close();
  return row;
}
