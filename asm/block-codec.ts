// The block codec: one call makes a request's blocks into entries and stored payloads, or the reverse. The entry
// table is that of core/record.ts; docs/internals/codec.md has the format and says what it protects against.

import { compress, decompress } from './lz4';
import { BINDING, RESULT, VOLUME_ID } from './memory';
import { hash } from './xxh3';
import {
  MAX_UNITS,
  MIN_UNIT,
  finish,
  makeTweaks,
  setUnitNumber,
  stageUnit,
  stealUnit,
  transformUnit,
  unstageUnit,
} from './xts';

const ENTRY_BYTES: usize = 32;
const ENTRY_BLOCKS: usize = 8;
const ENTRY_KIND: usize = 12;
const ENTRY_FLAGS: usize = 13;
const ENTRY_LENGTH: usize = 16;
const ENTRY_CHECKSUM: usize = 24;
/** What the checksum covers of the entry itself. */
const ENTRY_BOUND_BYTES: usize = 24;
const BINDING_BYTES: usize = 16 + ENTRY_BOUND_BYTES;

const KIND_DATA: u32 = 1;
const KIND_ZERO: u32 = 2;
const FLAG_LZ4: u32 = 1;
const FLAG_XTS: u32 = 2;

/** Options of the calls. */
export const COMPRESS: u32 = 1;
/** The volume is encrypted: entries are marked so. */
export const ENCRYPTED: u32 = 2;
/** Somebody else does AES: encode stops before it, and `seal` follows; decode finds the payloads decrypted. */
export const CIPHER_OUTSIDE: u32 = 4;

/** What decode returns; the block it is about is at RESULT (u64). */
export const GOOD: i32 = 0;
export const BAD_CHECKSUM: i32 = 1;
export const BAD_COMPRESSED: i32 = 2;
export const BAD_LENGTH: i32 = 3;
export const BAD_ENTRY: i32 = 4;

@inline
function allZero(at: usize, length: usize): bool {
  const end = at + length;
  // Most blocks that aren't zero say so in the first 64 bytes.
  for (; at < end; at += 64) {
    const any = v128.or(
      v128.or(v128.load(at), v128.load(at, 16)),
      v128.or(v128.load(at, 32), v128.load(at, 48)),
    );
    if (v128.any_true(any)) return false;
  }
  return true;
}

/** Checksum of the payload of `length` bytes, bound to the volume and to the entry's fields. */
@inline
function checksum(entry: usize, payload: usize, length: usize): u64 {
  v128.store(BINDING, v128.load(VOLUME_ID));
  v128.store(BINDING, v128.load(entry), 16);
  store<u64>(BINDING, load<u64>(entry, 16), 32);
  return hash(payload, length, hash(BINDING, BINDING_BYTES, 0));
}

/**
 * Encodes `count` blocks of `blockSize` bytes at `plain`, numbered from `first` on (two halves), to entries at `entries` and
 * payloads at `stored`, which has room for all blocks uncompressed. Returns the number of entries; the payloads'
 * length is at RESULT (u32).
 */
export function encode(
  plain: usize,
  entries: usize,
  stored: usize,
  firstLow: u32,
  firstHigh: u32,
  count: u32,
  blockSize: usize,
  options: u32,
): u32 {
  const first = (<u64>firstHigh << 32) | <u64>firstLow;
  // Worth compressing only if at least 1/8 is saved.
  const limit = blockSize - (blockSize >> 3);
  const cipher = (options & (ENCRYPTED | CIPHER_OUTSIDE)) === ENCRYPTED;
  const sealed = (options & CIPHER_OUTSIDE) === 0;
  const encryptedFlag: u32 = options & ENCRYPTED ? FLAG_XTS : 0;
  let entry = entries;
  let op = stored;
  let groupEntry = entry;
  let groupPayload = op;
  let units: usize = 0;
  let zeroRun = false;

  for (let i: u32 = 0; i < count; i++, plain += blockSize) {
    if (allZero(plain, blockSize)) {
      if (zeroRun) {
        store<u32>(entry - ENTRY_BYTES, load<u32>(entry - ENTRY_BYTES, ENTRY_BLOCKS) + 1, ENTRY_BLOCKS);
      } else {
        putEntry(entry, first + i, KIND_ZERO, 0, 0);
        entry += ENTRY_BYTES;
        zeroRun = true;
      }
      continue;
    }
    zeroRun = false;
    let flags = encryptedFlag;
    let length: usize = 0;
    if (options & COMPRESS) length = <usize>compress(plain, blockSize, op, limit);
    if (length > 0) {
      flags |= FLAG_LZ4;
    } else {
      length = blockSize;
      memory.copy(op, plain, blockSize);
    }
    putEntry(entry, first + i, KIND_DATA, flags, <u32>length);
    entry += ENTRY_BYTES;
    op += length;
    if (sealed && ++units === MAX_UNITS) {
      sealGroup(groupEntry, entry, groupPayload, cipher);
      groupEntry = entry;
      groupPayload = op;
      units = 0;
    }
  }
  if (units > 0) sealGroup(groupEntry, entry, groupPayload, cipher);
  store<u32>(RESULT, <u32>(op - stored));
  return <u32>((entry - entries) / ENTRY_BYTES);
}

