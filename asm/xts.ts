// XTS-AES-256 (IEEE 1619-2018, clause 5): a data unit of at least 16 bytes, of any length: the last, incomplete
// block steals from the one before it, so that the ciphertext is as long as the plain text.

import { decrypt8, encrypt8 } from '../build/asm/aes-bitsliced';
import { expandKey } from './aes';
import { DATA_KEYS, KEY, TWEAK_KEYS, XTS_SCRATCH, XTS_SCRATCH_BYTES } from './memory';

const AES_BLOCK: usize = 16;
const LANES: usize = 8;
const GROUP: usize = LANES * AES_BLOCK;

/** Tweaks of the group that is being worked on; the next three are fixed places as well. */
const TWEAKS: usize = XTS_SCRATCH;
/** Blocks that don't fill a group. */
const STAGE: usize = TWEAKS + GROUP;
/** Always zero. */
const ZEROES: usize = STAGE + GROUP;
/** First tweaks of up to eight data units. */
const FIRST_TWEAKS: usize = ZEROES + GROUP;

/** The shortest data unit. */
export const MIN_UNIT: usize = AES_BLOCK;
/** Data units whose first tweaks are made together. */
export const MAX_UNITS: usize = LANES;

/**
 * Expands the 64 bytes at KEY (data key, then tweak key) and zeroes them. Returns 0, and expands nothing, if
 * both halves are equal: XTS is not secure then.
 */
export function expandKeys(): i32 {
  let difference = i64x2.splat(0);
  for (let at = KEY; at < KEY + 32; at += 16) {
    difference = v128.or(difference, v128.xor(v128.load(at), v128.load(at, 32)));
  }
  const sound = v128.any_true(difference);
  if (sound) {
    expandKey(KEY, DATA_KEYS);
    expandKey(KEY + 32, TWEAK_KEYS);
  }
  memory.fill(KEY, 0, 64);
  return <i32>sound;
}

/** Zeroes keys and everything in the ciphers' scratch. */
export function wipeKeys(): void {
  memory.fill(DATA_KEYS, 0, XTS_SCRATCH + XTS_SCRATCH_BYTES - DATA_KEYS);
  memory.fill(KEY, 0, 64);
}

/** Puts the number of data unit `unit` (0 to 7) in place for makeTweaks. 128-bit little-endian, as IEEE 1619. */
@inline
export function setUnitNumber(unit: usize, low: u64, high: u64): void {
  store<u64>(FIRST_TWEAKS + unit * AES_BLOCK, low);
  store<u64>(FIRST_TWEAKS + unit * AES_BLOCK, high, 8);
}

/** Encrypts the unit numbers to first tweaks. */
@inline
export function makeTweaks(): void {
  encrypt8(FIRST_TWEAKS, FIRST_TWEAKS, ZEROES, TWEAK_KEYS);
}

/** Times x in GF(2^128) modulo x^128 + x^7 + x^2 + x + 1. */
@inline
function double(tweak: v128): v128 {
  // The sign words of both halves, changed over: the low half's carry goes up, the high half's comes back as 0x87.
  const carries = v128.shuffle<i32>(i32x4.shr_s(tweak, 31), i32x4.shr_s(tweak, 31), 3, 3, 1, 1);
  return v128.xor(i64x2.shl(tweak, 1), v128.and(carries, i32x4(0x87, 0, 1, 0)));
}

/** Eight tweaks from `tweak` on; returns the ninth. */
@inline
function fillTweaks(tweak: v128): v128 {
  for (let at = TWEAKS; at < TWEAKS + GROUP; at += AES_BLOCK) {
    v128.store(at, tweak);
    tweak = double(tweak);
  }
  return tweak;
}

@inline
function copyBlocks(target: usize, source: usize, blocks: usize): void {
  for (let at: usize = 0; at < blocks * AES_BLOCK; at += AES_BLOCK) v128.store(target + at, v128.load(source + at));
}

/** Copies `count` bytes, fewer than a block. */
@inline
function copyRest(target: usize, source: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) store<u8>(target + i, load<u8>(source + i));
}

/**
 * Encrypts the data unit that setUnitNumber gave the place `unit`; `length` is at least MIN_UNIT. Source and
 * target are the same or don't overlap.
 */
export function encryptUnit(source: usize, target: usize, length: usize, unit: usize): void {
  let tweak = v128.load(FIRST_TWEAKS + unit * AES_BLOCK);
  let blocks = length / AES_BLOCK;
  const rest = length % AES_BLOCK;
  for (; blocks >= LANES; blocks -= LANES, source += GROUP, target += GROUP) {
    tweak = fillTweaks(tweak);
    encrypt8(source, target, TWEAKS, DATA_KEYS);
  }
  if (blocks > 0) {
    fillTweaks(tweak);
    tweak = v128.load(TWEAKS + blocks * AES_BLOCK);
    copyBlocks(STAGE, source, blocks);
    encrypt8(STAGE, STAGE, TWEAKS, DATA_KEYS);
    copyBlocks(target, STAGE, blocks);
    source += blocks * AES_BLOCK;
    target += blocks * AES_BLOCK;
  }
  if (rest > 0) stealEncrypting(source, target, rest, tweak);
}

