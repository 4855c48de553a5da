import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { VolumeId } from '../../../core/types.js';
import { compileKernels } from '../../../node-agent/codec/kernels.js';
import { openVolumeCodec } from '../../../node-agent/codec/volume-codec.js';
import { Workspace } from '../../../node-agent/codec/workspace.js';

const VOLUME = '6f0c4f1e-52a0-4d9c-9d2b-2f3f6a7b8c9d' as VolumeId;
const ALL_KEYS = 2;

describe.each(['wasm', 'native'] as const)('a closed volume, engine %s', (engine) => {
  test('leaves neither key nor plain text in the memory of the kernels', async () => {
    const workspace = new Workspace(await compileKernels());
    const { at, bytes } = workspace.kernels;
    const memory = Buffer.from(bytes.buffer);
    const options = { volume: VOLUME, blockSize: 4096, compress: true };
    const key = randomBytes(64);
    const other = openVolumeCodec(workspace, engine, { ...options, key: randomBytes(64) });
    const codec = openVolumeCodec(workspace, engine, { ...options, key });
    const plain = randomBytes(4096);
    const batch = codec.encode(plain, 0);
    codec.decode(batch, 0, Buffer.alloc(4096));
    const keys = memory.subarray(at.DATA_KEYS, at.DATA_KEYS + ALL_KEYS * at.KEYS_BYTES);
    expect(keys.every((byte) => byte === 0)).toBe(false);
    expect(memory.includes(plain.subarray(0, 16))).toBe(true);
    codec.close();
    expect(keys.every((byte) => byte === 0)).toBe(true);
    for (const secret of [plain.subarray(0, 16), key.subarray(0, 16), key.subarray(32, 48)]) {
      expect(memory.includes(secret)).toBe(false);
    }
    // The other volume's expanded key comes back with its turn.
    const back = Buffer.alloc(4096);
    other.decode(other.encode(plain, 9), 9, back);
    expect(back.equals(plain)).toBe(true);
  });
});
