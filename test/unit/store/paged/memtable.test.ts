import fc from 'fast-check';
import { expect, it } from 'vitest';
import { KIND_DATA } from '../../../../core/record.js';
import { emptyRecord } from '../../../../node-agent/store/paged/extents.js';
import { Memtable } from '../../../../node-agent/store/paged/memtable.js';
import { dataRecord, zeroRecord } from './support.js';

const BLOCKS = 2_000;

it('is like a map from blocks to records, whatever is put over what', () => {
  const put = fc.record({
    start: fc.integer({ min: 0, max: BLOCKS - 1 }),
    length: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 600 })),
  });
  fc.assert(
    fc.property(fc.array(put, { minLength: 1, maxLength: 1_500 }), (puts) => {
      const references = new Map<number, number>();
      const table = new Memtable((segment, blocks) => {
        references.set(segment, (references.get(segment) ?? 0) + blocks);
      });
      const model = new Array<number>(BLOCKS).fill(0);
      const records = puts.map(({ length }, i) => (length === 1 ? dataRecord(1, i + 1) : zeroRecord(1, i + 1)));
      for (const [i, { start, length }] of puts.entries()) {
        const end = Math.min(BLOCKS, start + length);
        table.put(
          start,
          end - start,
          records[i]!.kind === KIND_DATA || end - start > 1 ? records[i]! : zeroRecord(1, i + 1),
        );
        model.fill(i + 1, start, end);
      }
      const record = emptyRecord();
      for (let block = 0; block < BLOCKS; block++) {
        expect(table.get(block, record) ? record.sequence : 0).toBe(model[block]);
        expect(table.overlaps(block, block + 1)).toBe(model[block] !== 0);
      }
      // The extents are disjoint, ascending, and all of it.
      let extents = 0;
      let at = 0;
      const cursor = table.cursor();
      for (; cursor.start < Number.POSITIVE_INFINITY; cursor.seek(cursor.end)) {
        expect(cursor.start).toBeGreaterThanOrEqual(at);
        for (; at < cursor.start; at++) expect(model[at]).toBe(0);
        cursor.read(record);
        for (; at < cursor.end; at++) expect(model[at]).toBe(record.sequence);
        extents++;
      }
      for (; at < BLOCKS; at++) expect(model[at]).toBe(0);
      expect(table.extents).toBe(extents);
      // References are those of the data that is left.
      const live = new Map<number, number>();
      for (const sequence of model) {
        const { kind, segment } = records[sequence - 1] ?? { kind: 0, segment: 0 };
        if (kind === KIND_DATA) live.set(segment, (live.get(segment) ?? 0) + 1);
      }
      for (const [segment, blocks] of references) expect(blocks).toBe(live.get(segment) ?? 0);
      expect([...references.keys()]).toEqual(expect.arrayContaining([...live.keys()]));
    }),
    { numRuns: 60 },
  );
});

it('takes memory in proportion to its extents', () => {
  const table = new Memtable();
  for (let i = 0; i < 100_000; i++) table.put(i, 1, dataRecord(1, i));
  expect(table.bytes).toBeLessThan(64 * 100_000);
  table.put(0, 100_000, zeroRecord(1, 100_001));
  expect(table.extents).toBe(1);
});
