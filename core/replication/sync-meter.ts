/** How fast a sync has been going lately, and how long it takes if it goes on like that. */

import type { SyncProgress } from '../messages.js';

/** The rate is that of about this time, ms; sampled so often. */
const WINDOW_MS = 5_000;
const SAMPLE_MS = 500;

interface Sample {
  readonly atMs: number;
  readonly blocks: number;
  readonly bytes: number;
}

export class SyncMeter {
  #samples: Sample[] = [];

  /** Blocks done and bytes copied so far; returns how much of each came in a second lately. */
  measure(atMs: number, blocks: number, bytes: number): Pick<SyncProgress, 'blocksPerSecond' | 'bytesPerSecond'> {
    const newest = this.#samples[this.#samples.length - 1];
    if (newest === undefined || atMs - newest.atMs >= SAMPLE_MS) this.#samples.push({ atMs, blocks, bytes });
    // One that is older than the window stays, as its beginning.
    while (this.#samples.length > 1 && this.#samples[1]!.atMs <= atMs - WINDOW_MS) this.#samples.shift();
    const since = this.#samples[0]!;
    const seconds = (atMs - since.atMs) / 1_000;
    if (seconds === 0) return { blocksPerSecond: 0, bytesPerSecond: 0 };
    return {
      blocksPerSecond: Math.max(0, (blocks - since.blocks) / seconds),
      bytesPerSecond: Math.max(0, (bytes - since.bytes) / seconds),
    };
  }
}

/** Of the blocks that are to be copied, how many per cent are done, in whole numbers; undefined until they are counted. */
export function percentDone({
  blocksTotal,
  blocksDone,
}: Pick<SyncProgress, 'blocksTotal' | 'blocksDone'>): number | undefined {
  return blocksTotal === 0 ? undefined : Math.min(100, Math.floor((blocksDone / blocksTotal) * 100));
}

/** Seconds until all blocks are copied; undefined while nothing is, or until they are counted. */
export function secondsLeft(
  progress: Pick<SyncProgress, 'blocksTotal' | 'blocksDone' | 'blocksPerSecond'>,
): number | undefined {
  if (progress.blocksTotal === 0) return undefined;
  const remaining = Math.max(0, progress.blocksTotal - progress.blocksDone);
  if (remaining === 0) return 0;
  return progress.blocksPerSecond > 0 ? Math.ceil(remaining / progress.blocksPerSecond) : undefined;
}
