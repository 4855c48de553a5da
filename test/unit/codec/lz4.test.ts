import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { compressBound, GuardedLz4 } from './guarded-lz4.js';
import { DATA_KINDS, fixture, loadKernels, makeData } from './harness.js';
import { lz4Frame, lz4Reference } from './lz4-reference.js';

let lz4: GuardedLz4;
beforeAll(async () => {
  lz4 = new GuardedLz4(await loadKernels());
});

describe('LZ4 block format', () => {
  const blocks = fixture<{ name: string; length: number; sha256: string; fast: string; high: string }>('lz4.jsonl');

  test.each(blocks)('decompresses what liblz4 made: $name', ({ length, sha256, fast, high }) => {
    for (const block of [fast, high]) {
      for (const atEnd of ['source', 'target'] as const) {
        const plain = lz4.decompress(Buffer.from(block, 'base64'), length, atEnd);
        expect(plain?.length).toBe(length);
        expect(createHash('sha256').update(plain!).digest('hex')).toBe(sha256);
      }
    }
  });

  test('its streams keep to the format, and come back', () => {
    for (const kind of DATA_KINDS) {
      for (const length of [1, 5, 12, 13, 14, 20, 31, 64, 100, 1000, 4095, 4096, 16384, 65535, 65536]) {
        for (const seed of [1, 2, 3]) {
          const plain = makeData(kind, length, seed);
          const block = lz4.compress(plain, compressBound(length))!;
          expect(block, `${kind} ${length}`).toBeDefined();
          expect(lz4Reference(block, { strict: true }).equals(plain), `${kind} ${length}`).toBe(true);
          expect(lz4.decompress(block, length)?.equals(plain), `${kind} ${length}`).toBe(true);
        }
      }
    }
  });

  test('a limit is kept exactly, and is enough', () => {
    for (const kind of DATA_KINDS) {
      const plain = makeData(kind, 4096, 7);
      const block = lz4.compress(plain, compressBound(4096))!;
      // A few bytes of slack: the compressor may ask for room before it knows whether it is needed.
      const enough = lz4.compress(plain, block.length + 8);
      if (enough !== undefined) expect(enough.equals(block)).toBe(true);
      for (const limit of [0, 1, 5, 16, block.length >> 1, block.length - 1]) {
        expect(lz4.compress(plain, limit), `${kind}, limit ${limit}`).toBeUndefined();
      }
    }
    const text = makeData('text', 4096, 7);
    expect(lz4.compress(text, lz4.compress(text, compressBound(4096))!.length + 8)).toBeDefined();
  });

  test('reads nothing outside the input', () => {
    for (const kind of DATA_KINDS) {
      for (const length of [1, 4, 11, 12, 13, 14, 15, 16, 17, 27, 28, 29, 100, 4096, 65536]) {
        const plain = makeData(kind, length, length);
        const block = lz4.compress(plain, compressBound(length), 'source')!;
        expect(lz4Reference(block).equals(plain), `${kind} ${length}`).toBe(true);
      }
    }
  });

  test('the lz4 tool reads them', () => {
    for (const kind of DATA_KINDS) {
      const plain = makeData(kind, 60_000, 9);
      const block = lz4.compress(plain, compressBound(plain.length))!;
      const { stdout, status } = spawnSync('lz4', ['-d', '-c', '-q'], { input: lz4Frame(block) });
      expect(status).toBe(0);
      expect(stdout.equals(plain)).toBe(true);
    }
  });
});

describe('hostile LZ4 input', () => {
  test('any bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 2000 }), (block, capacity) => {
        lz4.agreesWithReference(Buffer.from(block), capacity);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['nothing', []],
    ['a match and no literals after it', [0x10, 0x41, 1, 0]],
    ['literals cut short', [0x50, 1, 2, 3]],
    ['offset zero', [0x14, 0x41, 0, 0, 0x50, 1, 2, 3, 4, 5]],
    ['an offset before the block', [0x14, 0x41, 2, 0, 0x50, 1, 2, 3, 4, 5]],
    ['half an offset', [0x14, 0x41, 1]],
    ['a literal length without end', [0xf0, 255, 255, 255]],
    ['a match length without end', [0x1f, 0x41, 1, 0, 255, 255]],
    ['a match beyond the output', [0x1f, 0x41, 1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0x10, 1]],
  ])('%s is refused', (_name, block) => {
    for (const atEnd of ['source', 'target'] as const) {
      expect(lz4.decompress(Buffer.from(block), 1024, atEnd)).toBeUndefined();
    }
  });
});
