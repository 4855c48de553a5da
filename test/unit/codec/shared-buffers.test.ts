/** The codec on memory that sockets and files use, too: same bytes, no copy, and everything is given back. */

import { randomBytes } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Batch, release, retain } from '../../../core/record.js';
import type { VolumeId } from '../../../core/types.js';
import { NativeAes } from '../../../node-agent/codec/cipher.js';
import {
  type CipherEngine,
  CodecError,
  DEFAULT_IO_MEMORY_BYTES,
  loadCodec,
  type SyncVolumeCodec,
} from '../../../node-agent/codec/index.js';
import { compileKernels } from '../../../node-agent/codec/kernels.js';
import { openVolumeCodec } from '../../../node-agent/codec/volume-codec.js';
import { Workspace } from '../../../node-agent/codec/workspace.js';
import { DATA_KINDS, makeData } from './harness.js';

const VOLUME = '6f0c4f1e-52a0-4d9c-9d2b-2f3f6a7b8c9d' as VolumeId;
const BLOCK = 4096;
const MEMORY_BYTES = 4 << 20;

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileKernels();
});

afterEach(() => {
  vi.restoreAllMocks();
});

function mixture(blocks: number, seed: number): Buffer {
  return Buffer.concat(
    Array.from({ length: blocks }, (_, i) => makeData(DATA_KINDS[(i + seed) % DATA_KINDS.length]!, BLOCK, seed + i)),
  );
}

test.each(['auto', 'wasm', 'native'] as const)(
  'choosing the engine (%s) gives back what it measured with',
  async (engine) => {
    const { memory, close } = await loadCodec({ engine });
    expect(memory.totalBytes).toBe(DEFAULT_IO_MEMORY_BYTES);
    expect(memory.freeBytes).toBe(memory.totalBytes);
    await close();
  },
);

test('an encryption that fails gives back its memory, and leaves no plain text behind the volume', () => {
  const workspace = new Workspace(module, MEMORY_BYTES);
  const key = randomBytes(64);
  const codec = openVolumeCodec(workspace, 'native', { volume: VOLUME, blockSize: BLOCK, compress: true, key });
  vi.spyOn(NativeAes.prototype, 'transform').mockImplementation(() => {
    throw new Error('no cipher');
  });
  const plain = randomBytes(8 * BLOCK);
  expect(() => codec.encode(plain, 0)).toThrow('no cipher');
  expect(workspace.freeBytes).toBe(workspace.totalBytes);
  codec.close();
  expect(Buffer.from(workspace.kernels.bytes.buffer).includes(plain.subarray(100, 164))).toBe(false);
});

