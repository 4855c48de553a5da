// AES-256 key expansion (FIPS 197, 5.2) into the bitsliced form that the generated kernels take. No secret
// decides a branch or an address.

import { KEY_LAYOUT, substitute16 } from '../build/asm/aes-bitsliced';
import { XTS_SCRATCH } from './memory';

const ROUND_KEYS: usize = 15;
const KEY_WORDS: usize = 8;
const WORDS: usize = 4 * ROUND_KEYS;
/** The S-box circuit leaves this out; see circuits.mjs. */
const SBOX_CONSTANT: u32 = 0x63636363;

/** The expanded words, then 16 bytes for the S-box. */
const SCHEDULE: usize = XTS_SCRATCH;
const SBOX: usize = SCHEDULE + WORDS * 4;

function substituteWord(word: u32): u32 {
  v128.store(SBOX, i32x4(word, 0, 0, 0));
  substitute16(SBOX);
  return load<u32>(SBOX) ^ SBOX_CONSTANT;
}

/** Expands the 32-byte key at `key` to 15 x 8 planes at `target`. Zeroes its scratch. */
export function expandKey(key: usize, target: usize): void {
  memory.copy(SCHEDULE, key, KEY_WORDS * 4);
  let roundConstant: u32 = 1;
  for (let i = KEY_WORDS; i < WORDS; i++) {
    let word = load<u32>(SCHEDULE + 4 * (i - 1));
    if (i % KEY_WORDS === 0) {
      word = substituteWord(rotr<u32>(word, 8)) ^ roundConstant;
      roundConstant <<= 1;
    } else if (i % KEY_WORDS === 4) {
      word = substituteWord(word);
    }
    store<u32>(SCHEDULE + 4 * i, word ^ load<u32>(SCHEDULE + 4 * (i - KEY_WORDS)));
  }

  const zero = i64x2.splat(0);
  let plane = target;
  for (let round: usize = 0; round < ROUND_KEYS; round++) {
    let bytes = v128.swizzle(v128.load(SCHEDULE + 16 * round), v128.load(KEY_LAYOUT + 16 * round));
    if (round > 0) bytes = v128.xor(bytes, i32x4.splat(SBOX_CONSTANT));
    let bit = i8x16.splat(1);
    for (let b = 0; b < 8; b++) {
      v128.store(plane, i8x16.ne(v128.and(bytes, bit), zero));
      bit = i8x16.add(bit, bit);
      plane += 16;
    }
  }
  memory.fill(SCHEDULE, 0, SBOX + 16 - SCHEDULE);
}
