// XXH3, 64 bits, with seed, as in the xxHash specification (doc/xxhash_spec.md, version 0.2 and later).
// Inputs are little-endian loads at any address. Results are written to memory, because an i64 that crosses
// into JavaScript becomes a BigInt.

import { XXH3_SECRET } from './memory';

const PRIME32_1: u64 = 0x9e3779b1;
const PRIME32_2: u64 = 0x85ebca77;
const PRIME32_3: u64 = 0xc2b2ae3d;
const PRIME64_1: u64 = 0x9e3779b185ebca87;
const PRIME64_2: u64 = 0xc2b2ae3d27d4eb4f;
const PRIME64_3: u64 = 0x165667b19e3779f9;
const PRIME64_4: u64 = 0x85ebca77c2b2ae63;
const PRIME64_5: u64 = 0x27d4eb2f165667c5;
const PRIME_MX1: u64 = 0x165667919e3779f9;
const PRIME_MX2: u64 = 0x9fb21c651e98df25;

const STRIPE: usize = 64;
const STRIPES_PER_BLOCK: usize = 16;
const SECRET_BYTES: usize = 192;
/** Offset of the last stripe's key, and of the keys that merge the accumulators. */
const SECRET_LAST: usize = SECRET_BYTES - STRIPE - 7;
const SECRET_MERGE: usize = 11;

const DEFAULT_SECRET: usize = memory.data<u8>([
  0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
  0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
  0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
  0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
  0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
  0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
  0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
  0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
  0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
  0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
  0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
  0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
]);

/** High 64 bits of the 128-bit product. */
@inline
function mulHigh(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const aHigh = a >> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >> 32;
  const lowLow = aLow * bLow;
  const highLow = aHigh * bLow;
  const lowHigh = aLow * bHigh;
  const cross = (lowLow >> 32) + (highLow & 0xffffffff) + lowHigh;
  return (highLow >> 32) + (cross >> 32) + aHigh * bHigh;
}

/** Both halves of the 128-bit product, folded into one by XOR. */
@inline
function mulFold(a: u64, b: u64): u64 {
  return (a * b) ^ mulHigh(a, b);
}

@inline
function avalanche(hash: u64): u64 {
  hash = (hash ^ (hash >> 37)) * PRIME_MX1;
  return hash ^ (hash >> 32);
}

@inline
function avalancheXxh64(hash: u64): u64 {
  hash = (hash ^ (hash >> 33)) * PRIME64_2;
  hash = (hash ^ (hash >> 29)) * PRIME64_3;
  return hash ^ (hash >> 32);
}

/** Mixes 16 bytes of input with 16 of the secret, as the classes of 17 to 240 bytes do. */
@inline
function mix16(input: usize, secret: usize, seed: u64): u64 {
  return mulFold(load<u64>(input) ^ (load<u64>(secret) + seed), load<u64>(input, 8) ^ (load<u64>(secret, 8) - seed));
}

@inline
function hashTo3(input: usize, length: usize, seed: u64): u64 {
  const first = <u32>load<u8>(input);
  const middle = <u32>load<u8>(input + (length >> 1));
  const last = <u32>load<u8>(input + length - 1);
  const combined = <u64>((first << 16) | (middle << 24) | last | (<u32>length << 8));
  const flip = <u64>(load<u32>(DEFAULT_SECRET) ^ load<u32>(DEFAULT_SECRET, 4)) + seed;
  return avalancheXxh64(combined ^ flip);
}

@inline
function hashTo8(input: usize, length: usize, seed: u64): u64 {
  seed ^= <u64>bswap<u32>(<u32>seed) << 32;
  const first = <u64>load<u32>(input);
  const last = <u64>load<u32>(input + length - 4);
  const flip = (load<u64>(DEFAULT_SECRET, 8) ^ load<u64>(DEFAULT_SECRET, 16)) - seed;
  let hash = (last + (first << 32)) ^ flip;
  hash ^= rotl<u64>(hash, 49) ^ rotl<u64>(hash, 24);
  hash *= PRIME_MX2;
  hash ^= (hash >> 35) + <u64>length;
  hash *= PRIME_MX2;
  return hash ^ (hash >> 28);
}

