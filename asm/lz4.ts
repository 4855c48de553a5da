// LZ4 block format (lz4_Block_format.md, 1.6.x): sequences of {token, literals, 16-bit offset, match}.
// Inputs up to 64 KiB, so that every position fits 16 bits and every offset is allowed.
//
// Both directions stay inside the regions that they are given, reads included, whatever the input is:
// 16-byte copies are used only where all 16 bytes lie inside.

import { HASH_TABLE, HASH_TABLE_BYTES } from './memory';

const MIN_MATCH: usize = 4;
/**
 * The format wants the last match to start at least 12 bytes before the end, and the last 5 bytes to be literals.
 * With 16 instead of 12, a vector of literals before any match lies inside the input.
 */
const MATCH_START_LIMIT: usize = 16;
const LAST_LITERALS: usize = 5;
const MAX_INPUT: usize = 0x10000;

const HASH_BITS: u64 = 13;
const HASH_PRIME: u64 = 889523592379;
/** After 2^6 misses the search step grows by one: data without matches is passed over ever faster. */
const SKIP_SHIFT: u32 = 6;

/**
 * What must be free behind a sequence's literals or lengths: their last byte, an offset, and the last literals, or
 * a whole vector where literals are fewer.
 */
const ROOM: usize = 16;

/** decompress: the stream breaks the format, refers to bytes before the block, or would leave the output. */
export const MALFORMED: i32 = -1;

/** What decompression far from the ends may touch: 16 literal bytes and an offset; 15 literals and 32 of a match. */
const FAST_SOURCE: usize = 32;
const FAST_TARGET: usize = 64;
const MATCH_OVERRUN: usize = 32;

/** Where `extended` has stopped: it has two results. */
let extendedEnd: usize = 0;

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

/** Offset in the table of the five bytes at `at`: shorter matches than that pay little. */
@inline
function slotOf(at: usize): usize {
  return <usize>((((load<u64>(at) << 24) * HASH_PRIME) >> (64 - HASH_BITS)) << 1);
}

@inline
function positionAt(slot: usize): usize {
  return <usize>load<u16>(slot, HASH_TABLE);
}

@inline
function setPosition(slot: usize, position: usize): void {
  store<u16>(slot, <u16>position, HASH_TABLE);
}

/** Bytes from `a` on that equal those from `b` on, as far as `limit`, where `a` ends. */
@inline
function commonLength(a: usize, b: usize, limit: usize): usize {
  const start = a;
  if (a + 8 <= limit) {
    // Most matches end here.
    const differs = load<u64>(a) ^ load<u64>(b);
    if (differs !== 0) return <usize>(ctz<u64>(differs) >> 3);
    a += 8;
    b += 8;
    for (; a + 16 <= limit; a += 16, b += 16) {
      const equal = i8x16.bitmask(i8x16.eq(v128.load(a), v128.load(b)));
      if (equal !== 0xffff) return a - start + <usize>ctz<i32>(~equal);
    }
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

/** Ends the stream at `op` with everything from `anchor` on. Returns its whole length, or 0. */
function putLastLiterals(target: usize, op: usize, anchor: usize, targetEnd: usize, end: usize): i32 {
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
      let match: usize;
      let next = ip;
      let step: usize = 1;
      let misses: usize = 1 << SKIP_SHIFT;
      // Two probes a turn, because the engine looks for interrupts at each turn of a loop: 2 % of all the time.
      do {
        ip = next;
        next += step;
        step = misses++ >> SKIP_SHIFT;
        if (next > startEnd + 1) return putLastLiterals(target, op, anchor, targetEnd, end);
        match = source + positionAt(slot);
        setPosition(slot, ip - source);
        slot = slotOf(next);
        if (load<u32>(match) === load<u32>(ip)) break;

        ip = next;
        next += step;
        step = misses++ >> SKIP_SHIFT;
        if (next > startEnd + 1) return putLastLiterals(target, op, anchor, targetEnd, end);
        match = source + positionAt(slot);
        setPosition(slot, ip - source);
        slot = slotOf(next);
      } while (load<u32>(match) !== load<u32>(ip));
      while (ip > anchor && match > source && load<u8>(ip - 1) === load<u8>(match - 1)) {
        ip--;
        match--;
      }

      // The literals before it. The token is written when the match's length is known.
      const literals = ip - anchor;
      let token = op++;
      let tokenLiterals: usize = 15 << 4;
      if (literals < 15) {
        if (op + literals + ROOM > targetEnd) return 0;
        tokenLiterals = literals << 4;
        v128.store(op, v128.load(anchor));
      } else {
        if (op + literals + literals / 255 + ROOM > targetEnd) return 0;
        op = putLength(op, literals - 15);
        copyLiterals(op, anchor, literals, targetEnd, end);
      }
      op += literals;

      // The match, and those that follow it without literals between them.
      while (true) {
        store<u16>(op, <u16>(ip - match));
        op += 2;
        const extra = commonLength(ip + MIN_MATCH, match + MIN_MATCH, matchEnd);
        ip += MIN_MATCH + extra;
        if (extra < 15) {
          store<u8>(token, <u8>(tokenLiterals | extra));
        } else {
          if (op + extra / 255 + ROOM > targetEnd) return 0;
          store<u8>(token, <u8>(tokenLiterals | 15));
          op = putLength(op, extra - 15);
        }
        // Positions inside the match are not entered: 1 % faster, and less than 1 % longer.
        anchor = ip;
        if (ip > startEnd) return putLastLiterals(target, op, anchor, targetEnd, end);

        slot = slotOf(ip);
        match = source + positionAt(slot);
        setPosition(slot, ip - source);
        if (load<u32>(match) !== load<u32>(ip)) break;
        token = op++;
        tokenLiterals = 0;
        if (op + ROOM > targetEnd) return 0;
      }
      ip++;
      slot = slotOf(ip);
    }
  }

  return putLastLiterals(target, op, anchor, targetEnd, end);
}