@inline
function putEntry(entry: usize, block: u64, kind: u32, flags: u32, length: u32): void {
  store<u64>(entry, block);
  store<u32>(entry, 1, ENTRY_BLOCKS);
  store<u32>(entry, kind | (flags << 8), ENTRY_KIND);
  store<u64>(entry, <u64>length, ENTRY_LENGTH);
  store<u64>(entry, 0, ENTRY_CHECKSUM);
}

@inline
function hasData(entry: usize): bool {
  return load<u8>(entry, ENTRY_KIND) === KIND_DATA;
}

@inline
function lengthOf(entry: usize): usize {
  return <usize>load<u32>(entry, ENTRY_LENGTH);
}

/** The end of the group of entries at `entry`: behind MAX_UNITS with data, or `end`. */
function groupEnd(entry: usize, end: usize): usize {
  for (let units: usize = 0; entry < end && units < MAX_UNITS; entry += ENTRY_BYTES) {
    if (hasData(entry)) units++;
  }
  return entry;
}

/** First tweaks of a group. The data unit number is the block number. */
function prepareTweaks(entry: usize, end: usize): void {
  let units: usize = 0;
  for (; entry < end; entry += ENTRY_BYTES) {
    if (hasData(entry)) setUnitNumber(units++, load<u64>(entry), 0);
  }
  if (units > 0) makeTweaks();
}

/** The incomplete AES blocks of a group's payloads. */
function stealGroup(entry: usize, end: usize, payload: usize, decrypting: bool): void {
  for (let unit: usize = 0; entry < end; entry += ENTRY_BYTES) {
    if (!hasData(entry)) continue;
    const length = lengthOf(entry);
    stealUnit(payload, length, unit++, decrypting);
    payload += length;
  }
  finish(decrypting);
}

/** Encrypts or decrypts a group's payloads in place. Returns their end. */
function cipherGroup(entry: usize, end: usize, payload: usize, decrypting: bool): usize {
  prepareTweaks(entry, end);
  let at = payload;
  let unit: usize = 0;
  for (let each = entry; each < end; each += ENTRY_BYTES) {
    if (!hasData(each)) continue;
    const length = lengthOf(each);
    transformUnit(at, length, unit++, decrypting);
    at += length;
  }
  finish(decrypting);
  stealGroup(entry, end, payload, decrypting);
  return at;
}

/** Encrypts, if told to, and checksums the payloads of a group. */
function sealGroup(entry: usize, end: usize, payload: usize, cipher: bool): void {
  if (cipher) cipherGroup(entry, end, payload, false);
  for (; entry < end; entry += ENTRY_BYTES) {
    if (!hasData(entry)) continue;
    const length = lengthOf(entry);
    store<u64>(entry, checksum(entry, payload, length), ENTRY_CHECKSUM);
    payload += length;
  }
}

/** Checksums of all entries, after encode with CIPHER_OUTSIDE and the encryption in place. */
export function seal(entries: usize, count: u32, stored: usize): void {
  sealGroup(entries, entries + <usize>count * ENTRY_BYTES, stored, false);
}

/**
 * For AES elsewhere: writes the whole AES blocks of all payloads, whitened, to `staged`, one behind the other, and
 * returns their length. After AES-256-ECB in place, `unstage` takes them back into the payloads.
 */
export function stage(entries: usize, count: u32, stored: usize, staged: usize, decrypting: bool): usize {
  const end = entries + <usize>count * ENTRY_BYTES;
  let op = staged;
  for (let entry = entries; entry < end; ) {
    const next = groupEnd(entry, end);
    prepareTweaks(entry, next);
    for (let unit: usize = 0; entry < next; entry += ENTRY_BYTES) {
      if (!hasData(entry)) continue;
      const length = lengthOf(entry);
      op += stageUnit(stored, length, op, unit++, decrypting);
      stored += length;
    }
  }
  return op - staged;
}

export function unstage(entries: usize, count: u32, stored: usize, staged: usize, decrypting: bool): void {
  const end = entries + <usize>count * ENTRY_BYTES;
  for (let entry = entries; entry < end; ) {
    const group = entry;
    const groupStored = stored;
    const next = groupEnd(entry, end);
    prepareTweaks(entry, next);
    for (let unit: usize = 0; entry < next; entry += ENTRY_BYTES) {
      if (!hasData(entry)) continue;
      const length = lengthOf(entry);
      staged += unstageUnit(stored, length, staged, unit++, decrypting);
      stored += length;
    }
    stealGroup(group, next, groupStored, decrypting);
  }
}

@inline
function fail(problem: i32, block: u64): i32 {
  store<u64>(RESULT, block);
  return problem;
}

