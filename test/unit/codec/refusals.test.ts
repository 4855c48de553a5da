/**
 * Wrong sizes, offsets, keys and overlapping buffers are refused by every entry of the codec with a typed error, and
 * before a byte of anything is written: neither of the caller's buffers nor of the kernels' memory.
 */

import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Batch, ENTRY_BYTES, MAX_BATCH_ENTRIES, MAX_BATCH_PAYLOAD_BYTES } from '../../../core/record.js';
import type { VolumeId } from '../../../core/types.js';
import { KernelChecksums } from '../../../node-agent/codec/checksums.js';
import { NativeAes } from '../../../node-agent/codec/cipher.js';
import {
  type CipherEngine,
  CodecClosedError,
  CodecError,
  type CodecOptions,
  loadCodec,
  MAX_CODEC_WORKERS,
  MAX_IO_MEMORY_BYTES,
  type SyncVolumeCodec,
} from '../../../node-agent/codec/index.js';
import { compileKernels, instantiateKernels, MAX_EXTRA_BYTES } from '../../../node-agent/codec/kernels.js';
import { openVolumeCodec } from '../../../node-agent/codec/volume-codec.js';
import { Workspace } from '../../../node-agent/codec/workspace.js';

const VOLUME = '6f0c4f1e-52a0-4d9c-9d2b-2f3f6a7b8c9d' as VolumeId;
const BLOCK = 4096;
const UNTOUCHED = 0x5a;

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileKernels();
});

/** Runs `call`, which has to throw `error` and leave the workspace and all of `buffers` as they are. */
function refuses(
  workspace: Workspace,
  buffers: readonly Uint8Array[],
  error: abstract new (...args: never[]) => Error,
  call: () => unknown,
): void {
  const memory = Buffer.from(workspace.kernels.bytes.buffer);
  const before = Buffer.from(memory);
  const copies = buffers.map((buffer) => Buffer.from(buffer));
  const { freeBytes } = workspace.arena;
  expect(call).toThrow(error);
  expect(memory.equals(before)).toBe(true);
  for (const [i, buffer] of buffers.entries()) expect(copies[i]!.equals(buffer)).toBe(true);
  expect(workspace.arena.freeBytes).toBe(freeBytes);
}

describe.each<CipherEngine | 'none'>(['wasm', 'native', 'none'])('engine %s', (engine) => {
  function open(): { workspace: Workspace; codec: SyncVolumeCodec } {
    const workspace = new Workspace(module, 1 << 20);
    const codec = openVolumeCodec(workspace, engine === 'none' ? 'wasm' : engine, {
      volume: VOLUME,
      blockSize: BLOCK,
      compress: true,
      ...(engine !== 'none' && { key: randomBytes(64) }),
    });
    // So that nothing is set up for the first time by the calls that are looked at.
    codec.encode(Buffer.alloc(BLOCK), 0);
    return { workspace, codec };
  }

  test('encode: lengths', () => {
    const { workspace, codec } = open();
    for (const length of [0, 1, BLOCK - 1, BLOCK + 1, MAX_BATCH_PAYLOAD_BYTES + BLOCK]) {
      const plain = randomBytes(length);
      refuses(workspace, [plain], RangeError, () => codec.encode(plain, 0));
    }
  });

  test('encode: block numbers', () => {
    const { workspace, codec } = open();
    const plain = randomBytes(2 * BLOCK);
    for (const first of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 2 ** 53 - 2]) {
      refuses(workspace, [plain], RangeError, () => codec.encode(plain, first));
    }
  });

  test("encode: a buffer in the kernels' own memory, which the call would overwrite", () => {
    const { workspace, codec } = open();
    const { at, bytes } = workspace.kernels;
    for (const offset of [0, at.KEY, at.ENTRIES, at.PLAIN, at.STORED, at.MEMORY_BYTES - BLOCK]) {
      const plain = Buffer.from(bytes.buffer, offset, BLOCK);
      refuses(workspace, [], RangeError, () => codec.encode(plain, 0));
    }
  });

  test('decode: lengths and block numbers', () => {
    const { workspace, codec } = open();
    const batch = codec.encode(randomBytes(BLOCK), 3);
    for (const length of [0, 100, BLOCK + 1, MAX_BATCH_PAYLOAD_BYTES + BLOCK]) {
      const into = Buffer.alloc(length, UNTOUCHED);
      refuses(workspace, [into], RangeError, () => codec.decode(batch, 3, into));
    }
    const into = Buffer.alloc(BLOCK, UNTOUCHED);
    for (const first of [-1, 0.5, Number.NaN, 2 ** 53]) {
      refuses(workspace, [into], RangeError, () => codec.decode(batch, first, into));
    }
  });

  test('decode: what is no batch', () => {
    const { workspace, codec } = open();
    const { entries, payload } = codec.encode(randomBytes(BLOCK), 3);
    const into = Buffer.alloc(BLOCK, UNTOUCHED);
    const bad: Batch[] = [
      { entries: entries.subarray(1), payload },
      { entries: Buffer.concat([entries, entries.subarray(0, 5)]), payload },
      { entries: Buffer.alloc((MAX_BATCH_ENTRIES + 1) * ENTRY_BYTES), payload },
      { entries, payload: Buffer.alloc(MAX_BATCH_PAYLOAD_BYTES + 1) },
    ];
    for (const batch of bad) refuses(workspace, [into], CodecError, () => codec.decode(batch, 3, into));
  });

  test('decode: overlapping buffers, in ordinary and in shared memory', () => {
    const { workspace, codec } = open();
    const { entries, payload } = codec.encode(randomBytes(BLOCK), 3);
    for (const memory of [Buffer.alloc(4 * BLOCK), workspace.window]) {
      const stored = memory.subarray(BLOCK, BLOCK + payload.length);
      payload.copy(stored);
      for (const offset of [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1]) {
        const into = memory.subarray(offset, offset + BLOCK);
        refuses(workspace, [memory], RangeError, () => codec.decode({ entries, payload: stored }, 3, into));
      }
      const table = memory.subarray(0, entries.length);
      entries.copy(table);
      const into = memory.subarray(0, BLOCK);
      refuses(workspace, [memory], RangeError, () => codec.decode({ entries: table, payload }, 3, into));
      // Side by side they do not overlap.
      codec.decode({ entries, payload: stored }, 3, memory.subarray(2 * BLOCK, 3 * BLOCK));
    }
  });

  test("decode: buffers in the kernels' own memory", () => {
    const { workspace, codec } = open();
    const { at, bytes } = workspace.kernels;
    const { entries, payload } = codec.encode(randomBytes(BLOCK), 3);
    const own = Buffer.from(bytes.buffer, at.PLAIN, BLOCK);
    refuses(workspace, [], RangeError, () => codec.decode({ entries, payload }, 3, own));
    const into = Buffer.alloc(BLOCK, UNTOUCHED);
    const stored = Buffer.from(bytes.buffer, at.STORED, payload.length);
    refuses(workspace, [into], RangeError, () => codec.decode({ entries, payload: stored }, 3, into));
  });

  test('a closed volume', () => {
    const { workspace, codec } = open();
    const batch = codec.encode(randomBytes(BLOCK), 3);
    codec.close();
    const into = Buffer.alloc(BLOCK, UNTOUCHED);
    refuses(workspace, [into], CodecClosedError, () => codec.encode(into, 3));
    refuses(workspace, [into], CodecClosedError, () => codec.decode(batch, 3, into));
  });
});