@inline
function hashTo16(input: usize, length: usize, seed: u64): u64 {
  const flipLow = (load<u64>(DEFAULT_SECRET, 24) ^ load<u64>(DEFAULT_SECRET, 32)) + seed;
  const flipHigh = (load<u64>(DEFAULT_SECRET, 40) ^ load<u64>(DEFAULT_SECRET, 48)) - seed;
  const low = load<u64>(input) ^ flipLow;
  const high = load<u64>(input + length - 8) ^ flipHigh;
  return avalanche(<u64>length + bswap<u64>(low) + high + mulFold(low, high));
}

function hashTo128(input: usize, length: usize, seed: u64): u64 {
  let hash: u64 = <u64>length * PRIME64_1;
  const end = input + length;
  // Pairs of 16 bytes from both ends, the outermost first: one pair up to 32 bytes, four up to 128.
  for (let pair = (length - 1) >> 5; ; pair--) {
    hash += mix16(input + pair * 16, DEFAULT_SECRET + pair * 32, seed);
    hash += mix16(end - (pair + 1) * 16, DEFAULT_SECRET + pair * 32 + 16, seed);
    if (pair === 0) break;
  }
  return avalanche(hash);
}

function hashTo240(input: usize, length: usize, seed: u64): u64 {
  let hash: u64 = <u64>length * PRIME64_1;
  for (let i: usize = 0; i < 8; i++) hash += mix16(input + 16 * i, DEFAULT_SECRET + 16 * i, seed);
  hash = avalanche(hash);
  const rounds = length >> 4;
  let rest: u64 = mix16(input + length - 16, DEFAULT_SECRET + 136 - 17, seed);
  for (let i: usize = 8; i < rounds; i++) rest += mix16(input + 16 * i, DEFAULT_SECRET + 16 * (i - 8) + 3, seed);
  return avalanche(hash + rest);
}

/** The default secret with the seed added to its even words and subtracted from its odd ones. */
function seedSecret(seed: u64): void {
  const step = i64x2.replace_lane(i64x2.splat(<i64>seed), 1, -(<i64>seed));
  for (let at: usize = 0; at < SECRET_BYTES; at += 16) {
    v128.store(XXH3_SECRET + at, i64x2.add(v128.load(DEFAULT_SECRET + at), step));
  }
}

function mergeAccumulators(a: v128, b: v128, c: v128, d: v128, secret: usize, start: u64): u64 {
  let hash = start;
  a = v128.xor(a, v128.load(secret));
  b = v128.xor(b, v128.load(secret, 16));
  c = v128.xor(c, v128.load(secret, 32));
  d = v128.xor(d, v128.load(secret, 48));
  hash += mulFold(i64x2.extract_lane(a, 0), i64x2.extract_lane(a, 1));
  hash += mulFold(i64x2.extract_lane(b, 0), i64x2.extract_lane(b, 1));
  hash += mulFold(i64x2.extract_lane(c, 0), i64x2.extract_lane(c, 1));
  hash += mulFold(i64x2.extract_lane(d, 0), i64x2.extract_lane(d, 1));
  return avalanche(hash);
}

/** The low 32 bits of all four 64-bit lanes of `x` and `y`. */
@inline
function lows(x: v128, y: v128): v128 {
  return v128.shuffle<i32>(x, y, 0, 2, 4, 6);
}

/** The high ones. */
@inline
function highs(x: v128, y: v128): v128 {
  return v128.shuffle<i32>(x, y, 1, 3, 5, 7);
}

@inline
function swapHalves(x: v128): v128 {
  return v128.shuffle<i64>(x, x, 1, 0);
}

@inline
function scramble(acc: v128, key: v128): v128 {
  const mixed = v128.xor(v128.xor(acc, i64x2.shr_u(acc, 47)), key);
  const prime = i64x2.splat(<i64>PRIME32_1);
  const low = i64x2.extmul_low_i32x4_u(v128.shuffle<i32>(mixed, mixed, 0, 2, 0, 2), v128.shuffle<i32>(prime, prime, 0, 2, 0, 2));
  const high = i64x2.extmul_low_i32x4_u(v128.shuffle<i32>(mixed, mixed, 1, 3, 1, 3), v128.shuffle<i32>(prime, prime, 0, 2, 0, 2));
  return i64x2.add(low, i64x2.shl(high, 32));
}

