/** What the killed process writes, as a function of the sequence: so that nobody has to remember it. */

import type { Batch } from '../../core/record.js';
import { batchOf, content, data, seeded, type TestEntry } from '../unit/store/support.js';

export const KILL_BLOCKS = 400;
export const KILL_SETTINGS = {
  segmentBytes: 512 * 1024,
  checkpointBytes: 3 * 1024 * 1024,
  checkpointEntries: 1_500,
  reclaimBytes: 1024 * 1024,
  maxUnsyncedBytes: 1024 * 1024,
};

interface Planned {
  readonly block: number;
  /** 0: a TRIM. */
  readonly length: number;
}

/** One to three entries, the first of sequence `first`. */
function plan(first: number): Planned[] {
  const random = seeded(first);
  return Array.from({ length: 1 + Math.floor(random.next() * 3) }, () => ({
    block: Math.floor(random.next() * KILL_BLOCKS),
    length: random.next() < 0.15 ? 0 : 1 + Math.floor(random.next() * 4096),
  }));
}

export function batchAt(first: number): Batch {
  return batchOf(
    ...plan(first).map(({ block, length }, i): TestEntry => {
      return length === 0 ? { block, zero: 1 } : data(block, first + i, length);
    }),
  );
}

/** What the blocks hold when the stream ends with `last`: payloads, '' for zeroes. */
export function contentsAt(last: number): Map<number, string> {
  const blocks = new Map<number, string>();
  for (let first = 1; first <= last; ) {
    const entries = plan(first);
    for (const [i, { block, length }] of entries.entries()) {
      blocks.set(block, length === 0 ? '' : content(block, first + i, length).toString());
    }
    first += entries.length;
  }
  return blocks;
}