/** The reverse of encryptUnit. */
export function decryptUnit(source: usize, target: usize, length: usize, unit: usize): void {
  let tweak = v128.load(FIRST_TWEAKS + unit * AES_BLOCK);
  const rest = length % AES_BLOCK;
  // The block that the last bytes were stolen from comes last, with them.
  let blocks = length / AES_BLOCK - <usize>(rest > 0);
  for (; blocks >= LANES; blocks -= LANES, source += GROUP, target += GROUP) {
    tweak = fillTweaks(tweak);
    decrypt8(source, target, TWEAKS, DATA_KEYS);
  }
  if (blocks > 0) {
    fillTweaks(tweak);
    tweak = v128.load(TWEAKS + blocks * AES_BLOCK);
    copyBlocks(STAGE, source, blocks);
    decrypt8(STAGE, STAGE, TWEAKS, DATA_KEYS);
    copyBlocks(target, STAGE, blocks);
    source += blocks * AES_BLOCK;
    target += blocks * AES_BLOCK;
  }
  if (rest > 0) {
    v128.store(TWEAKS, double(tweak));
    v128.store(STAGE, v128.load(source));
    decrypt8(STAGE, STAGE, TWEAKS, DATA_KEYS);
    stealDecrypting(source, target, rest, tweak, v128.load(STAGE));
  }
}

/*
 * The same with AES elsewhere (node:crypto has the CPU's instructions, but a call of its XTS costs more than the
 * block): what XTS does around AES-ECB. stageUnit whitens the whole blocks of a unit for one ECB pass over all
 * units of a request, unstageUnit whitens its result and does the last, incomplete block.
 */

/** Writes the unit's whole blocks, whitened, to `staged`; returns their length. */
export function stageUnit(source: usize, staged: usize, length: usize, unit: usize, decrypting: bool): usize {
  let tweak = v128.load(FIRST_TWEAKS + unit * AES_BLOCK);
  const whole = length & ~(AES_BLOCK - 1);
  const straight = whole - (decrypting && whole !== length ? AES_BLOCK : 0);
  for (let at: usize = 0; at < straight; at += AES_BLOCK) {
    v128.store(staged + at, v128.xor(v128.load(source + at), tweak));
    tweak = double(tweak);
  }
  if (straight !== whole) {
    v128.store(staged + straight, v128.xor(v128.load(source + straight), double(tweak)));
  }
  return whole;
}

/** Takes the whole blocks back from `staged`, after AES, into the unit at `target`, which stageUnit was given. */
export function unstageUnit(staged: usize, target: usize, length: usize, unit: usize, decrypting: bool): usize {
  let tweak = v128.load(FIRST_TWEAKS + unit * AES_BLOCK);
  const whole = length & ~(AES_BLOCK - 1);
  const rest = length - whole;
  const straight = whole - (decrypting && rest > 0 ? AES_BLOCK : 0);
  for (let at: usize = 0; at < straight; at += AES_BLOCK) {
    v128.store(target + at, v128.xor(v128.load(staged + at), tweak));
    tweak = double(tweak);
  }
  if (rest > 0) {
    if (decrypting) {
      const last = v128.xor(v128.load(staged + straight), double(tweak));
      stealDecrypting(target + straight, target + straight, rest, tweak, last);
    } else {
      stealEncrypting(target + whole, target + whole, rest, tweak);
    }
  }
  return whole;
}

/**
 * The last `rest` bytes of a unit, at `source`. The head of the encrypted block before, which is at `target`
 * - 16, becomes the last bytes; the plain last bytes, filled up with its tail, are encrypted in its place.
 */
function stealEncrypting(source: usize, target: usize, rest: usize, tweak: v128): void {
  const before = v128.load(target - AES_BLOCK);
  v128.store(STAGE, before);
  v128.store(STAGE, before, 16);
  copyRest(STAGE, source, rest);
  copyRest(target, STAGE + AES_BLOCK, rest);
  v128.store(TWEAKS, tweak);
  encrypt8(STAGE, STAGE, TWEAKS, DATA_KEYS);
  v128.store(target - AES_BLOCK, v128.load(STAGE));
}

/**
 * The last whole block, at `source`, and the `rest` bytes behind it. `last` is that block decrypted with the
 * unit's last tweak, `tweak` the one before.
 */
function stealDecrypting(source: usize, target: usize, rest: usize, tweak: v128, last: v128): void {
  v128.store(STAGE, last);
  v128.store(STAGE, last, 16);
  copyRest(STAGE, source + AES_BLOCK, rest);
  copyRest(target + AES_BLOCK, STAGE + AES_BLOCK, rest);
  v128.store(TWEAKS, tweak);
  decrypt8(STAGE, STAGE, TWEAKS, DATA_KEYS);
  v128.store(target, v128.load(STAGE));
}
