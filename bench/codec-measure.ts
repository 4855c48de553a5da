/** How the codec's benchmarks measure: processor time, in rounds in which both sides take turns. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../node-agent/package-root.js';
import { DATA_BYTES } from './codec-data.js';

const MB = 1e6;

export const quick = process.argv.includes('--quick');
export const ROUNDS = quick ? 3 : 5;
export const ROUND_MS = quick ? 40 : 100;

/** For what is compiled and written on the way. */
export const work = join(packageRoot(), 'build', 'bench');
mkdirSync(work, { recursive: true });

/** Milliseconds of processor that this process has had: on a shared machine the clock on the wall measures the others. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** MB/s of `turn`, which goes over all the data once. */
export function speedOf(turn: () => void): number {
  const start = processorMs();
  let end = start;
  let turns = 0;
  do {
    turn();
    turns++;
    end = processorMs();
  } while (end - start < ROUND_MS);
  return (turns * DATA_BYTES) / MB / ((end - start) / 1000);
}

export const mb = (speed: number): string => speed.toFixed(0).padStart(6);
