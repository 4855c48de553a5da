import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IndexDamageError } from '../../../../node-agent/store/errors.js';
import { emptyRecord, type IndexRecord, KIND_FORGOTTEN } from '../../../../node-agent/store/paged/extents.js';
import { CACHED_PAGE_BYTES } from '../../../../node-agent/store/paged/index-memory.js';
import { PAGE_BYTES } from '../../../../node-agent/store/paged/page.js';
import { seeded } from '../support.js';
import { dataRecord, type IndexLab, indexLab, zeroRecord } from './support.js';

const always = (): boolean => true;

/** What the index has of a block, or undefined. */
async function find({ index }: IndexLab, block: number): Promise<IndexRecord | undefined> {
  const record = emptyRecord();
  return index.look([block], (get) => (get(block, record) ? { ...record } : undefined));
}

describe('an index in pages', () => {
  const BLOCKS = 3_000;
  const change = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('data' as const), block: fc.nat(BLOCKS - 1) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constantFrom('zero' as const, 'forget' as const),
        block: fc.nat(BLOCKS - 1),
        blocks: fc.integer({ min: 1, max: 700 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('run' as const), block: fc.nat(BLOCKS - 1), blocks: fc.nat(400) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('merge' as const), blocks: fc.nat(40) }) },
  );

  it.each([[3], [7], [512]])(
    'is a map from blocks to records, with at most %i rows to a page',
    async (maxRows) => {
      await fc.assert(
        fc.asyncProperty(fc.array(change, { maxLength: 120 }), async (changes) => {
          const lab = indexLab({ maxRows, cacheBytes: 20 * CACHED_PAGE_BYTES });
          const model = new Array<IndexRecord | undefined>(BLOCKS);
          let sequence = 0;
          let references = new Map<number, number>();
          const put = (block: number, blocks: number, record: IndexRecord): void => {
            const end = Math.min(BLOCKS, block + blocks);
            lab.index.put(block, end - block, record);
            model.fill(record.kind === KIND_FORGOTTEN ? undefined : record, block, end);
          };
          for (const one of changes) {
            const epoch = 1 + Math.floor(sequence / 50);
            if (one.kind === 'data') put(one.block, 1, dataRecord(epoch, ++sequence));
            else if (one.kind === 'zero') put(one.block, one.blocks, zeroRecord(epoch, ++sequence));
            else if (one.kind === 'forget') put(one.block, one.blocks, emptyRecord());
            else if (one.kind === 'run') {
              for (let b = one.block; b < Math.min(BLOCKS, one.block + one.blocks); b++)
                put(b, 1, dataRecord(epoch, ++sequence));
            } else {
              // In two parts, as on a full disk.
              lab.index.freeze();
              const end = lab.index.frozen!.startAfter(0, one.blocks);
              references = count(references, (await lab.merge(0, end)).changes);
              if (end < Number.POSITIVE_INFINITY) references = count(references, (await lab.merge(end)).changes);
            }
          }
          const blocks = Array.from({ length: BLOCKS }, (_, block) => block);
          const record = emptyRecord();
          const found = await lab.index.look(blocks, (get) =>
            blocks.map((block) => (get(block, record) ? { ...record } : undefined)),
          );
          expect(found).toEqual(model);
          // Neighbours, gaps, and back: what the last answer was must not matter.
          const jumps = blocks.map((i) => (i * i + 3 * (i >>> 1)) % BLOCKS);
          const jumped = await lab.index.look(jumps, (get) =>
            jumps.map((block) => (get(block, record) ? { ...record } : undefined)),
          );
          expect(jumped).toEqual(jumps.map((block) => model[block]));
          const after = Math.floor(sequence / 2);
          const newer = blocks.filter((block) => (model[block]?.sequence ?? 0) > after);
          const matches = (_epoch: number, s: number): boolean => s > after;
          expect(await lab.index.select(0, BLOCKS, (highest) => highest > after, matches)).toEqual(newer);
          const half = newer.slice(newer.length >>> 1);
          expect(await lab.index.select(half[0] ?? 0, 5, (highest) => highest > after, matches)).toEqual(
            half.slice(0, 5),
          );
          const old = blocks.filter((block) => model[block] !== undefined && model[block].epoch <= 1);
          const inFirst = (_highest: number, lowest: number): boolean => lowest <= 1;
          expect(await lab.index.select(0, BLOCKS, inFirst, (epoch) => epoch <= 1)).toEqual(old);
          // All of it in the pages: the references are those of the model, and no slot is lost.
          await lab.merge().then(({ changes: last }) => {
            references = count(references, last);
          });
          const live = new Map<number, number>();
          for (const one of model) if (one?.kind === 1) live.set(one.segment, (live.get(one.segment) ?? 0) + 1);
          for (const [segment, blocks] of references) expect(blocks).toBe(live.get(segment) ?? 0);
          for (const segment of live.keys()) expect(references.has(segment)).toBe(true);
          expect((await lab.index.verify(0, Number.POSITIVE_INFINITY)).pages).toBe(lab.file.slots.used);
        }),
        { numRuns: maxRows === 512 ? 40 : 25 },
      );
    },
    60_000,
  );

  function count(
    references: Map<number, number>,
    changes: Iterable<readonly [number, { readonly blocks: number }]>,
  ): Map<number, number> {
    for (const [segment, { blocks }] of changes) references.set(segment, (references.get(segment) ?? 0) + blocks);
    return references;
  }

  it('holds about 200 blocks to a page, and writes only what changed', async () => {
    const lab = indexLab({ cacheBytes: 8 << 20 });
    const BLOCKS_OF_A_GIB = 262_144;
    for (let block = 0; block < BLOCKS_OF_A_GIB; block++) lab.index.put(block, 1, dataRecord(3, block + 1));
    await lab.merge();
    const pages = lab.file.slots.used;
    expect(BLOCKS_OF_A_GIB / pages).toBeGreaterThan(150);
    for (let i = 0; i < 100; i++) lab.index.put(i * 2_000, 1, dataRecord(3, BLOCKS_OF_A_GIB + i + 1));
    const { written } = await lab.merge();
    // Full leaves of one long run become two when they are no longer one.
    expect(written.length).toBeLessThan(2 * 100 + 20);
    expect(lab.file.slots.used).toBeLessThan(pages + 100 + 20);
    for (let i = 0; i < 100; i++) lab.index.put(i * 2_000, 1, dataRecord(3, BLOCKS_OF_A_GIB + i + 201));
    expect((await lab.merge()).written.length).toBeLessThan(100 + 20);
    // A range of zeroes takes the place of all that it covers.
    lab.index.put(0, BLOCKS_OF_A_GIB, zeroRecord(3, 300_001));
    await lab.merge();
    expect(lab.file.slots.used).toBe(1);
    // It goes to the beginning of the file when it changes, and the rest is cut off.
    lab.index.put(7, 1, dataRecord(3, 300_002));
    await lab.merge();
    expect(lab.sim.contents('db/pages')).toHaveLength(PAGE_BYTES);
  });

  it('answers while checkpoints replace the pages that a question is about', async () => {
    const lab = indexLab({ maxRows: 4, cacheBytes: 8 * CACHED_PAGE_BYTES });
    const random = seeded(3);
    for (let block = 0; block < 500; block++) lab.index.put(block, 1, dataRecord(1, block + 1));
    await lab.merge();
    for (let round = 1; round <= 40; round++) {
      const questions: Promise<void>[] = [];
      for (let i = 0; i < 20; i++) {
        const block = Math.floor(random.next() * 500);
        questions.push(find(lab, block).then((record) => expect(record?.epoch).toBeGreaterThanOrEqual(round - 1 || 1)));
      }
      questions.push(lab.index.select(0, 1_000, always, always).then((found) => expect(found).toHaveLength(500)));
      for (let block = 0; block < 500; block++) lab.index.put(block, 1, dataRecord(round, round * 500 + block));
      questions.push(lab.merge().then(() => {}));
      await Promise.all(questions);
    }
  });

  it('lets others have their turn while it searches, though all pages are in memory', async () => {
    let pauses = 0;
    const { index, merge } = indexLab({
      maxRows: 4,
      paused: () => {
        pauses++;
      },
    });
    for (let block = 0; block < 400; block++) index.put(block, 1, dataRecord(1, block + 1));
    await merge();
    pauses = 0;
    const found = await index.select(
      0,
      10,
      () => true,
      (_epoch, sequence) => sequence === 400,
    );
    expect(found).toEqual([399]);
    expect(pauses).toBeGreaterThan(10);
  });

  it('keeps a page in memory whose slot had another one before', async () => {
    const { index, memory, merge } = indexLab({ maxRows: 4 });
    const look = (block: number): Promise<boolean> => index.look([block], (get) => get(block, emptyRecord()));
    for (let block = 0; block < 40; block++) index.put(block, 1, dataRecord(1, block + 1));
    await merge();
    await look(0);
    index.put(0, 1, dataRecord(1, 100));
    await merge();
    // Takes the slot that the leaf of block 0 had, which is in memory still.
    index.put(20, 1, dataRecord(1, 101));
    await merge();
    await look(20);
    const { misses } = memory;
    expect(await look(20)).toBe(true);
    expect(memory.misses).toBe(misses);
  });

  it('says which page is damaged', async () => {
    const lab = indexLab({ maxRows: 4, cacheBytes: 0 });
    for (let block = 0; block < 100; block++) lab.index.put(block, 1, dataRecord(1, block + 1));
    await lab.merge();
    lab.sim.damage('db/pages', 2 * PAGE_BYTES + 90, (byte) => byte ^ 1);
    const damage = { path: 'db/pages', offset: 2 * PAGE_BYTES, what: 'index page checksum' };
    await expect(lab.index.verify(0, 1_000)).rejects.toThrow(IndexDamageError);
    await expect(lab.index.select(0, 1_000, always, always)).rejects.toMatchObject({ damage });
    await expect(find(lab, 9)).rejects.toMatchObject({ damage });
    expect((await find(lab, 99))?.sequence).toBe(100);
    // The checkpoint that has to read it fails, and takes no slot.
    const { used } = lab.file.slots;
    lab.index.put(9, 1, dataRecord(1, 1_000));
    await expect(lab.merge()).rejects.toMatchObject({ damage });
    expect(lab.file.slots.used).toBe(used);
  });
});

