// The module's exports: the block codec for the I/O path, the kernels alone for tests and measurements, and the
// layout of the memory, which has MEMORY_BYTES from the start to the end (asconfig.json says so, in pages).

export { encode, seal, check, decode, firstBad, stage, unstage } from './block-codec';
export { COMPRESS, ENCRYPTED, CIPHER_OUTSIDE } from './block-codec';
export { GOOD, BAD_CHECKSUM, BAD_COMPRESSED, BAD_LENGTH, BAD_ENTRY } from './block-codec';
export { expandKeys, wipeKeys } from './xts';
export { compress as lz4Compress, decompress as lz4Decompress } from './lz4';
export {
  VOLUME_ID,
  RESULT,
  KEY,
  DATA_KEYS,
  KEYS_BYTES,
  HASH_TABLE,
  HASH_TABLE_BYTES,
  ENTRIES,
  ENTRIES_BYTES,
  BLOCK,
  BLOCK_BYTES,
  PLAIN,
  PLAIN_BYTES,
  STORED,
  STORED_BYTES,
  MEMORY_BYTES,
} from './memory';

import { hash } from './xxh3';
import { decryptUnit, encryptUnit, makeTweaks, setUnitNumber } from './xts';
import { RESULT } from './memory';

/** XXH3-64, the seed in two halves; the hash is written to RESULT. */
export function xxh3(input: usize, length: usize, seedLow: u32, seedHigh: u32): void {
  store<u64>(RESULT, hash(input, length, (<u64>seedHigh << 32) | <u64>seedLow));
}

/** XTS-AES-256 with the expanded keys; the 128-bit data unit number is at RESULT. */
export function xtsEncrypt(source: usize, target: usize, length: usize): void {
  setUnitNumber(0, load<u64>(RESULT), load<u64>(RESULT, 8));
  makeTweaks();
  encryptUnit(source, target, length, 0);
}

export function xtsDecrypt(source: usize, target: usize, length: usize): void {
  setUnitNumber(0, load<u64>(RESULT), load<u64>(RESULT, 8));
  makeTweaks();
  decryptUnit(source, target, length, 0);
}