function hashLong(input: usize, length: usize, seed: u64): u64 {
  let secret = DEFAULT_SECRET;
  if (seed !== 0) {
    seedSecret(seed);
    secret = XXH3_SECRET;
  }
  let a = i64x2(PRIME32_3, PRIME64_1);
  let b = i64x2(PRIME64_2, PRIME64_3);
  let c = i64x2(PRIME64_4, PRIME32_2);
  let d = i64x2(PRIME64_5, PRIME32_1);

  const lastStripe = input + length - STRIPE;
  // Full stripes; the last 64 bytes are always taken once more, or first, with a key of their own.
  const stripes = (length - 1) / STRIPE;
  let at = input;
  let left = stripes;
  while (true) {
    const inBlock = min(left, STRIPES_PER_BLOCK);
    let key = secret;
    for (const end = at + inBlock * STRIPE; at < end; at += STRIPE, key += 8) {
      const d0 = v128.load(at);
      const d1 = v128.load(at, 16);
      const d2 = v128.load(at, 32);
      const d3 = v128.load(at, 48);
      const k0 = v128.xor(d0, v128.load(key));
      const k1 = v128.xor(d1, v128.load(key, 16));
      const k2 = v128.xor(d2, v128.load(key, 32));
      const k3 = v128.xor(d3, v128.load(key, 48));
      const l01 = lows(k0, k1);
      const h01 = highs(k0, k1);
      const l23 = lows(k2, k3);
      const h23 = highs(k2, k3);
      a = i64x2.add(a, i64x2.add(swapHalves(d0), i64x2.extmul_low_i32x4_u(l01, h01)));
      b = i64x2.add(b, i64x2.add(swapHalves(d1), i64x2.extmul_high_i32x4_u(l01, h01)));
      c = i64x2.add(c, i64x2.add(swapHalves(d2), i64x2.extmul_low_i32x4_u(l23, h23)));
      d = i64x2.add(d, i64x2.add(swapHalves(d3), i64x2.extmul_high_i32x4_u(l23, h23)));
    }
    left -= inBlock;
    // Every full block is followed by a scramble.
    if (inBlock < STRIPES_PER_BLOCK) break;
    key = secret + SECRET_BYTES - STRIPE;
    a = scramble(a, v128.load(key));
    b = scramble(b, v128.load(key, 16));
    c = scramble(c, v128.load(key, 32));
    d = scramble(d, v128.load(key, 48));
  }

  const key = secret + SECRET_LAST;
  const d0 = v128.load(lastStripe);
  const d1 = v128.load(lastStripe, 16);
  const d2 = v128.load(lastStripe, 32);
  const d3 = v128.load(lastStripe, 48);
  const k0 = v128.xor(d0, v128.load(key));
  const k1 = v128.xor(d1, v128.load(key, 16));
  const k2 = v128.xor(d2, v128.load(key, 32));
  const k3 = v128.xor(d3, v128.load(key, 48));
  const l01 = lows(k0, k1);
  const h01 = highs(k0, k1);
  const l23 = lows(k2, k3);
  const h23 = highs(k2, k3);
  a = i64x2.add(a, i64x2.add(swapHalves(d0), i64x2.extmul_low_i32x4_u(l01, h01)));
  b = i64x2.add(b, i64x2.add(swapHalves(d1), i64x2.extmul_high_i32x4_u(l01, h01)));
  c = i64x2.add(c, i64x2.add(swapHalves(d2), i64x2.extmul_low_i32x4_u(l23, h23)));
  d = i64x2.add(d, i64x2.add(swapHalves(d3), i64x2.extmul_high_i32x4_u(l23, h23)));

  return mergeAccumulators(a, b, c, d, secret + SECRET_MERGE, <u64>length * PRIME64_1);
}

/** XXH3-64 of `length` bytes at `input`. Uses the region XXH3_SECRET. */
export function hash(input: usize, length: usize, seed: u64): u64 {
  if (length > 240) return hashLong(input, length, seed);
  if (length > 128) return hashTo240(input, length, seed);
  if (length > 16) return hashTo128(input, length, seed);
  if (length > 8) return hashTo16(input, length, seed);
  if (length >= 4) return hashTo8(input, length, seed);
  if (length > 0) return hashTo3(input, length, seed);
  return avalancheXxh64(seed ^ load<u64>(DEFAULT_SECRET, 56) ^ load<u64>(DEFAULT_SECRET, 64));
}
