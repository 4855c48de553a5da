/**
 * What becomes of blocks of which the index has lost what it knew. The log knows what was written last, as far as it
 * goes back without a segment missing; what it does not say is lost, and is said to be.
 */

import { UNKNOWN_EPOCH } from '../../core/order.js';
import { KIND_LOST } from '../../core/record.js';
import type { LogPlace } from './checkpoint.js';
import type { FilePool } from './file-pool.js';
import { BATCH_POSITION, type StoreIdentity } from './format.js';
import type { Image } from './image.js';
import { SegmentScanner } from './log-scanner.js';
import { emptyRecord } from './paged/extents.js';
import type { BlockRange } from './paged/tree-repair.js';
import type { Segment } from './segment.js';

/** How much of the log is read again for that, from its end: some ten seconds. */
const MAX_LOG_BYTES = 4 * 1024 * 1024 * 1024;
/** Of one extent. */
const MAX_EXTENT_BLOCKS = 2 ** 31;
export interface IndexGapsOptions {
  readonly identity: StoreIdentity;
  readonly pool: FilePool;
  readonly image: Image;
  readonly segments: ReadonlyMap<number, Segment>;
  readonly gaps: readonly BlockRange[];
  /** Where the log ended when the index was written. */
  readonly end: LogPlace;
  /** The stream's last sequence then. */
  readonly lastSequence: number;
}

/** Fills the gaps; resolves to whether anything is lost. Rejects with the disk's errors. */
export async function fillGaps(options: IndexGapsOptions): Promise<boolean> {
  const { image, segments, gaps, end, lastSequence } = options;
  const first = firstOf(segments, end);
  // An index and a log that both begin with nothing: what the log does not say was never written.
  let lost = first > 0;
  const lose = (): void => {
    lost = true;
    // Dead wherever there is another copy to sync from, which then sends what it has of the block; and above all that
    // was written before, so that who syncs from this copy, and has not got all of that, is told.
    const record = { ...emptyRecord(), kind: KIND_LOST, epoch: UNKNOWN_EPOCH, sequence: Math.max(1, lastSequence) };
    for (const gap of gaps) {
      for (let at = gap.first; at < gap.end; at += MAX_EXTENT_BLOCKS) {
        image.index.put(at, Math.min(MAX_EXTENT_BLOCKS, gap.end - at), record);
      }
    }
  };
  if (lost) lose();
  for (let number = first; number <= end.segment; number++) {
    const segment = segments.get(number);
    const size = number === end.segment ? end.offset : segment?.size;
    if (segment !== undefined && size !== undefined) await replay(options, segment, size, lose);
  }
  return lost;
}

/** The oldest segment behind which none is missing, and not more is than will be read. */
function firstOf(segments: ReadonlyMap<number, Segment>, end: LogPlace): number {
  let first = end.segment;
  for (let bytes = end.offset; first > 0; first--) {
    const segment = segments.get(first - 1);
    bytes += segment?.size ?? 0;
    if (segment === undefined || bytes > MAX_LOG_BYTES) break;
  }
  return first;
}

async function replay(
  { identity, pool, image, gaps }: IndexGapsOptions,
  segment: Segment,
  size: number,
  lose: () => void,
): Promise<void> {
  const pooled = pool.acquire(segment.path);
  try {
    const scanner = new SegmentScanner(pooled.file, identity, segment.number, size);
    for (let at = 0; at < size; ) {
      const scanned = await scanner.batch(at);
      if (!('header' in scanned)) lose();
      const found = 'header' in scanned ? scanned : await scanner.find(at + 1);
      if (found === undefined) return;
      if (found.header.kind !== BATCH_POSITION) image.applyWithin(gaps, found.header, found.table, segment);
      at = found.end;
    }
  } finally {
    pool.release(pooled);
  }
}