/** Adds up the bytes behind a nibble of 15. At the end of the source it stops: what follows finds it exhausted. */
@inline
function extended(ip: usize, sourceEnd: usize): usize {
  let sum: usize = 0;
  while (ip < sourceEnd) {
    const more = <usize>load<u8>(ip++);
    sum += more;
    if (more !== 255) break;
  }
  extendedEnd = ip;
  return sum;
}

/**
 * Copies a match that lies `offset` before `op`; it may overlap what it makes. Writes up to 31 bytes behind
 * `end`, or, near the end of the target, none.
 */
@inline
function copyMatch(op: usize, offset: usize, end: usize, targetEnd: usize): void {
  let match = op - offset;
  if (end + MATCH_OVERRUN > targetEnd) {
    // Whole vectors as long as they fit, then single bytes.
    if (offset >= 16) {
      for (; op + 16 <= end; op += 16, match += 16) v128.store(op, v128.load(match));
    } else if (op + 16 <= targetEnd) {
      const pattern = v128.swizzle(v128.load(match), v128.load(REPEAT + (offset << 4)));
      const stride: usize = 16 - (<usize>16 % offset);
      for (; op + 16 <= end; op += stride, match += stride) v128.store(op, pattern);
    }
    while (op < end) store<u8>(op++, load<u8>(match++));
  } else if (offset >= 16) {
    do {
      v128.store(op, v128.load(match));
      v128.store(op, v128.load(match, 16), 16);
      op += 32;
      match += 32;
    } while (op < end);
  } else {
    // Repeat the match's bytes, moving on by a multiple of the offset.
    const pattern = v128.swizzle(v128.load(match), v128.load(REPEAT + (offset << 4)));
    const stride: usize = 16 - (<usize>16 % offset);
    do {
      v128.store(op, pattern);
      op += stride;
    } while (op < end);
  }
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

  // Far from both ends: no step of a sequence with short lengths can leave the regions.
  if (length > FAST_SOURCE && capacity > FAST_TARGET) {
    const fastSource = sourceEnd - FAST_SOURCE;
    const fastTarget = targetEnd - FAST_TARGET;
    while (ip < fastSource && op < fastTarget) {
      const start = ip;
      const token = <usize>load<u8>(ip++);
      let literals = token >> 4;
      if (literals < 15) {
        v128.store(op, v128.load(ip));
      } else {
        const more = <usize>load<u8>(ip++);
        literals += more;
        if (more === 255) {
          literals += extended(ip, sourceEnd);
          ip = extendedEnd;
        }
        if (ip >= fastSource || literals >= fastSource - ip || literals >= fastTarget - op) {
          ip = start;
          break;
        }
        for (let i: usize = 0; i < literals; i += 32) {
          v128.store(op + i, v128.load(ip + i));
          v128.store(op + i, v128.load(ip + i, 16), 16);
        }
      }
      op += literals;
      ip += literals;
      const offset = <usize>load<u16>(ip);
      ip += 2;
      let matched = token & 15;
      if (offset - 1 >= op - target) return MALFORMED;
      const match = op - offset;
      if (matched < 15 && offset >= 8) {
        store<u64>(op, load<u64>(match));
        store<u64>(op, load<u64>(match, 8), 8);
        store<u16>(op, load<u16>(match, 16), 16);
        op += matched + MIN_MATCH;
        continue;
      }
      if (matched === 15) {
        const more = <usize>load<u8>(ip++);
        matched += more;
        if (more === 255) {
          matched += extended(ip, sourceEnd);
          ip = extendedEnd;
        }
      }
      matched += MIN_MATCH;
      const end = op + matched;
      if (offset >= 16 && matched <= 32) {
        v128.store(op, v128.load(match));
        v128.store(op, v128.load(match, 16), 16);
        op = end;
        continue;
      }
      if (matched > targetEnd - op) return MALFORMED;
      copyMatch(op, offset, end, targetEnd);
      op = end;
    }
  }

  while (ip < sourceEnd) {
    const token = <usize>load<u8>(ip++);
    let literals = token >> 4;
    if (literals === 15) {
      literals += extended(ip, sourceEnd);
      ip = extendedEnd;
    }
    if (literals > sourceEnd - ip || literals > targetEnd - op) return MALFORMED;
    copyLiterals(op, ip, literals, targetEnd, sourceEnd);
    op += literals;
    ip += literals;
    if (ip === sourceEnd) return <i32>(op - target);

    if (sourceEnd - ip < 2) return MALFORMED;
    const offset = <usize>load<u16>(ip);
    ip += 2;
    if (offset === 0 || offset > op - target) return MALFORMED;
    let matched = token & 15;
    if (matched === 15) {
      matched += extended(ip, sourceEnd);
      ip = extendedEnd;
    }
    matched += MIN_MATCH;
    if (matched > targetEnd - op) return MALFORMED;
    copyMatch(op, offset, op + matched, targetEnd);
    op += matched;
  }
  // A stream ends with literals, which the loop has seen, or it has been cut.
  return MALFORMED;
}