describe('set-up', () => {
  test('block sizes, keys and ids of volumes', () => {
    const workspace = new Workspace(module, 1 << 20);
    const options = { volume: VOLUME, blockSize: BLOCK, compress: true };
    for (const engine of ['wasm', 'native'] as const) {
      const refused = (changed: object): void => {
        refuses(workspace, [], RangeError, () => openVolumeCodec(workspace, engine, { ...options, ...changed }));
      };
      for (const blockSize of [0, -4096, 512, 4095, 4096.5, 5000, 131072, Number.NaN]) refused({ blockSize });
      for (const length of [0, 16, 32, 63, 65, 128, 8192]) refused({ key: randomBytes(length) });
      for (const volume of ['', 'v', VOLUME.slice(1), `${VOLUME}00`, 'not-a-uuid-at-all-but-of-its-length!!'])
        refused({ volume });
      // Two equal halves would make XTS insecure; the key was looked at in the kernels' memory, and erased there.
      expect(() => openVolumeCodec(workspace, engine, { ...options, key: Buffer.alloc(64, 7) })).toThrow(RangeError);
      expect(Buffer.from(workspace.kernels.bytes.buffer).includes(Buffer.alloc(64, 7))).toBe(false);
    }
  });

  test.each<CodecOptions>([
    { workers: -1 },
    { workers: 0.5 },
    { workers: MAX_CODEC_WORKERS + 1 },
    { memoryBytes: -1 },
    { memoryBytes: 0.5 },
    { memoryBytes: MAX_IO_MEMORY_BYTES + 1 },
  ])('options %o', async (options) => {
    await expect(loadCodec(options)).rejects.toBeInstanceOf(RangeError);
  });

  test('memory behind the kernels', () => {
    for (const bytes of [-1, 0.5, Number.NaN, MAX_EXTRA_BYTES + 1]) {
      expect(() => instantiateKernels(module, bytes)).toThrow(RangeError);
    }
  });
});

test('checksums: what is no batch', () => {
  const workspace = new Workspace(module, 1 << 20);
  const checksums = new KernelChecksums(workspace, VOLUME);
  checksums.bad({ entries: Buffer.alloc(0), payload: Buffer.alloc(0) });
  const own = Buffer.from(workspace.kernels.bytes.buffer, workspace.kernels.at.STORED, 10);
  const bad: Batch[] = [
    { entries: Buffer.alloc(ENTRY_BYTES + 1), payload: Buffer.alloc(0) },
    { entries: Buffer.alloc((MAX_BATCH_ENTRIES + 1) * ENTRY_BYTES), payload: Buffer.alloc(0) },
    { entries: Buffer.alloc(ENTRY_BYTES), payload: Buffer.alloc(MAX_BATCH_PAYLOAD_BYTES + 1) },
    { entries: Buffer.alloc(ENTRY_BYTES), payload: own },
  ];
  for (const batch of bad) {
    refuses(workspace, [], RangeError, () => checksums.bad(batch));
    refuses(workspace, [], RangeError, () => checksums.firstBad(batch));
  }
  expect(() => new KernelChecksums(workspace, 'v' as VolumeId)).toThrow(RangeError);
});

test("node:crypto's AES: keys and lengths", () => {
  for (const length of [0, 16, 31, 33, 64]) expect(() => new NativeAes(randomBytes(length))).toThrow(RangeError);
  const aes = new NativeAes(randomBytes(32));
  for (const length of [1, 15, 17, 4095]) {
    const blocks = Buffer.alloc(length, UNTOUCHED);
    for (const decrypting of [false, true]) expect(() => aes.transform(blocks, decrypting)).toThrow(RangeError);
    expect(blocks.every((byte) => byte === UNTOUCHED)).toBe(true);
  }
});
