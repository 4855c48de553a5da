// LZ4 block format (lz4_Block_format.md, 1.6.x): sequences of {token, literals, 16-bit offset, match}.
// Inputs up to 64 KiB, so that every position fits 16 bits and every offset is allowed.
//
// Both directions stay inside the regions that they are given, reads included, whatever the input is:
// 16-byte copies are used only where all 16 bytes lie inside.

import { HASH_TABLE, HASH_TABLE_BYTES } from './memory';

const MIN_MATCH: usize = 4;
/** The last match starts at least 12 bytes before the end, and the last 5 bytes are literals. */
const MATCH_START_LIMIT: usize = 12;
const LAST_LITERALS: usize = 5;
const MAX_INPUT: usize = 0x10000;

const HASH_BITS: u64 = 13;
const HASH_PRIME: u64 = 889523592379;
/** After 2^6 misses the search step grows by one: data without matches is passed over ever faster. */
const SKIP_SHIFT: u32 = 6;

/** decompress: the stream breaks the format, refers to bytes before the block, or would leave the output. */
export const MALFORMED: i32 = -1;

/** Shuffles that repeat the first `offset` bytes of a vector over all of it, for offsets 0 (unused) to 15. */
const REPEAT: usize = memory.data<u8>([
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1,
  0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0,
  0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,
  0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0,
  0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3,
  0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0, 1,
  0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4, 5, 6,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1, 2, 3, 4,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 1, 2,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0, 1,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0,
], 16);

@inline
function slotOf(at: usize): usize {
  // Five bytes decide: shorter matches than that pay little.
  return HASH_TABLE + <usize>((((load<u64>(at) << 24) * HASH_PRIME) >> (64 - HASH_BITS)) << 1);
}

/** Bytes from `a` that equal those from `b`; `a` stays below `limit`. */
@inline
function commonLength(a: usize, b: usize, limit: usize): usize {
  const start = a;
  while (a + 8 <= limit) {
    const differs = load<u64>(a) ^ load<u64>(b);
    if (differs !== 0) return a - start + <usize>(ctz<u64>(differs) >> 3);
    a += 8;
    b += 8;
  }
  while (a < limit && load<u8>(a) === load<u8>(b)) {
    a++;
    b++;
  }
  return a - start;
}

/** Writes what is left of a length behind a token's nibble of 15. */
@inline
function putLength(op: usize, rest: usize): usize {
  while (rest >= 255) {
    store<u8>(op++, 255);
    rest -= 255;
  }
  store<u8>(op++, <u8>rest);
  return op;
}

/** Copies literals; reads below `sourceEnd` and writes below `targetEnd` only. */
@inline
function copyLiterals(target: usize, source: usize, length: usize, targetEnd: usize, sourceEnd: usize): void {
  if (length >= 16) {
    const last = length - 16;
    for (let i: usize = 0; i < last; i += 16) v128.store(target + i, v128.load(source + i));
    v128.store(target + last, v128.load(source + last));
  } else if (source + 16 <= sourceEnd && target + 16 <= targetEnd) {
    v128.store(target, v128.load(source));
  } else {
    for (let i: usize = 0; i < length; i++) store<u8>(target + i, load<u8>(source + i));
  }
}

/**
 * Compresses `length` bytes (at most 64 KiB) to at most `limit` bytes at `target`, which must not overlap.
 * Returns the compressed length, or 0 if it would be above `limit` (what is at `target` then is undefined).
 */
