// The module's exports: the block codec for the I/O path, the kernels alone for tests and measurements, and the
// layout of the memory, which the host makes, of MEMORY_BYTES or more, and which never grows.

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
  PLAIN,
  PLAIN_BYTES,
  STORED,
  STORED_BYTES,
  MEMORY_BYTES,
} from './memory';

/** Where the compiler's own constants end: below everything else. */
export const DATA_END: usize = __heap_base;

import { hash } from './xxh3';
import { finish, makeTweaks, setUnitNumber, stealUnit, transformUnit } from './xts';
import { RESULT } from './memory';

/** XXH3-64, the seed in two halves; the hash is written to RESULT. */
export function xxh3(input: usize, length: usize, seedLow: u32, seedHigh: u32): void {
  store<u64>(RESULT, hash(input, length, (<u64>seedHigh << 32) | <u64>seedLow));
}

/**
 * XTS-AES-256 of one data unit of at least 16 bytes, in place, with the expanded keys; its 128-bit number is at
 * RESULT.
 */
export function xts(at: usize, length: usize, decrypting: bool): void {
  setUnitNumber(0, load<u64>(RESULT), load<u64>(RESULT, 8));
  makeTweaks();
  transformUnit(at, length, 0, decrypting);
  finish(decrypting);
  stealUnit(at, length, 0, decrypting);
  finish(decrypting);
}