describe.each<{ engine: CipherEngine; encrypted: boolean }>([
  { engine: 'wasm', encrypted: true },
  { engine: 'native', encrypted: true },
  { engine: 'wasm', encrypted: false },
])('engine $engine, encrypted: $encrypted', ({ engine, encrypted }) => {
  const key = randomBytes(64);
  const open = (workspace: Workspace): SyncVolumeCodec =>
    openVolumeCodec(workspace, engine, {
      volume: VOLUME,
      blockSize: BLOCK,
      compress: true,
      ...(encrypted && { key }),
    });

  /** What a codec makes of it that shares no memory with anybody. */
  const reference = (plain: Buffer, first: number): Batch => open(new Workspace(module)).encode(plain, first);

  test.each([1, 4, 5, 32, 256])(
    '%i blocks from the window, from a region, at odd addresses: the same bytes',
    (blocks) => {
      const workspace = new Workspace(module, MEMORY_BYTES);
      const codec = open(workspace);
      const { freeBytes } = workspace.arena;
      for (const shift of [0, 1, 7]) {
        const plain = mixture(blocks, blocks + shift);
        const expected = reference(plain, 9);
        const region = workspace.arena.take(plain.length + shift, 'plain')!;
        const places = [plain, region.bytes.subarray(shift)];
        if (plain.length + shift <= workspace.window.length)
          places.push(workspace.window.subarray(shift, shift + plain.length));
        for (const place of places) {
          plain.copy(place);
          const batch = codec.encode(place, 9);
          expect(batch.entries.equals(expected.entries) && batch.payload.equals(expected.payload)).toBe(true);
          // Payloads stay where they were made, unless long ones have become short.
          const stays = plain.length < 16 * 1024 || expected.payload.length >= 16 * 1024;
          expect(batch.lease !== undefined).toBe(stays);
          expect(workspace.reach(batch.payload) !== undefined).toBe(stays);
          expect(place.equals(plain)).toBe(true);
          release(batch);
        }
        region.release();
      }
      expect(workspace.arena.freeBytes).toBe(freeBytes);
    },
  );

  test.each([1, 5, 64])('%i blocks are decoded from and to any memory', (blocks) => {
    const workspace = new Workspace(module, MEMORY_BYTES);
    const codec = open(workspace);
    const plain = mixture(blocks, 3);
    const { entries, payload } = reference(plain, 5);
    for (const shift of [0, 5]) {
      const stored = workspace.arena.take(payload.length + shift, 'stored')!;
      const target = workspace.arena.take(plain.length + shift, 'plain')!;
      for (const shared of [false, true]) {
        for (const into of [Buffer.alloc(plain.length), target.bytes.subarray(shift, shift + plain.length)]) {
          const bytes = stored.bytes.subarray(shift);
          payload.copy(bytes);
          into.fill(0xee);
          const batch = { entries, payload: bytes, lease: stored };
          if (shared) retain(batch);
          codec.decode(batch, 5, into);
          expect(into.equals(plain)).toBe(true);
          // Others still read what was stored.
          if (shared || !encrypted) expect(bytes.equals(payload)).toBe(true);
          if (shared) release(batch);
        }
      }
      stored.release();
      target.release();
    }
    expect(workspace.arena.freeBytes).toBe(workspace.arena.totalBytes);
  });

  test('blocks that are stored at full length are decoded where they lie, unless others would see it', () => {
    const workspace = new Workspace(module, MEMORY_BYTES);
    const codec = open(workspace);
    const plain = randomBytes(8 * BLOCK);
    const { length } = plain;
    const batch = codec.encode(plain, 7);
    const stored = Buffer.from(batch.payload);

    retain(batch);
    const besideOthers = codec.decodeInPlace(batch, 7, length);
    if (encrypted) expect(besideOthers).toBeUndefined();
    else expect(besideOthers?.equals(plain)).toBe(true);
    expect(batch.payload.equals(stored)).toBe(true);
    release(batch);

    const ordinary = { entries: batch.entries, payload: stored };
    expect(codec.decodeInPlace(ordinary, 7, length)).toBeUndefined();
    expect(codec.decodeInPlace(batch, 7, length - BLOCK)).toBeUndefined();
    expect(() => codec.decodeInPlace(batch, 8, length)).toThrow(CodecError);
    expect(codec.decodeInPlace(batch, 7, length)?.equals(plain)).toBe(true);
    release(batch);

    const damaged = codec.encode(plain, 7);
    damaged.payload[5 * BLOCK]! ^= 1;
    expect(() => codec.decodeInPlace(damaged, 7, length)).toThrow(/block 12/);
    release(damaged);
    for (const other of [Buffer.alloc(length), mixture(8, 1)]) {
      const short = codec.encode(other, 0);
      expect(codec.decodeInPlace(short, 0, length)).toBeUndefined();
      release(short);
    }
    expect(workspace.arena.freeBytes).toBe(workspace.arena.totalBytes);
    codec.close();
  });

  test('without room the bytes are copied, and are the same', () => {
    const workspace = new Workspace(module, MEMORY_BYTES);
    const codec = open(workspace);
    const plain = mixture(64, 2);
    const expected = reference(plain, 0);
    const all = workspace.arena.take(workspace.arena.totalBytes, 'stored')!;
    const batch = codec.encode(plain, 0);
    expect(batch.lease).toBeUndefined();
    expect(batch.entries.equals(expected.entries) && batch.payload.equals(expected.payload)).toBe(true);
    all.release();
    expect(codec.encode(plain, 0).lease).toBeDefined();
  });

  test('a batch stays what it was until it is released', () => {
    const workspace = new Workspace(module, MEMORY_BYTES);
    const codec = open(workspace);
    const plains = Array.from({ length: 12 }, (_, i) => mixture(32, i));
    const batches = plains.map((plain, i) => codec.encode(plain, i * 32));
    const back = Buffer.alloc(32 * BLOCK);
    for (const [i, batch] of batches.entries()) {
      codec.decode(batch, i * 32, back);
      expect(back.equals(plains[i]!)).toBe(true);
      release(batch);
    }
    expect(workspace.arena.freeBytes).toBe(workspace.arena.totalBytes);
  });

  test('what cannot be decoded is told apart there, too, and the memory is not lost', () => {
    const workspace = new Workspace(module, MEMORY_BYTES);
    const codec = open(workspace);
    const batch = codec.encode(mixture(32, 1), 4);
    batch.payload[100]! ^= 1;
    expect(() => codec.decode(batch, 4, Buffer.alloc(32 * BLOCK))).toThrow(CodecError);
    release(batch);
    expect(workspace.arena.freeBytes).toBe(workspace.arena.totalBytes);
  });

  test('closing the volume leaves no plain text in shared memory', () => {
    const workspace = new Workspace(module, MEMORY_BYTES);
    const codec = open(workspace);
    const plain = randomBytes(16 * BLOCK);
    const received = workspace.take(plain.length, 'plain')!;
    plain.copy(received.bytes);
    plain.copy(workspace.window, 100);
    const batch = codec.encode(received.bytes, 0);
    const decoded = workspace.take(plain.length, 'plain')!;
    codec.decode(batch, 0, decoded.bytes);
    received.release();
    decoded.release();
    release(batch);
    const memory = Buffer.from(workspace.kernels.bytes.buffer);
    expect(memory.includes(plain.subarray(0, 64))).toBe(true);
    codec.close();
    if (encrypted)
      for (let at = 0; at < plain.length; at += BLOCK) expect(memory.includes(plain.subarray(at, at + 64))).toBe(false);
  });

  test('neighbours are not touched, on either side of what a call is given', () => {
    const workspace = new Workspace(module, MEMORY_BYTES);
    const codec = open(workspace);
    const all = workspace.arena.take(workspace.arena.totalBytes, 'stored')!;
    for (const blocks of [1, 5, 33]) {
      for (const gap of [0, 1, 16, 40]) {
        const plain = mixture(blocks, blocks + gap);
        const { entries, payload } = reference(plain, 5);
        all.bytes.fill(0xee);
        const stored = all.bytes.subarray(64 + gap, 64 + gap + payload.length);
        const at = (1 << 20) + gap;
        const into = all.bytes.subarray(at, at + plain.length);
        payload.copy(stored);
        codec.decode({ entries, payload: stored, lease: all }, 5, into);
        expect(into.equals(plain)).toBe(true);
        stored.fill(0xee);
        into.fill(0xee);
        expect(all.bytes.every((byte) => byte === 0xee)).toBe(true);
      }
    }
    all.release();
  });
});