/**
 * Whether the entries are well-formed, cover the blocks from `first` to `first + count` in order and describe
 * exactly `storedLength` bytes of payload that match their checksums. No other call trusts entries unchecked.
 */
export function check(
  entries: usize,
  entryCount: u32,
  stored: usize,
  storedLength: usize,
  firstLow: u32,
  firstHigh: u32,
  count: u32,
  blockSize: usize,
  options: u32,
): i32 {
  const encryptedFlag: u32 = options & ENCRYPTED ? FLAG_XTS : 0;
  const storedEnd = stored + storedLength;
  let block = (<u64>firstHigh << 32) | <u64>firstLow;
  let left: u64 = count;
  const end = entries + <usize>entryCount * ENTRY_BYTES;
  for (let entry = entries; entry < end; entry += ENTRY_BYTES) {
    const blocks = <u64>load<u32>(entry, ENTRY_BLOCKS);
    if (load<u64>(entry) !== block || blocks === 0 || blocks > left) return fail(BAD_ENTRY, block);
    if (load<u16>(entry, 14) !== 0 || load<u32>(entry, 20) !== 0) return fail(BAD_ENTRY, block);
    const kind = <u32>load<u8>(entry, ENTRY_KIND);
    const flags = <u32>load<u8>(entry, ENTRY_FLAGS);
    const length = <usize>load<u32>(entry, ENTRY_LENGTH);
    if (kind === KIND_DATA) {
      if (blocks !== 1 || length === 0 || length > storedEnd - stored) return fail(BAD_ENTRY, block);
      if (checksum(entry, stored, length) !== load<u64>(entry, ENTRY_CHECKSUM)) return fail(BAD_CHECKSUM, block);
      if ((flags & ~FLAG_LZ4) !== encryptedFlag) return fail(BAD_ENTRY, block);
      if (flags & FLAG_LZ4 ? length >= blockSize : length !== blockSize) return fail(BAD_LENGTH, block);
      if (flags & FLAG_XTS && length < MIN_UNIT) return fail(BAD_LENGTH, block);
      stored += length;
    } else if (kind !== KIND_ZERO || flags !== 0 || length !== 0 || load<u64>(entry, ENTRY_CHECKSUM) !== 0) {
      return fail(BAD_ENTRY, block);
    }
    block += blocks;
    left -= blocks;
  }
  if (left !== 0 || stored !== storedEnd) return fail(BAD_ENTRY, block);
  return GOOD;
}

/**
 * Decodes what `check` has found good to `plain`; decrypts `stored` in place, but with CIPHER_OUTSIDE the payloads
 * are decrypted already.
 */
export function decode(
  entries: usize,
  entryCount: u32,
  stored: usize,
  plain: usize,
  blockSize: usize,
  options: u32,
): i32 {
  const end = entries + <usize>entryCount * ENTRY_BYTES;
  if ((options & (ENCRYPTED | CIPHER_OUTSIDE)) === ENCRYPTED) {
    let payload = stored;
    for (let entry = entries; entry < end; ) {
      const next = groupEnd(entry, end);
      payload = cipherGroup(entry, next, payload, true);
      entry = next;
    }
  }
  for (let entry = entries; entry < end; entry += ENTRY_BYTES) {
    if (!hasData(entry)) {
      const length = <usize>load<u32>(entry, ENTRY_BLOCKS) * blockSize;
      memory.fill(plain, 0, length);
      plain += length;
      continue;
    }
    const length = lengthOf(entry);
    if (load<u8>(entry, ENTRY_FLAGS) & FLAG_LZ4) {
      const made = decompress(stored, length, plain, blockSize);
      if (made < 0) return fail(BAD_COMPRESSED, load<u64>(entry));
      if (<usize>made !== blockSize) return fail(BAD_LENGTH, load<u64>(entry));
    } else {
      memory.copy(plain, stored, length);
    }
    stored += length;
    plain += blockSize;
  }
  return GOOD;
}

/**
 * Index of the first DATA entry from `from` on whose payload doesn't match its checksum, or the number of
 * entries. `stored` is the payload of entry `from`; one that would end behind `storedEnd` doesn't match. The
 * offset behind the entry's payload, at most `storedEnd`, is left at RESULT (u32).
 */
export function firstBad(entries: usize, entryCount: u32, from: u32, stored: usize, storedEnd: usize): u32 {
  let i = from;
  for (; i < entryCount; i++) {
    const entry = entries + <usize>i * ENTRY_BYTES;
    if (load<u8>(entry, ENTRY_KIND) !== KIND_DATA) continue;
    const length = <usize>load<u32>(entry, ENTRY_LENGTH);
    if (length > storedEnd - stored) {
      stored = storedEnd;
      break;
    }
    const good = checksum(entry, stored, length) === load<u64>(entry, ENTRY_CHECKSUM);
    stored += length;
    if (!good) break;
  }
  store<u32>(RESULT, <u32>stored);
  return i;
}
