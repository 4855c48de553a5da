import { type Batch, entryCount, KIND_DATA, KIND_ZERO, readEntry } from '../record.js';

export interface BlockRange {
  /** The first block. */
  readonly first: number;
  /** The one behind the last block. */
  readonly end: number;
}

/** The smallest range that contains every block of the batch. */
export function rangeOf(batch: Batch): BlockRange {
  let first = Number.MAX_SAFE_INTEGER;
  let end = 0;
  const count = entryCount(batch);
  for (let i = 0; i < count; i++) {
    const entry = readEntry(batch.entries, i);
    if (entry.block < first) first = entry.block;
    if (entry.block + entry.blocks > end) end = entry.block + entry.blocks;
  }
  return { first, end };
}

/**
 * Whether the batch holds the blocks from `first` on, each once, in order, and nothing else, with a payload
 * as long as its entries say: what a primary has to answer to a read.
 */
export function coversExactly(batch: Batch, first: number, blocks: number): boolean {
  let next = first;
  let stored = 0;
  const count = entryCount(batch);
  if (!Number.isInteger(count)) return false;
  for (let i = 0; i < count; i++) {
    const entry = readEntry(batch.entries, i);
    if (entry.block !== next || entry.blocks < 1) return false;
    if (entry.kind === KIND_DATA ? entry.blocks !== 1 : entry.kind !== KIND_ZERO || entry.storedLength !== 0) {
      return false;
    }
    next += entry.blocks;
    stored += entry.storedLength;
  }
  return next === first + blocks && stored === batch.payload.length;
}
