/** Leased memory of reads: given back whatever happens, and not before the last read into it has ended. */

import { expect, test } from 'vitest';
import { BadBlockError, type DiskFile } from '../../../core/ports.js';
import { type Batch, KIND_DATA, type Lease } from '../../../core/record.js';
import { BadBlocks } from '../../../node-agent/store/bad-blocks.js';
import { BlockReader, type BlockReaderOptions } from '../../../node-agent/store/block-reader.js';
import { FilePool } from '../../../node-agent/store/file-pool.js';
import { ABSENT, KNOWN } from '../../../node-agent/store/paged/page-tree.js';

const BLOCK = 4096;

test('a read that fails in an unforeseen way gives its memory back when the others have ended', async () => {
  const reads: { readonly resolve: (count: number) => void; readonly reject: (error: Error) => void }[] = [];
  const file: Partial<DiskFile> = {
    readCached: () => false,
    readAsync: () => new Promise((resolve, reject) => reads.push({ resolve, reject })),
    close: async () => {},
  };
  const options = {
    deployment: 'd',
    // Each block in a place of its own, so that there is a read for each.
    index: {
      tryGet: (block: number, record: Record<string, number>) => {
        Object.assign(record, { kind: KIND_DATA, segment: 0, offset: 3 * block * BLOCK, storedLength: BLOCK });
        return KNOWN;
      },
    },
    segments: new Map([[0, { number: 0, path: 's', written: Number.POSITIVE_INFINITY }]]),
    pool: new FilePool({ open: () => file } as never, 4),
    checksums: { bad: () => [], firstBad: () => -1 },
    known: new BadBlocks(),
  } as unknown as BlockReaderOptions;
  let holders = 0;
  const lend = (bytes: number): Lease & { readonly bytes: Buffer } => {
    holders++;
    return { bytes: Buffer.alloc(bytes), exclusive: true, retain: () => holders++, release: () => holders-- };
  };
  const reader = new BlockReader(options);

  const failing = reader.read(2, (i) => i, { lend });
  const outcome = failing.catch((error: Error) => error.message);
  expect(reads.length).toBe(2);
  reads[0]!.reject(new TypeError('not an error of the disk'));
  await new Promise((resolve) => setImmediate(resolve));
  expect(holders).toBe(1);
  reads[1]!.resolve(BLOCK);
  expect(await outcome).toBe('not an error of the disk');
  expect(holders).toBe(0);
});

test('what memory has is read at once; if it lacks a part, nothing is begun and the memory is given back', () => {
  const absent = new Set<number>();
  const file: Partial<DiskFile> = {
    readCached: (buffer, position) => {
      buffer.fill(1 + position / (3 * BLOCK));
      return !absent.has(position);
    },
    readAsync: () => Promise.reject(new Error('a read of the disk was begun')),
  };
  const unknown = new Set<number>();
  const options = {
    deployment: 'd',
    index: {
      tryGet: (block: number, record: Record<string, number>) => {
        Object.assign(record, { kind: KIND_DATA, segment: 0, offset: 3 * block * BLOCK, storedLength: BLOCK });
        return unknown.has(block) ? ABSENT : KNOWN;
      },
    },
    segments: new Map([[0, { number: 0, path: 's', written: Number.POSITIVE_INFINITY }]]),
    pool: new FilePool({ open: () => file } as never, 4),
    checksums: { bad: ({ payload }: Batch) => (payload[0] === 9 ? [0] : []), firstBad: () => -1 },
    known: new BadBlocks(),
  } as unknown as BlockReaderOptions;
  let holders = 0;
  const lend = (bytes: number): Lease & { readonly bytes: Buffer } => {
    holders++;
    return { bytes: Buffer.alloc(bytes), exclusive: true, retain: () => holders++, release: () => holders-- };
  };
  const reader = new BlockReader(options);

  const stored = reader.readCached(2, (i) => 3 + i, lend);
  expect([stored?.batch.payload[0], stored?.batch.payload[BLOCK]]).toEqual([4, 5]);
  expect(holders).toBe(1);
  stored?.batch.lease?.release();
  absent.add(3 * 4 * BLOCK);
  expect(reader.readCached(2, (i) => 3 + i, lend)).toBeUndefined();
  unknown.add(3);
  expect(reader.readCached(1, () => 3, lend)).toBeUndefined();
  expect(() => reader.readCached(1, () => 8, lend)).toThrow(BadBlockError);
  expect(holders).toBe(0);
});
