import { describe, expect, it } from 'vitest';
import {
  type BatchUse,
  batchProblem,
  type Entry,
  KIND_DATA,
  KIND_GENERATION,
  KIND_LOST,
  KIND_ZERO,
  lostEntry,
  MAX_WRITE_ZERO_BLOCKS,
  readEntry,
  writeEntry,
  zeroEntry,
} from '../../../core/record.js';
import { makeBatch } from '../../../core/replication/batches.js';

const BLOCKS = 64;
const NONE = { flags: 0, storedLength: 0, checksumLow: 0, checksumHigh: 0 };
const data: Entry = { ...NONE, block: 1, blocks: 1, kind: KIND_DATA, storedLength: 8 };
const generation: Entry = { ...NONE, block: 7, blocks: 0, kind: KIND_GENERATION };

function problem(entry: Entry, use: BatchUse): string | undefined {
  return batchProblem(makeBatch([{ entry, payload: Buffer.alloc(entry.storedLength) }]), BLOCKS, 4096, use);
}

describe('what a batch may have in it', () => {
  it.each<[BatchUse, number[]]>([
    ['write', [KIND_DATA, KIND_ZERO]],
    ['stream', [KIND_DATA, KIND_ZERO, KIND_GENERATION]],
    ['blocks', [KIND_DATA, KIND_ZERO, KIND_LOST]],
  ])('of a %s', (use, kinds) => {
    const sound = [data, zeroEntry(1, 3), generation, lostEntry(1, 2, 3)].filter((entry) => !problem(entry, use));
    expect(sound.map((entry) => entry.kind)).toEqual(kinds);
  });

  it.each<[string, Partial<Entry>]>([
    ['of several blocks', { blocks: 2 }],
    ['of no block', { blocks: 0 }],
    ['with a payload', { storedLength: 8 }],
    ['that says how it was encoded', { flags: 1 }],
    ['beyond the end', { block: BLOCKS }],
  ])('no lost block %s', (_, change) => {
    expect(problem({ ...lostEntry(1, 2, 3), ...change }, 'blocks')).toMatch(/^entry 0: /);
  });

  it('of a write no more zeroes than one turn of the event loop can take', () => {
    const most = zeroEntry(0, MAX_WRITE_ZERO_BLOCKS);
    const check = (entries: readonly Entry[], use: BatchUse) =>
      batchProblem(makeBatch(entries.map((entry) => ({ entry, payload: Buffer.alloc(0) }))), 2 ** 40, 4096, use);
    expect(check([most], 'write')).toBeUndefined();
    expect(check([most, zeroEntry(2 ** 30, 1)], 'write')).toMatch(/8193 blocks of zeroes/);
    expect(check([zeroEntry(0, 2 ** 32 - 1)], 'write')).toMatch(/zeroes/);
    // Logs of earlier versions have such entries.
    expect(check([zeroEntry(0, 2 ** 32 - 1)], 'stream')).toBeUndefined();
  });

  it('no kind that is not known', () => {
    for (const kind of [0, 5, 255]) expect(problem({ ...zeroEntry(1, 1), kind }, 'blocks')).toMatch(/kind/);
  });

  it('keeps the checksum of what is lost', () => {
    const table = Buffer.alloc(32);
    writeEntry(table, 0, lostEntry(2 ** 40, 0x89abcdef, 0xfedcba98));
    expect(readEntry(table, 0)).toEqual(lostEntry(2 ** 40, 0x89abcdef, 0xfedcba98));
  });
});
