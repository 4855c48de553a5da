import fc from 'fast-check';
import { expect, it } from 'vitest';
import { emptyRecord, type IndexRecord } from '../../../node-agent/store/block-index.js';
import { PackedIndex } from '../../../node-agent/store/packed-index.js';

/** Blocks around the borders of leaves and directory pages. */
const blockNumber = fc.oneof(
  fc.integer({ min: 0, max: 200 }),
  fc.integer({ min: 65_530, max: 65_545 }),
  fc.integer({ min: 0, max: 999_999 }),
);
const record = fc.record({
  epoch: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  sequence: fc.integer({ min: 0, max: 50 }),
  segment: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  offset: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  kind: fc.constantFrom(1, 2),
  flags: fc.integer({ min: 0, max: 3 }),
  storedLength: fc.integer({ min: 0, max: 65_536 }),
  checksumLow: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  checksumHigh: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
});
const operation = fc.record({
  block: blockNumber,
  record: fc.option(record),
  from: blockNumber,
  after: fc.integer({ min: -1, max: 50 }),
});

it('behaves like a map', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
      const index = new PackedIndex(1_000_000);
      const model = new Map<number, IndexRecord>();
      const previous = emptyRecord();
      for (const { block, record: next, from, after } of operations) {
        const before = model.get(block);
        const known = next === null ? index.remove(block, previous) : index.replace(block, next, previous);
        expect(known).toBe(before !== undefined);
        if (before !== undefined) expect(previous).toEqual(before);
        if (next === null) model.delete(block);
        else model.set(block, next);
        const wanted = [...model].filter(([b, { sequence }]) => b >= from && sequence > after).map(([b]) => b);
        expect(index.select(after, from, 5)).toEqual(wanted.sort((a, b) => a - b).slice(0, 5));
        const odd = wanted.filter((b) => model.get(b)!.epoch % 2 === 1);
        expect(index.select(after, from, 3, (epoch) => epoch % 2 === 1)).toEqual(odd.slice(0, 3));
      }
      expect(index.size).toBe(model.size);
      const found = emptyRecord();
      for (const [block, wanted] of model) {
        expect(index.get(block, found)).toBe(true);
        expect(found).toEqual(wanted);
      }
      expect(index.get(123_456, found)).toBe(model.has(123_456));
    }),
    { numRuns: 60 },
  );
});

it('refuses blocks beyond the volume', () => {
  const index = new PackedIndex(10);
  expect(() => index.replace(10, emptyRecord(), emptyRecord())).toThrow(RangeError);
  expect(index.get(10, emptyRecord())).toBe(false);
});
