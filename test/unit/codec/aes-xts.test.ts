import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Kernels } from '../../../node-agent/codec/kernels.js';
import { fixture, loadKernels } from './harness.js';

let kernels: Kernels;
beforeAll(async () => {
  kernels = await loadKernels();
});

function setKey(key: Buffer): number {
  kernels.bytes.set(key, kernels.at.KEY);
  return kernels.call.expandKeys();
}

/** One data unit at an odd address, with what is around it checked. */
function transform(direction: 'encrypt' | 'decrypt', data: Buffer, tweak: Buffer): Buffer {
  const { at, bytes, call } = kernels;
  const start = at.PLAIN + 3;
  const end = start + data.length;
  bytes.fill(0x5c, at.PLAIN, end + 64);
  bytes.set(data, start);
  bytes.set(tweak, at.RESULT);
  call.xts(start, data.length, direction === 'decrypt' ? 1 : 0);
  expect([...bytes.subarray(at.PLAIN, start), ...bytes.subarray(end, end + 64)].every((b) => b === 0x5c)).toBe(true);
  return Buffer.from(bytes.subarray(start, end));
}

const hex = (text: string) => Buffer.from(text, 'hex');

describe('XTS-AES-256', () => {
  // IEEE 1619-2007, annex B, vectors 10 to 14: 512 bytes 00 01 02 …, one key, rising data unit numbers.
  const ieeeKey = hex(
    '27182818284590452353602874713526624977572470936999595749669676273141592653589793238462643383279502884197169399375105820974944592',
  );
  const ieeePlain = Buffer.from(Array.from({ length: 512 }, (_, i) => i & 0xff));
  test.each([
    ['ff', '1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b5d31e276f8fe4a8d66b317f9ac683f44'],
    ['ffff', '77a31251618a15e6b92d1d66dffe7b50b50bad552305ba0217a610688eff7e11e1d0225438e093242d6db274fde801d4'],
    ['ffffff', 'e387aaa58ba483afa7e8eb469778317ecf4cf573aa9d4eac23f2cdf914e4e200a8b490e42ee646802dc6ee2b471b2781'],
    ['ffffffff', 'bf53d2dade78e822a4d949a9bc6766b01b06a8ef70d26748c6a7fc36d80ae4c5520f7c4ab0ac8544424fa405162fef5a'],
    ['ffffffffff', '64497e5a831e4a932c09be3e5393376daa599548b816031d224bbf50a818ed2350eae7e96087c8a0db51ad290bd00c1a'],
  ])('IEEE 1619, data unit %s', (unit, head) => {
    const tweak = Buffer.alloc(16);
    hex(unit).copy(tweak);
    expect(setKey(ieeeKey)).toBe(1);
    const stored = transform('encrypt', ieeePlain, tweak);
    expect(stored.toString('hex', 0, head.length / 2)).toBe(head);
    expect(transform('decrypt', stored, tweak).equals(ieeePlain)).toBe(true);
  });

  test('NIST CAVP XTSGenAES256', () => {
    const vectors = fixture<{ operation: string; key: string; tweak: string; plain: string; stored: string }>(
      'xts-nist.jsonl',
    );
    expect(vectors.length).toBe(120);
    for (const { operation, key, tweak, plain, stored } of vectors) {
      expect(setKey(hex(key))).toBe(1);
      if (operation === 'encrypt') expect(transform('encrypt', hex(plain), hex(tweak)).toString('hex')).toBe(stored);
      else expect(transform('decrypt', hex(stored), hex(tweak)).toString('hex')).toBe(plain);
    }
  });

  test('equals OpenSSL for every length, both ways', () => {
    const lengths = Array.from({ length: 320 - 16 }, (_, i) => i + 16).concat([4095, 4096, 4097, 16384, 65535, 65536]);
    for (const length of lengths) {
      const key = randomBytes(64);
      const tweak = randomBytes(16);
      const plain = randomBytes(length);
      const stored = createCipheriv('aes-256-xts', key, tweak).update(plain);
      expect(createDecipheriv('aes-256-xts', key, tweak).update(stored).equals(plain)).toBe(true);
      setKey(key);
      expect(transform('encrypt', plain, tweak).equals(stored), `encrypt ${length}`).toBe(true);
      expect(transform('decrypt', stored, tweak).equals(plain), `decrypt ${length}`).toBe(true);
    }
  });

  test('refuses a key with two equal halves and leaves no key behind', () => {
    const half = randomBytes(32);
    const { at, bytes, call } = kernels;
    expect(setKey(Buffer.concat([half, half]))).toBe(0);
    expect(bytes.subarray(at.KEY, at.KEY + 64).every((byte) => byte === 0)).toBe(true);
    const other = Buffer.from(half);
    other[31]! ^= 1;
    expect(setKey(Buffer.concat([half, other]))).toBe(1);
    call.wipeKeys();
    expect(bytes.subarray(at.KEY, at.KEY + 64).every((byte) => byte === 0)).toBe(true);
    expect(
      bytes
        .subarray(at.DATA_KEYS, at.HASH_TABLE)
        .subarray(0, 2 * at.KEYS_BYTES)
        .every((b) => b === 0),
    ).toBe(true);
  });
});
