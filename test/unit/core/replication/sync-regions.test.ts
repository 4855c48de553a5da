import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SyncedRegion } from '../../../../core/ports.js';
import { keptRegions, MAX_SYNC_REGIONS, rangesToCopy, withMark } from '../../../../core/replication/sync-regions.js';
import type { BlockNumber, Epoch, HistoryEntry, Order, Sequence } from '../../../../core/types.js';

const order = (epoch: number, sequence: number): Order => ({ epoch: epoch as Epoch, sequence: sequence as Sequence });
const region = (below: number, epoch: number, sequence: number): SyncedRegion => ({
  below: below as BlockNumber,
  upTo: order(epoch, sequence),
});
const history = (...entries: [number, number][]): HistoryEntry[] =>
  entries.map(([epoch, startsAfter]) => ({ epoch: epoch as Epoch, startsAfter: startsAfter as Sequence }));
const base = (sequence: number) => sequence as Sequence;

/** Up to where a block is there, as the list says. */
function upTo(regions: readonly SyncedRegion[], base: number, block: number): number {
  return regions.find(({ below }) => block < below)?.upTo.sequence ?? base;
}

describe('what is left of marks', () => {
  it('is all of it while the stream goes on', () => {
    const regions = [region(10, 4, 90), region(30, 2, 50)];
    expect(keptRegions(regions, base(20), history([2, 0], [4, 60]))).toEqual(regions);
  });

  it('ends where the stream that later primaries share does', () => {
    const regions = [region(10, 4, 90), region(30, 2, 50), region(40, 2, 30)];
    expect(keptRegions(regions, base(20), history([2, 0], [4, 60], [5, 70]))).toEqual([
      region(10, 4, 70),
      region(30, 2, 50),
      region(40, 2, 30),
    ]);
    // What was written behind 40 did not survive, whoever said that it was there.
    expect(keptRegions(regions, base(20), history([2, 0], [4, 60], [5, 40]))).toEqual([
      region(30, 2, 40),
      region(40, 2, 30),
    ]);
    expect(keptRegions(regions, base(30), history([2, 0], [4, 60], [5, 40]))).toEqual([region(30, 2, 40)]);
    expect(keptRegions(regions, base(45), history([2, 0], [4, 60], [5, 40]))).toEqual([]);
  });

  it('never says more of a block than was recorded of it', () => {
    const lists = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 40 })), { maxLength: 5 });
    fc.assert(
      fc.property(lists, lists, (steps, activations) => {
        let below = 0;
        let sequence = 300;
        const regions = steps.map(([wide, older]) => {
          below += wide;
          sequence -= older;
          return region(below, 3, sequence);
        });
        const later = activations.map(([, at], i): [number, number] => [4 + i, 180 + at * 3]);
        const kept = keptRegions(regions, base(150), history([3, 0], ...later));
        const shared = Math.min(...later.map(([, at]) => at), Number.POSITIVE_INFINITY);
        for (let block = 0; block < below + 2; block++) {
          const allowed = Math.min(upTo(regions, 150, block), shared);
          expect(upTo(kept, 150, block)).toBe(Math.max(150, allowed));
        }
      }),
    );
  });
});

describe('a mark', () => {
  it('goes before what earlier syncs had done further on', () => {
    const earlier = [region(10, 2, 50), region(30, 2, 40)];
    expect(withMark(earlier, 5 as BlockNumber, order(4, 60))).toEqual([region(5, 4, 60), ...earlier]);
    expect(withMark(earlier, 10 as BlockNumber, order(4, 60))).toEqual([region(10, 4, 60), region(30, 2, 40)]);
    expect(withMark(earlier, 64 as BlockNumber, order(4, 60))).toEqual([region(64, 4, 60)]);
  });

  it('makes the oldest give way when there are too many', () => {
    let regions: SyncedRegion[] = [];
    for (let i = 40; i > 0; i--) regions = withMark(regions, (2 * i) as BlockNumber, order(3, 100 - i));
    expect(regions).toHaveLength(MAX_SYNC_REGIONS);
    expect(regions[0]).toEqual(region(2, 3, 99));
    expect(upTo(regions, 7, 2 * MAX_SYNC_REGIONS)).toBe(7);
  });
});

describe('what is to be copied', () => {
  it('is the whole volume, from where each part is', () => {
    const ranges = rangesToCopy([region(10, 4, 90), region(30, 2, 50)], base(20), 64);
    expect(ranges).toEqual([
      { from: 0, below: 10, after: 90 },
      { from: 10, below: 30, after: 50 },
      { from: 30, below: 64, after: 20 },
    ]);
  });

  it('ends with the volume, whatever a copy claims', () => {
    expect(rangesToCopy([region(100, 4, 90), region(70, 2, 50)], base(0), 64)).toEqual([
      { from: 0, below: 64, after: 90 },
    ]);
    expect(rangesToCopy([], base(3), 64)).toEqual([{ from: 0, below: 64, after: 3 }]);
  });
});