export function compress(source: usize, length: usize, target: usize, limit: usize): i32 {
  if (length === 0 || length > MAX_INPUT) return 0;
  const end = source + length;
  const targetEnd = target + limit;
  let op = target;
  let anchor = source;

  if (length > MATCH_START_LIMIT) {
    const matchEnd = end - LAST_LITERALS;
    const startEnd = end - MATCH_START_LIMIT;
    memory.fill(HASH_TABLE, 0, HASH_TABLE_BYTES);
    let ip = source + 1;
    let slot = slotOf(ip);

    while (true) {
      // Find a match.
      let match: usize;
      let next = ip;
      let step: usize = 1;
      let misses: u32 = 1 << SKIP_SHIFT;
      do {
        ip = next;
        next += step;
        step = <usize>(misses++ >> SKIP_SHIFT);
        if (next > startEnd + 1) {
          ip = 0;
          break;
        }
        match = source + <usize>load<u16>(slot);
        store<u16>(slot, <u16>(ip - source));
        slot = slotOf(next);
      } while (load<u32>(match) !== load<u32>(ip));
      if (ip === 0) break;
      while (ip > anchor && match > source && load<u8>(ip - 1) === load<u8>(match - 1)) {
        ip--;
        match--;
      }

      // Literals before it.
      let literals = ip - anchor;
      let token = op++;
      if (op + literals + literals / 255 + 3 + LAST_LITERALS > targetEnd) return 0;
      if (literals >= 15) {
        store<u8>(token, 15 << 4);
        op = putLength(op, literals - 15);
      } else {
        store<u8>(token, <u8>(literals << 4));
      }
      copyLiterals(op, anchor, literals, targetEnd, end);
      op += literals;

      // Matches without literals between them follow.
      while (true) {
        store<u16>(op, <u16>(ip - match));
        op += 2;
        const extra = commonLength(ip + MIN_MATCH, match + MIN_MATCH, matchEnd);
        ip += MIN_MATCH + extra;
        if (op + extra / 255 + 2 + LAST_LITERALS > targetEnd) return 0;
        if (extra >= 15) {
          store<u8>(token, load<u8>(token) | 15);
          op = putLength(op, extra - 15);
        } else {
          store<u8>(token, load<u8>(token) | <u8>extra);
        }
        anchor = ip;
        if (ip > startEnd) break;

        store<u16>(slotOf(ip - 2), <u16>(ip - 2 - source));
        slot = slotOf(ip);
        match = source + <usize>load<u16>(slot);
        store<u16>(slot, <u16>(ip - source));
        if (load<u32>(match) !== load<u32>(ip)) break;
        token = op++;
        store<u8>(token, 0);
        if (op + 3 + LAST_LITERALS > targetEnd) return 0;
      }
      if (ip > startEnd) break;
      ip++;
      if (ip > startEnd + 1) break;
      slot = slotOf(ip);
    }
  }

  const literals = end - anchor;
  if (op + 1 + literals + (literals + 240) / 255 > targetEnd) return 0;
  const token = op++;
  if (literals >= 15) {
    store<u8>(token, 15 << 4);
    op = putLength(op, literals - 15);
  } else {
    store<u8>(token, <u8>(literals << 4));
  }
  copyLiterals(op, anchor, literals, targetEnd, end);
  return <i32>(op + literals - target);
}

/**
 * Decompresses `length` bytes to at most `capacity` bytes at `target`, which must not overlap.
 * Returns the decompressed length or MALFORMED (what is at `target` then is undefined).
 */
export function decompress(source: usize, length: usize, target: usize, capacity: usize): i32 {
  const sourceEnd = source + length;
  const targetEnd = target + capacity;
  let ip = source;
  let op = target;

  while (ip < sourceEnd) {
    const token = <usize>load<u8>(ip++);

    let literals = token >> 4;
    if (literals < 15 && ip + 18 <= sourceEnd && op + 48 <= targetEnd) {
      // The common case, everything at hand: at most 14 literals and, below, a match of at most 18 bytes.
      v128.store(op, v128.load(ip));
      op += literals;
      ip += literals;
      const offset = <usize>load<u16>(ip);
      if ((token & 15) !== 15 && offset >= 16 && offset <= op - target) {
        ip += 2;
        const match = op - offset;
        v128.store(op, v128.load(match));
        store<u16>(op, load<u16>(match, 16), 16);
        op += (token & 15) + MIN_MATCH;
        continue;
      }
    } else {
      if (literals === 15) {
        let more: usize;
        do {
          if (ip >= sourceEnd) return MALFORMED;
          more = <usize>load<u8>(ip++);
          literals += more;
        } while (more === 255);
      }
      if (literals > sourceEnd - ip || literals > targetEnd - op) return MALFORMED;
      copyLiterals(op, ip, literals, targetEnd, sourceEnd);
      op += literals;
      ip += literals;
      if (ip === sourceEnd) return <i32>(op - target);
    }

    if (sourceEnd - ip < 2) return MALFORMED;
    const offset = <usize>load<u16>(ip);
    ip += 2;
    if (offset === 0 || offset > op - target) return MALFORMED;
    let matched = token & 15;
    if (matched === 15) {
      let more: usize;
      do {
        if (ip >= sourceEnd) return MALFORMED;
        more = <usize>load<u8>(ip++);
        matched += more;
      } while (more === 255);
    }
    matched += MIN_MATCH;
    if (matched > targetEnd - op) return MALFORMED;
    const matchEnd = op + matched;
    let match = op - offset;
    if (matchEnd + 16 > targetEnd) {
      while (op < matchEnd) store<u8>(op++, load<u8>(match++));
    } else if (offset >= 16) {
      do {
        v128.store(op, v128.load(match));
        op += 16;
        match += 16;
      } while (op < matchEnd);
    } else {
      // The match overlaps what it makes: repeat its bytes, moving on by a multiple of the offset.
      const pattern = v128.swizzle(v128.load(match), v128.load(REPEAT + (offset << 4)));
      const stride: usize = 16 - (<usize>16 % offset);
      do {
        v128.store(op, pattern);
        op += stride;
      } while (op < matchEnd);
    }
    op = matchEnd;
  }
  // A stream ends with literals, which the loop has seen, or it has been cut.
  return MALFORMED;
}
