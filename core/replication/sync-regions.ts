/**
 * How far an incomplete sync has got, in regions of the volume. Blocks are copied in ascending order, so a mark says
 * that everything below a block is there, as it was in the stream when the sync began. Each interrupted sync leaves
 * such a mark; the list of them ascends by block and descends by order, and behind its end there is the base [6c].
 */

import { commonEnd } from '../order.js';
import type { SyncedRegion } from '../ports.js';
import type { BlockNumber, HistoryEntry, Order, Sequence } from '../types.js';

/** Regions that a copy remembers. Each stands for a sync that was interrupted further on than the one after it. */
export const MAX_SYNC_REGIONS = 16;

/** Blocks from `from` up to, not including, `below`: everything with an order behind `after` is to be sent. */
export interface SyncRange {
  readonly from: BlockNumber;
  readonly below: BlockNumber;
  readonly after: Sequence;
}

/**
 * What is left of regions under `history`: as for a base, only that part of the stream counts that all later primaries
 * share. A region that says no more than the base, or than the one behind it, says nothing.
 */
export function keptRegions(
  regions: readonly SyncedRegion[],
  base: Sequence,
  history: readonly HistoryEntry[],
): SyncedRegion[] {
  const kept: SyncedRegion[] = [];
  let sequence = Number.POSITIVE_INFINITY as Sequence;
  for (const { below, upTo } of regions) {
    sequence = Math.min(sequence, commonEnd(upTo, history)) as Sequence;
    if (sequence <= base) break;
    if (kept[kept.length - 1]?.upTo.sequence === sequence) kept.pop();
    kept.push({ below, upTo: { epoch: upTo.epoch, sequence } });
  }
  return kept;
}

/** Everything below `below` is there up to `upTo`, beside what `regions` say. `upTo` is not older than any of them. */
export function withMark(regions: readonly SyncedRegion[], below: BlockNumber, upTo: Order): SyncedRegion[] {
  const behind = regions.filter((region) => region.below > below);
  // The oldest syncs that were interrupted give way: what they had done is copied again.
  return [{ below, upTo }, ...behind].slice(0, MAX_SYNC_REGIONS);
}

/** The whole volume, cut where regions end. */
export function rangesToCopy(regions: readonly SyncedRegion[], base: Sequence, blocks: number): SyncRange[] {
  const ranges: SyncRange[] = [];
  let from = 0 as BlockNumber;
  const add = (end: number, after: Sequence): void => {
    const below = Math.min(end, blocks) as BlockNumber;
    if (below <= from) return;
    ranges.push({ from, below, after });
    from = below;
  };
  for (const { below, upTo } of regions) add(below, upTo.sequence);
  add(blocks, base);
  return ranges;
}
