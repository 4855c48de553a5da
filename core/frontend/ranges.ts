import { type Batch, blockAt, ENTRY_BYTES, entryCount, KIND_DATA, KIND_ZERO, tableView } from '../record.js';

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
  const table = tableView(batch);
  for (let at = 0; at < table.byteLength; at += ENTRY_BYTES) {
    const block = blockAt(table, at);
    const behind = block + table.getUint32(at + 8, true);
    if (block < first) first = block;
    if (behind > end) end = behind;
  }
  return { first, end };
}

/**
 * Whether the batch holds the blocks from `first` on, each once, in order, and nothing else, with a payload
 * as long as its entries say: what a primary has to answer to a read.
 */
export function coversExactly(batch: Batch, first: number, blocks: number): boolean {
  if (!Number.isInteger(entryCount(batch))) return false;
  const table = tableView(batch);
  let next = first;
  let stored = 0;
  for (let at = 0; at < table.byteLength; at += ENTRY_BYTES) {
    const count = table.getUint32(at + 8, true);
    const kind = table.getUint8(at + 12);
    const storedLength = table.getUint32(at + 16, true);
    if (blockAt(table, at) !== next || count < 1) return false;
    if (kind === KIND_DATA ? count !== 1 : kind !== KIND_ZERO || storedLength !== 0) return false;
    next += count;
    stored += storedLength;
  }
  return next === first + blocks && stored === batch.payload.length;
}
