/** Blocks of the simulated workload: every written block says which write it is from. */

import { type Batch, type Entry, KIND_DATA, zeroEntry } from '../../core/record.js';
import { entriesOf, makeBatch } from '../../core/replication/batches.js';

export const BLOCK_BYTES = 4096;
/** What a block is from that stands in the place of another one. */
const MISPLACED = 0xffff_ffff;

/** FNV-1a over payload and block number, twice with different offsets. */
export function checksum(payload: Uint8Array, block: number): { low: number; high: number } {
  let low = 0x811c9dc5 ^ block;
  let high = 0x01000193 ^ Math.imul(block, 31);
  for (const byte of payload) {
    low = Math.imul(low ^ byte, 0x01000193);
    high = Math.imul(high ^ byte, 0x85ebca6b);
  }
  return { low: low >>> 0, high: high >>> 0 };
}

/** Blocks `first`… of write number `write`, the payload `bytes` long (at least 8). */
export function dataBatch(write: number, first: number, blocks: number, bytes: number): Batch {
  return makeBatch(
    Array.from({ length: blocks }, (_, i) => {
      const payload = Buffer.alloc(bytes, write & 0xff);
      payload.writeUInt32LE(write, 0);
      payload.writeUInt32LE(first + i, 4);
      const { low, high } = checksum(payload, first + i);
      const entry: Entry = {
        block: first + i,
        blocks: 1,
        kind: KIND_DATA,
        flags: 0,
        storedLength: bytes,
        checksumLow: low,
        checksumHigh: high,
      };
      return { entry, payload };
    }),
  );
}

export function zeroBatch(first: number, blocks: number): Batch {
  return makeBatch([{ entry: zeroEntry(first, blocks), payload: Buffer.alloc(0) }]);
}

/**
 * Which write each block of a read from `first` on is from; 0 for a block that reads as zeroes, and a number that no
 * write has for one that is in the wrong place.
 */
export function writesOf(batch: Batch, first?: number): number[] {
  const found: number[] = [];
  for (const { entry, payload } of entriesOf(batch)) {
    const misplaced = first !== undefined && entry.block !== first + found.length;
    const written = entry.kind === KIND_DATA && (misplaced || payload.readUInt32LE(4) !== entry.block);
    for (let i = 0; i < entry.blocks; i++) {
      if (misplaced || written) found.push(MISPLACED);
      else found.push(entry.kind === KIND_DATA ? payload.readUInt32LE(0) : 0);
    }
  }
  return found;
}

/** Indices of the entries whose payload does not match their checksum. */
export function badEntries(batch: Batch): number[] {
  const bad: number[] = [];
  let i = 0;
  for (const { entry, payload } of entriesOf(batch)) {
    if (entry.kind === KIND_DATA) {
      const { low, high } = checksum(payload, entry.block);
      if (low !== entry.checksumLow || high !== entry.checksumHigh) bad.push(i);
    }
    i++;
  }
  return bad;
}

export function verify(batch: Batch): boolean {
  return badEntries(batch).length === 0;
}
