import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Kernels } from '../../../node-agent/codec/kernels.js';
import { DATA_KINDS, fixture, loadKernels, makeData, seeded } from './harness.js';
import { lz4Frame, lz4Reference } from './lz4-reference.js';

let kernels: Kernels;
beforeAll(async () => {
  kernels = await loadKernels();
});

const POISON = 0xa7;

/**
 * Runs a kernel from one region to another that ends with the memory, so that the least step too far traps, and
 * checks that nothing but the target has changed. `atEnd` says which of the two it is.
 */
function guarded(
  input: Uint8Array,
  capacity: number,
  atEnd: 'source' | 'target',
  run: (source: number, target: number) => number,
): { outcome: number; output: Buffer } {
  const { at, bytes } = kernels;
  const source = atEnd === 'source' ? at.MEMORY_BYTES - input.length : at.PLAIN;
  const target = atEnd === 'target' ? at.MEMORY_BYTES - capacity : at.PLAIN + 0x40000;
  bytes.fill(POISON, at.BLOCK);
  bytes.set(input, source);
  const outcome = run(source, target);
  if (!bytes.subarray(source, source + input.length).every((byte, i) => byte === input[i])) {
    throw new Error('the source has changed');
  }
  const output = Buffer.from(bytes.subarray(target, target + capacity));
  bytes.fill(POISON, source, source + input.length);
  bytes.fill(POISON, target, target + capacity);
  const untouched = Buffer.alloc(at.MEMORY_BYTES - at.BLOCK, POISON);
  if (!untouched.equals(bytes.subarray(at.BLOCK))) throw new Error('bytes outside the target have changed');
  return { outcome, output };
}

function compress(plain: Uint8Array, limit: number, atEnd: 'source' | 'target' = 'target'): Buffer | undefined {
  const { outcome, output } = guarded(plain, limit, atEnd, (source, target) =>
    kernels.call.lz4Compress(source, plain.length, target, limit),
  );
  return outcome === 0 ? undefined : output.subarray(0, outcome);
}

/** Decompressed bytes, or undefined for a malformed stream. */
function decompress(block: Uint8Array, capacity: number, atEnd: 'source' | 'target' = 'target'): Buffer | undefined {
  const { outcome, output } = guarded(block, capacity, atEnd, (source, target) =>
    kernels.call.lz4Decompress(source, block.length, target, capacity),
  );
  return outcome < 0 ? undefined : output.subarray(0, outcome);
}

const bound = (length: number) => length + Math.floor(length / 255) + 16;

describe('LZ4 block format', () => {
  const blocks = fixture<{ name: string; length: number; sha256: string; fast: string; high: string }>('lz4.jsonl');

  test.each(blocks)('decompresses what liblz4 made: $name', ({ length, sha256, fast, high }) => {
    for (const block of [fast, high]) {
      for (const atEnd of ['source', 'target'] as const) {
        const plain = decompress(Buffer.from(block, 'base64'), length, atEnd);
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
          const block = compress(plain, bound(length))!;
          expect(block, `${kind} ${length}`).toBeDefined();
          expect(lz4Reference(block, { strict: true }).equals(plain), `${kind} ${length}`).toBe(true);
          expect(decompress(block, length)?.equals(plain), `${kind} ${length}`).toBe(true);
        }
      }
    }
  });

  test('a limit is kept exactly, and is enough', () => {
    for (const kind of DATA_KINDS) {
      const plain = makeData(kind, 4096, 7);
      const block = compress(plain, bound(4096))!;
      // A few bytes of slack: the compressor may ask for room before it knows whether it is needed.
      const enough = compress(plain, block.length + 8);
      if (enough !== undefined) expect(enough.equals(block)).toBe(true);
      for (const limit of [0, 1, 5, 16, block.length >> 1, block.length - 1]) {
        expect(compress(plain, limit), `${kind}, limit ${limit}`).toBeUndefined();
      }
    }
    const text = makeData('text', 4096, 7);
    expect(compress(text, compress(text, bound(4096))!.length + 8)).toBeDefined();
  });

  test('reads nothing outside the input', () => {
    for (const kind of DATA_KINDS) {
      for (const length of [1, 4, 11, 12, 13, 14, 15, 16, 17, 27, 28, 29, 100, 4096, 65536]) {
        const plain = makeData(kind, length, length);
        const block = compress(plain, bound(length), 'source')!;
        expect(lz4Reference(block).equals(plain), `${kind} ${length}`).toBe(true);
      }
    }
  });

  const lz4 = spawnSync('lz4', ['--version']);
  test.skipIf(lz4.error !== undefined)('the lz4 tool reads them', () => {
    for (const kind of DATA_KINDS) {
      const plain = makeData(kind, 60_000, 9);
      const block = compress(plain, bound(plain.length))!;
      const { stdout, status } = spawnSync('lz4', ['-d', '-c', '-q'], { input: lz4Frame(block) });
      expect(status).toBe(0);
      expect(stdout.equals(plain)).toBe(true);
    }
  });
});

describe('hostile LZ4 input', () => {
  test('cut, lengthened and garbled streams stay inside and give what the format says', () => {
    const random = seeded(Date.now());
    for (let round = 0; round < 400; round++) {
      const length = 1 + Math.floor(random() ** 3 * 6000);
      const kind = DATA_KINDS[round % DATA_KINDS.length]!;
      const block = Buffer.from(compress(makeData(kind, length, round + 1), bound(length))!);
      const damaged = damage(block, random);
      const capacity = Math.max(1, length + Math.floor((random() - 0.5) * 64));
      same(damaged, capacity);
    }
  });

  test('any bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 2000 }), (block, capacity) => {
        same(block, capacity);
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
      expect(decompress(Buffer.from(block), 1024, atEnd)).toBeUndefined();
    }
  });

  /** Kernel and reference agree on what is malformed and on the result, with either region at the memory's end. */
  function same(block: Uint8Array, capacity: number) {
    let expected: Buffer | undefined;
    try {
      expected = lz4Reference(Buffer.from(block), { capacity });
    } catch {
      expected = undefined;
    }
    for (const atEnd of ['source', 'target'] as const) {
      const got = decompress(block, capacity, atEnd);
      expect(got?.toString('hex')).toBe(expected?.toString('hex'));
    }
  }

  function damage(block: Buffer, random: () => number): Buffer {
    const pick = random();
    if (pick < 0.2) return block.subarray(0, Math.floor(random() * block.length));
    if (pick < 0.3) return Buffer.concat([block, Buffer.from([random() * 256, random() * 256])]);
    for (let i = 0; i <= random() * 4; i++) block[Math.floor(random() * block.length)] = random() * 256;
    return block;
  }
});
