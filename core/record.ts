/**
 * The block record: what a frontend makes of a block once, and what every other part of the system moves,
 * stores and verifies without decoding it. A batch is a table of 32-byte entries and the payloads that the
 * entries describe, concatenated in the table's order. The same bytes go over the wire and into the log.
 *
 * Entry, little-endian:
 *
 * | offset | type | field |
 * |---|---|---|
 * | 0  | u64 | first block number (kind GENERATION: the attachment generation) |
 * | 8  | u32 | number of blocks: 1 for DATA and LOST, at least 1 for ZERO, 0 for GENERATION |
 * | 12 | u8  | kind |
 * | 13 | u8  | encoding flags, DATA only |
 * | 14 | u16 | 0 |
 * | 16 | u32 | stored length of the payload in bytes: 1–65,536 for DATA, else 0 |
 * | 20 | u32 | 0 |
 * | 24 | u64 | XXH3-64 of the stored payload, bound to volume and block number (LOST: of the payload that is lost); else 0 |
 */

export const ENTRY_BYTES = 32;

/** Entries in one batch at the most. */
export const MAX_BATCH_ENTRIES = 512;
/** Payload bytes in one batch at the most (one frontend request is split to fit). */
export const MAX_BATCH_PAYLOAD_BYTES = 1 << 20;
/**
 * Blocks that the ZERO entries of one write may have together: each is a row of the index, and whoever applies them
 * does so in one turn of its event loop, about a millisecond.
 */
export const MAX_WRITE_ZERO_BLOCKS = 8192;

export const KIND_DATA = 1;
/** Blocks that read as zeroes: TRIM, WRITE_ZEROES, and a written block that is all zeroes. */
export const KIND_ZERO = 2;
/** A higher attachment generation takes effect at this point of the log. */
export const KIND_GENERATION = 3;
/**
 * A block whose payload no in-sync copy could read when this copy was brought up to date: what it was is known by
 * order and checksum, so that a copy that has it can mend it; reading it is an error until then. Beside the stream only.
 */
export const KIND_LOST = 4;

export const FLAG_LZ4 = 1;
export const FLAG_XTS = 2;

/** The smallest and largest block size of a volume, bytes. */
export const MIN_BLOCK_BYTES = 4096;
export const MAX_BLOCK_BYTES = 65536;

/**
 * Memory that is given back instead of being left to the garbage collector. Whoever uses it beyond the call in which
 * it was handed over holds it meanwhile; it is overwritten after the last holder has released it.
 */
export interface Lease {
  /** There is one holder. */
  readonly exclusive: boolean;
  /** Another holder. */
  retain(): void;
  /** One holder less; to be called once by each. */
  release(): void;
}

/** Leased memory for so many bytes, held once by the caller; undefined if there is none: ordinary memory does as well. */
export type Lender = (bytes: number) => (Lease & { readonly bytes: Buffer }) | undefined;

/**
 * A table of entries and their payloads; both views are owned by whoever made the batch and are never changed. With a
 * `lease` the payload, never the entries, is in leased memory: valid for whoever is handed the batch until the call
 * ends, and longer only between `retain` and `release`.
 */
export interface Batch {
  readonly entries: Buffer;
  readonly payload: Buffer;
  readonly lease?: Lease | undefined;
}

/** Keeps the batch's payload beyond the present call. */
export function retain(batch: Batch): void {
  batch.lease?.retain();
}

/** Ends what `retain`, or the making of the batch, began. */
export function release(batch: Batch): void {
  batch.lease?.release();
}

export interface Entry {
  block: number;
  blocks: number;
  kind: number;
  flags: number;
  storedLength: number;
  checksumLow: number;
  checksumHigh: number;
}

export function entryCount(batch: Batch): number {
  return batch.entries.length / ENTRY_BYTES;
}

/** The `i`-th entry of a table that `batchProblem` has found sound. */
export function readEntry(entries: Buffer, i: number): Entry {
  const at = i * ENTRY_BYTES;
  return {
    block: entries.readUInt32LE(at) + entries.readUInt32LE(at + 4) * 2 ** 32,
    blocks: entries.readUInt32LE(at + 8),
    kind: entries.readUInt8(at + 12),
    flags: entries.readUInt8(at + 13),
    storedLength: entries.readUInt32LE(at + 16),
    checksumLow: entries.readUInt32LE(at + 24),
    checksumHigh: entries.readUInt32LE(at + 28),
  };
}

/** To read single fields of the table's entries, at the offsets above. */
export function tableView({ entries }: Batch): DataView {
  return new DataView(entries.buffer, entries.byteOffset, entries.length);
}

/** The block number of the entry at this offset of the table. */
export function blockAt(table: DataView, at: number): number {
  return table.getUint32(at, true) + table.getUint32(at + 4, true) * 2 ** 32;
}