describe('the memory of indexes', () => {
  it('answers a question from pages that are all in memory, whatever it was asked before', async () => {
    const lab = indexLab({ cacheBytes: 8 * CACHED_PAGE_BYTES });
    for (let block = 0; block < 20_000; block++) lab.index.put(block, 1, dataRecord(1, block + 1));
    await lab.merge();
    const record = emptyRecord();
    for (let block = 0; block < 15_000; block += 977) {
      // From the disk, and from memory.
      expect((await find(lab, block))?.sequence).toBe(block + 1);
      expect((await find(lab, block))?.sequence).toBe(block + 1);
      // A search throws its page out, and leaves the last ones in memory.
      await lab.index.select(block + 1_000, 20_000, always, always);
      const asked = [block + 1, 19_990];
      const found = await lab.index.look(asked, (get) => asked.map((one) => get(one, record) && record.sequence));
      expect(found).toEqual(asked.map((one) => one + 1));
    }
  });

  it('is bounded, whatever the size of the volume', async () => {
    const cacheBytes = 2 << 20;
    const lab = indexLab({ cacheBytes });
    const BLOCKS_OF_A_TIB = 2 ** 28;
    const random = seeded(7);
    let most = 0;
    const look = (): void => {
      most = Math.max(most, lab.memory.pageBytes + lab.memory.memtableBytes);
    };
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 15_000; i++) {
        const sequence = round * 15_000 + i + 1;
        lab.index.put(Math.floor(random.next() * BLOCKS_OF_A_TIB), 1, dataRecord(1, sequence));
      }
      look();
      await lab.merge();
      for (let i = 0; i < 300; i++) await find(lab, Math.floor(random.next() * BLOCKS_OF_A_TIB));
      look();
    }
    expect(lab.file.slots.used * PAGE_BYTES).toBeGreaterThan(0.5 * cacheBytes);
    expect(most).toBeGreaterThan(0.5 * cacheBytes);
    expect(most).toBeLessThanOrEqual(cacheBytes);
  });

  it('makes the largest memtable go into pages when memtables take their part', () => {
    const lab = indexLab({ cacheBytes: 1 << 20 });
    const asked: string[] = [];
    for (const [name, bytes] of [
      ['small', 1_000],
      ['large', 5_000],
    ] as const) {
      lab.memory.join({ memtableBytes: bytes, shrink: () => void asked.push(name) });
    }
    lab.memory.grow(500_000);
    expect(asked).toEqual([]);
    lab.memory.grow(100_000);
    expect(asked).toEqual(['large']);
  });
});
