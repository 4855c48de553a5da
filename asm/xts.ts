// XTS-AES-256 (IEEE 1619-2018, clause 5), in place: a data unit has at least 16 bytes and any length; the last,
// incomplete block steals from the one before it, so that the ciphertext is as long as the plain text.
//
// AES works on eight blocks at a time. What doesn't fill eight, the ends of data units, is gathered over up to
// eight units. So a group of units takes these steps:
//
//   setUnitNumber for each, makeTweaks
//   transformUnit for each, finish        all whole blocks
//   stealUnit for each, finish            the incomplete ones

import { decrypt8, encrypt8 } from '../build/asm/aes-bitsliced';
import { expandKey } from './aes';
import { DATA_KEYS, KEY, TWEAK_KEYS, XTS_SCRATCH, XTS_SCRATCH_BYTES } from './memory';

const AES_BLOCK: usize = 16;
const LANES: usize = 8;
const GROUP: usize = LANES * AES_BLOCK;

/** Tweaks of eight blocks that lie together. */
const TWEAKS: usize = XTS_SCRATCH;
/** Always zero. */
const ZEROES: usize = TWEAKS + GROUP;
/** Of each unit of a group: the first tweak, and that of the block that completes the incomplete one. */
const FIRST_TWEAKS: usize = ZEROES + GROUP;
const STEAL_TWEAKS: usize = FIRST_TWEAKS + GROUP;
/** Gathered blocks: contents, tweaks, where they belong. */
const GATHERED: usize = STEAL_TWEAKS + GROUP;
const GATHERED_TWEAKS: usize = GATHERED + GROUP;
const GATHERED_TARGETS: usize = GATHERED_TWEAKS + GROUP;
const COMPLETED: usize = GATHERED_TARGETS + LANES * sizeof<usize>();

let gathered: usize = 0;

/** The shortest data unit. */
export const MIN_UNIT: usize = AES_BLOCK;
/** Data units in a group at the most. */
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

/** The number of the group's data unit `unit` (0 to 7): 128 bits, little-endian, as IEEE 1619 has it. */
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
  const signs = i32x4.shr_s(tweak, 31);
  const carries = v128.shuffle<i32>(signs, signs, 3, 3, 1, 1);
  return v128.xor(i64x2.shl(tweak, 1), v128.and(carries, i32x4(0x87, 0, 1, 0)));
}

@inline
function aes8(source: usize, target: usize, whitening: usize, decrypting: bool): void {
  if (decrypting) decrypt8(source, target, whitening, DATA_KEYS);
  else encrypt8(source, target, whitening, DATA_KEYS);
}

/** Has the block at `source` encrypted or decrypted and put at `target`, at the latest by finish. */
@inline
function gather(source: usize, target: usize, tweak: v128, decrypting: bool): void {
  v128.store(GATHERED + gathered * AES_BLOCK, v128.load(source));
  v128.store(GATHERED_TWEAKS + gathered * AES_BLOCK, tweak);
  store<usize>(GATHERED_TARGETS + gathered * sizeof<usize>(), target);
  if (++gathered === LANES) finish(decrypting);
}

/** Does what was gathered. */
export function finish(decrypting: bool): void {
  if (gathered === 0) return;
  aes8(GATHERED, GATHERED, GATHERED_TWEAKS, decrypting);
  for (let lane: usize = 0; lane < gathered; lane++) {
    v128.store(load<usize>(GATHERED_TARGETS + lane * sizeof<usize>()), v128.load(GATHERED + lane * AES_BLOCK));
  }
  gathered = 0;
}

/** Whole blocks that the straight order of tweaks is for: decrypting, the one that was stolen from is not. */
@inline
function straightBytes(length: usize, decrypting: bool): usize {
  const whole = length & ~(AES_BLOCK - 1);
  return decrypting && whole !== length ? whole - AES_BLOCK : whole;
}

/** The whole blocks of the unit of `length` bytes at `at`, of at least MIN_UNIT. */
export function transformUnit(at: usize, length: usize, unit: usize, decrypting: bool): void {
  let tweak = v128.load(FIRST_TWEAKS + unit * AES_BLOCK);
  const end = at + straightBytes(length, decrypting);
  for (; at + GROUP <= end; at += GROUP) {
    for (let lane = TWEAKS; lane < TWEAKS + GROUP; lane += AES_BLOCK) {
      v128.store(lane, tweak);
      tweak = double(tweak);
    }
    aes8(at, at, TWEAKS, decrypting);
  }
  for (; at < end; at += AES_BLOCK) {
    gather(at, at, tweak, decrypting);
    tweak = double(tweak);
  }
  v128.store(STEAL_TWEAKS + unit * AES_BLOCK, tweak);
  if (decrypting && (length & (AES_BLOCK - 1)) !== 0) gather(at, at, double(tweak), true);
}

/**
 * The incomplete block of the unit, if it has one, after its whole blocks are done. The head of the block before
 * becomes the incomplete one, which, completed with that block's tail, is encrypted or decrypted in its place.
 */
export function stealUnit(at: usize, length: usize, unit: usize, decrypting: bool): void {
  const rest = length & (AES_BLOCK - 1);
  if (rest === 0) return;
  const last = at + length - rest;
  const before = last - AES_BLOCK;
  v128.store(COMPLETED, v128.load(before));
  for (let i: usize = 0; i < rest; i++) {
    store<u8>(COMPLETED + i, load<u8>(last + i));
    store<u8>(last + i, load<u8>(before + i));
  }
  gather(COMPLETED, before, v128.load(STEAL_TWEAKS + unit * AES_BLOCK), decrypting);
}

/*
 * The same with AES elsewhere (node:crypto has the CPU's instructions, but a call of its XTS costs more than the
 * block): what XTS does around AES-ECB. stageUnit whitens the whole blocks of a unit for one ECB pass over all
 * units of a request; unstageUnit takes the result back, in place of transformUnit and finish.
 */

/** Writes the unit's whole blocks, whitened, to `staged`; returns their length. */
export function stageUnit(at: usize, length: usize, staged: usize, unit: usize, decrypting: bool): usize {
  return whiten(at, staged, length, unit, decrypting);
}

/** Takes the whole blocks back from `staged`, after AES, into the unit. */
export function unstageUnit(at: usize, length: usize, staged: usize, unit: usize, decrypting: bool): usize {
  return whiten(staged, at, length, unit, decrypting);
}

@inline
function whiten(source: usize, target: usize, length: usize, unit: usize, decrypting: bool): usize {
  let tweak = v128.load(FIRST_TWEAKS + unit * AES_BLOCK);
  const straight = straightBytes(length, decrypting);
  for (let i: usize = 0; i < straight; i += AES_BLOCK) {
    v128.store(target + i, v128.xor(v128.load(source + i), tweak));
    tweak = double(tweak);
  }
  v128.store(STEAL_TWEAKS + unit * AES_BLOCK, tweak);
  const whole = length & ~(AES_BLOCK - 1);
  if (straight !== whole) {
    v128.store(target + straight, v128.xor(v128.load(source + straight), double(tweak)));
  }
  return whole;
}