/** Writes `entry` as the `i`-th of the table. */
export function writeEntry(entries: Buffer, i: number, entry: Entry): void {
  const at = i * ENTRY_BYTES;
  entries.writeUInt32LE(entry.block % 2 ** 32, at);
  entries.writeUInt32LE(Math.floor(entry.block / 2 ** 32), at + 4);
  entries.writeUInt32LE(entry.blocks, at + 8);
  entries.writeUInt8(entry.kind, at + 12);
  entries.writeUInt8(entry.flags, at + 13);
  entries.writeUInt16LE(0, at + 14);
  entries.writeUInt32LE(entry.storedLength, at + 16);
  entries.writeUInt32LE(0, at + 20);
  entries.writeUInt32LE(entry.checksumLow, at + 24);
  entries.writeUInt32LE(entry.checksumHigh, at + 28);
}

/** An entry for a range of blocks that read as zeroes. */
export function zeroEntry(block: number, blocks: number): Entry {
  return { block, blocks, kind: KIND_ZERO, flags: 0, storedLength: 0, checksumLow: 0, checksumHigh: 0 };
}

/** An entry for a block whose payload is lost, with the checksum that it had. */
export function lostEntry(block: number, checksumLow: number, checksumHigh: number): Entry {
  return { block, blocks: 1, kind: KIND_LOST, flags: 0, storedLength: 0, checksumLow, checksumHigh };
}

/** `write`: from a frontend; `stream`: with an order of its own in the log; `blocks`: blocks as a copy has them. */
export type BatchUse = 'write' | 'stream' | 'blocks';

const KINDS: Readonly<Record<BatchUse, readonly number[]>> = {
  write: [KIND_DATA, KIND_ZERO],
  stream: [KIND_DATA, KIND_ZERO, KIND_GENERATION],
  blocks: [KIND_DATA, KIND_ZERO, KIND_LOST],
};

/**
 * What is wrong with a batch that came from outside, or undefined if it is sound: sizes within the limits, only
 * kinds that belong into such a batch, every field in its range, payload exactly as long as the entries say, all
 * blocks below `volumeBlocks`. The payloads' checksums are not looked at here.
 */
export function batchProblem(batch: Batch, volumeBlocks: number, blockSize: number, use: BatchUse): string | undefined {
  const { entries, payload } = batch;
  if (entries.length === 0 || entries.length % ENTRY_BYTES !== 0) return `entry table of ${entries.length} bytes`;
  const count = entries.length / ENTRY_BYTES;
  if (count > MAX_BATCH_ENTRIES) return `${count} entries, at most ${MAX_BATCH_ENTRIES} are allowed`;
  if (payload.length > MAX_BATCH_PAYLOAD_BYTES) return `payload of ${payload.length} bytes`;
  // No object for each entry: this is done several times on a block's way.
  const table = tableView(batch);
  let stored = 0;
  let zeroed = 0;
  for (let i = 0; i < count; i++) {
    const at = i * ENTRY_BYTES;
    const block = blockAt(table, at);
    const blocks = table.getUint32(at + 8, true);
    const kind = table.getUint8(at + 12);
    const flags = table.getUint8(at + 13);
    const storedLength = table.getUint32(at + 16, true);
    if (!KINDS[use].includes(kind)) return `entry ${i}: kind ${kind} where ${use} is expected`;
    switch (kind) {
      case KIND_DATA:
        if (blocks !== 1) return `entry ${i}: ${blocks} blocks in one data entry`;
        if (storedLength < 1 || storedLength > blockSize) return `entry ${i}: length ${storedLength}`;
        if (flags > (FLAG_LZ4 | FLAG_XTS)) return `entry ${i}: flags ${flags}`;
        break;
      case KIND_ZERO:
        if (blocks < 1 || storedLength !== 0 || flags !== 0) return `entry ${i}: malformed zero range`;
        zeroed += blocks;
        break;
      case KIND_GENERATION:
        if (blocks !== 0 || storedLength !== 0) return `entry ${i}: malformed generation`;
        if (!Number.isSafeInteger(block)) return `entry ${i}: generation out of range`;
        continue;
      case KIND_LOST:
        if (blocks !== 1 || storedLength !== 0 || flags !== 0) return `entry ${i}: malformed lost block`;
        break;
    }
    if (block + blocks > volumeBlocks) return `entry ${i}: beyond the volume's end`;
    stored += storedLength;
  }
  if (use === 'write' && zeroed > MAX_WRITE_ZERO_BLOCKS) return `${zeroed} blocks of zeroes`;
  if (stored !== payload.length) return `payload of ${payload.length} bytes where the entries say ${stored}`;
  return undefined;
}
