import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { VolumeId } from '../../../core/types.js';
import {
  type CipherEngine,
  type Codec,
  CodecError,
  loadCodec,
  type VolumeCodec,
} from '../../../node-agent/codec/index.js';
import { compileKernels } from '../../../node-agent/codec/kernels.js';
import { CodecPool } from '../../../node-agent/codec/pool.js';
import { PooledVolumeCodec } from '../../../node-agent/codec/pooled-codec.js';
import { openVolumeCodec } from '../../../node-agent/codec/volume-codec.js';
import { Workspace } from '../../../node-agent/codec/workspace.js';
import { makeData } from './harness.js';

const VOLUME = '6f0c4f1e-52a0-4d9c-9d2b-2f3f6a7b8c9d' as VolumeId;
const BLOCK = 4096;
const OFFLOAD = 32 * BLOCK;

function request(blocks: number, seed: number): Buffer {
  const half = Math.ceil(blocks / 2) * BLOCK;
  return Buffer.concat([makeData('text', half, seed), makeData('noise', blocks * BLOCK - half, seed)]);
}

describe.each<CipherEngine>(['wasm', 'native'])('worker threads, engine %s', (engine) => {
  let pool: CodecPool;
  let workspace: Workspace;
  beforeAll(async () => {
    const module = await compileKernels();
    workspace = new Workspace(module);
    pool = new CodecPool(module, engine, 2);
  });
  afterAll(() => pool.end());

  function open(workers = pool, here = workspace): VolumeCodec {
    const options = { volume: VOLUME, blockSize: BLOCK, compress: true, key: randomBytes(64) };
    const codec = openVolumeCodec(here, engine, options);
    return new PooledVolumeCodec(codec, { workers, volume: workers.open(options) }, OFFLOAD, () => undefined);
  }

  test('the same bytes as without them', async () => {
    const volume = open();
    for (const blocks of [1, 31, 32, 100, 256]) {
      const plain = request(blocks, blocks);
      const batch = await volume.encodeAsync(plain, 7);
      const here = volume.encode(plain, 7);
      expect(batch.entries.equals(here.entries) && batch.payload.equals(here.payload)).toBe(true);
      const back = Buffer.alloc(plain.length);
      await volume.decodeAsync(batch, 7, back);
      expect(back.equals(plain)).toBe(true);
    }
    volume.close();
  });

  test('calls of a volume resolve in their order, whatever their size', async () => {
    const volume = open();
    const order: number[] = [];
    const plains = Array.from({ length: 24 }, (_, i) => request(i % 3 === 0 ? 200 : i % 3 === 1 ? 1 : 40, i));
    await Promise.all(
      plains.map(async (plain, i) => {
        const batch = await volume.encodeAsync(plain, i * 256);
        order.push(i);
        const back = Buffer.alloc(plain.length);
        volume.decode(batch, i * 256, back);
        expect(back.equals(plain)).toBe(true);
      }),
    );
    expect(order).toEqual(plains.map((_, i) => i));
    volume.close();
  });

  test('damage is told as without them', async () => {
    const volume = open();
    const plain = request(64, 1);
    const batch = volume.encode(plain, 100);
    batch.payload[batch.payload.length - 1]! ^= 1;
    const into = Buffer.alloc(plain.length, 9);
    const error = await volume.decodeAsync(batch, 100, into).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CodecError);
    expect(error).toMatchObject({ kind: 'checksum', block: 163 });
    expect(into.every((byte) => byte === 9)).toBe(true);
    await expect(volume.encodeAsync(Buffer.alloc(OFFLOAD + 1), 0)).rejects.toThrow(RangeError);
    await expect(volume.encodeAsync(Buffer.alloc(2 << 20), 0)).rejects.toThrow(RangeError);
    await expect(volume.encodeAsync(plain, -1)).rejects.toThrow(RangeError);
    volume.close();
  });

  test('more requests than there are slots', async () => {
    const volumes = [open(), open(), open()];
    const plain = request(50, 3);
    const batches = await Promise.all(
      volumes.flatMap((volume) => Array.from({ length: 20 }, (_, i) => volume.encodeAsync(plain, i))),
    );
    expect(batches.length).toBe(60);
    const back = Buffer.alloc(plain.length);
    volumes[1]!.decode(batches[25]!, 5, back);
    expect(back.equals(plain)).toBe(true);
    for (const volume of volumes) volume.close();
  });

  test('closing rejects what is unfinished', async () => {
    const volume = open();
    const unfinished = [volume.encodeAsync(request(256, 1), 0), volume.encodeAsync(request(1, 1), 0)];
    volume.close();
    volume.close();
    const outcomes = await Promise.allSettled(unfinished);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(volume.encodeAsync(request(64, 1), 0)).rejects.toThrow('closed');
  });

  test('closing gives back what was encoded here and nobody gets', async () => {
    const module = await compileKernels();
    const mortal = new CodecPool(module, engine, 1);
    const shared = new Workspace(module, 4 << 20);
    const volume = open(mortal, shared);
    const unfinished = [volume.encodeAsync(request(256, 1), 0), volume.encodeAsync(makeData('noise', 8 * BLOCK, 1), 0)];
    expect(shared.freeBytes).toBeLessThan(shared.totalBytes);
    volume.close();
    const outcomes = await Promise.allSettled(unfinished);
    await mortal.end();
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(shared.freeBytes).toBe(shared.totalBytes);
  });

  test('without its workers the caller does the work', async () => {
    const mortal = new CodecPool(await compileKernels(), engine, 1);
    const volume = open(mortal);
    const plain = request(64, 2);
    const unfinished = volume.encodeAsync(plain, 3);
    await mortal.end();
    const back = Buffer.alloc(plain.length);
    volume.decode(await unfinished, 3, back);
    expect(back.equals(plain)).toBe(true);
    volume.decode(await volume.encodeAsync(plain, 4), 4, back);
    expect(back.equals(plain)).toBe(true);
    volume.close();
  });
});

describe('loadCodec with workers', () => {
  let codec: Codec;
  beforeAll(async () => {
    codec = await loadCodec({ workers: 1 });
  });
  afterAll(() => codec.close());

  test('measures from where they are worth it', async () => {
    const { offloadBytes } = codec;
    expect(offloadBytes).toBeGreaterThanOrEqual(16 * 1024);
    const volume = codec.openVolume({ volume: VOLUME, blockSize: BLOCK, compress: true });
    const plain = request(256, 5);
    const back = Buffer.alloc(plain.length);
    await volume.decodeAsync(await volume.encodeAsync(plain, 1), 1, back);
    expect(back.equals(plain)).toBe(true);
    volume.close();
  });

  test('none by default, and not any number', async () => {
    expect((await loadCodec({ engine: 'wasm' })).offloadBytes).toBe(Number.POSITIVE_INFINITY);
    await expect(loadCodec({ workers: 17 })).rejects.toThrow(RangeError);
    await expect(loadCodec({ workers: 0.5 })).rejects.toThrow(RangeError);
  });
});
