/** The kernels alone, and inputs for them. */

import { readFileSync } from 'node:fs';
import { compileKernels, instantiateKernels, type Kernels } from '../../../node-agent/codec/kernels.js';

export async function loadKernels(): Promise<Kernels> {
  return instantiateKernels(await compileKernels());
}

/** One object per line of a file in fixtures/. */
export function fixture<Row>(name: string): Row[] {
  const text = readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
}

/** The input of xxHash's own sanity tests. */
export function sanityBuffer(length: number): Buffer {
  const buffer = Buffer.alloc(length);
  let state = 2654435761n;
  for (let i = 0; i < length; i++) {
    buffer[i] = Number(state >> 56n);
    state = (state * 11400714785074694797n) & 0xffffffffffffffffn;
  }
  return buffer;
}

/** A small generator with a seed (xorshift32), for data that must be the same in every run. */
export function seeded(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export type DataKind = 'text' | 'pages' | 'noise' | 'zeroes' | 'runs';
export const DATA_KINDS: readonly DataKind[] = ['text', 'pages', 'noise', 'zeroes', 'runs'];

/** Data of a kind that volumes hold. */
export function makeData(kind: DataKind, length: number, seed = 1): Buffer {
  const random = seeded(seed);
  const out = Buffer.alloc(length);
  if (kind === 'noise') for (let i = 0; i < length; i++) out[i] = random() * 256;
  if (kind === 'text') {
    const words = Array.from({ length: 200 }, () =>
      Array.from({ length: 2 + random() * 9 }, () => 'etaoinshrdlucmfw'[Math.floor(random() * 16)]).join(''),
    );
    for (let at = 0; at < length; ) at += out.write(`${words[Math.floor(random() ** 2 * 200)]} `, at) || length;
  }
  if (kind === 'pages') {
    for (let at = 0; at + 32 <= length; at += 32) {
      out.writeUInt32LE(at >>> 5, at);
      out.writeUInt32LE(random() * 1000, at + 4);
      out.write('row', at + 8);
      out.writeUInt32LE(random() * 2 ** 32, at + 20);
    }
  }
  if (kind === 'runs') {
    for (let at = 0; at < length; ) {
      const period = 1 + Math.floor(random() * 20);
      const end = Math.min(length, at + 1 + Math.floor(random() * 600));
      for (let i = at; i < end; i++) out[i] = i - at < period ? random() * 256 : out[i - period]!;
      at = end;
    }
  }
  return out;
}
