import { beforeAll, describe, expect, test } from 'vitest';
import type { Kernels } from '../../../node-agent/codec/kernels.js';
import { fixture, loadKernels, sanityBuffer } from './harness.js';

let kernels: Kernels;
beforeAll(async () => {
  kernels = await loadKernels();
});

function xxh3(at: number, length: number, seed: string): string {
  kernels.call.xxh3(at, length, Number.parseInt(seed.slice(8), 16), Number.parseInt(seed.slice(0, 8), 16));
  return kernels.view.getBigUint64(kernels.at.RESULT, true).toString(16).padStart(16, '0');
}

describe('XXH3-64', () => {
  const vectors = fixture<{ length: number; seed: string; hash: string }>('xxh3.jsonl');
  const data = sanityBuffer(65536);

  test('equals libxxhash for all length classes and seeds', () => {
    kernels.bytes.set(data, kernels.at.PLAIN);
    const wrong = vectors.filter(({ length, seed, hash }) => xxh3(kernels.at.PLAIN, length, seed) !== hash);
    expect(vectors.length).toBeGreaterThan(800);
    expect(wrong).toEqual([]);
  });

  test('does not depend on alignment or on bytes outside', () => {
    const long = vectors.filter(({ length }) => length % 16 === 0 || length < 20);
    for (const offset of [1, 7, 15]) {
      for (const { length, seed, hash } of long) {
        const at = kernels.at.PLAIN + offset;
        kernels.bytes.fill(0xa5, at - 16, at + length + 16);
        kernels.bytes.set(data.subarray(0, length), at);
        expect(xxh3(at, length, seed), `length ${length} at offset ${offset}`).toBe(hash);
      }
    }
  });

  test('reads nothing behind the input', () => {
    for (const { length, seed, hash } of vectors) {
      const at = kernels.at.MEMORY_BYTES - length;
      kernels.bytes.set(data.subarray(0, length), at);
      expect(xxh3(at, length, seed), `length ${length}`).toBe(hash);
    }
  });
});
