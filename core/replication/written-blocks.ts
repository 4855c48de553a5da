/** Which of the blocks that are to be zeroes have ever been written: trimming the others changes nothing. */

import type { DeploymentStore } from '../ports.js';
import { type Batch, entryCount, MAX_BATCH_ENTRIES, readEntry, zeroEntry } from '../record.js';
import type { BlockNumber, Sequence } from '../types.js';
import { makeBatch } from './batches.js';

/** Blocks that the index is asked for at a time. */
const MAX_LOOKED_UP = 1024;

/** What of the zeroes is of blocks that the index knows; the same batch if that is in too many pieces, undefined if nothing is. */
export async function writtenOf(store: DeploymentStore, zeroes: Batch): Promise<Batch | undefined> {
  const runs: { first: number; end: number }[] = [];
  for (let i = 0; i < entryCount(zeroes); i++) {
    const { block, blocks } = readEntry(zeroes.entries, i);
    const end = block + blocks;
    for (let from = block; from < end; ) {
      const limit = Math.min(MAX_LOOKED_UP, end - from);
      const written = await store.newerThan(0 as Sequence, from as BlockNumber, limit);
      for (const number of written) {
        if (number >= end) break;
        const run = runs.at(-1);
        if (run?.end === number) run.end++;
        else runs.push({ first: number, end: number + 1 });
      }
      from = written.length < limit ? end : written.at(-1)! + 1;
    }
  }
  if (runs.length > MAX_BATCH_ENTRIES) return zeroes;
  if (runs.length === 0) return undefined;
  return makeBatch(
    runs.map(({ first, end }) => ({ entry: zeroEntry(first, end - first), payload: zeroes.payload.subarray(0, 0) })),
  );
}
