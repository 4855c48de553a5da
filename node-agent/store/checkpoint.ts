/**
 * The index in a file, so that opening needs the log behind it only. The file is written while the index goes
 * on changing: what it has of a block is the state at its beginning or a later one. Replaying the log from the
 * beginning on gives the same index in either case, as every entry replaces what was there; only must the log
 * be durable up to the checkpoint's end before the superblock names the checkpoint.
 *
 * The file is a row of chunks, little-endian: u32 magic "SOSI", u32 CRC-32 of everything behind it, u16 format
 * version, u8 kind, u8 0, u32 number of rows, 32 bytes of volume and deployment id, u64 number of the
 * checkpoint, u64 number of the chunk in the file; then the rows. First one HEAD, then SEGMENTS, then BLOCKS,
 * then one END with the totals, without which the file is not whole.
 */

import { crc32 } from 'node:zlib';
import { type Disk, DiskError } from '../../core/ports.js';
import { type BlockIndex, emptyRecord, type IndexRecord } from './block-index.js';
import type { Damage } from './errors.js';
import { readU64, type StoreIdentity, writeU64 } from './format.js';

const MAGIC = 0x49534f53; // "SOSI"
const FORMAT = 1;
const CHUNK_HEADER_BYTES = 64;
const HEAD = 1;
const SEGMENTS = 2;
const BLOCKS = 3;
const END = 4;
/** What a block takes in the file. */
export const BLOCK_ROW_BYTES = 48;
const ROW_BYTES: Readonly<Record<number, number>> = {
  [HEAD]: 56,
  [SEGMENTS]: 32,
  [BLOCKS]: BLOCK_ROW_BYTES,
  [END]: 16,
};
/** Rows in a chunk at the most: about 100 µs of work. */
const CHUNK_ROWS = 1024;
/** Chunks that are written before others get their turn. */
const CHUNKS_PER_SLICE = 4;
const READ_BYTES = 1024 * 1024;

export interface SegmentRow {
  readonly number: number;
  /** N of `dev<N>`. */
  readonly device: number;
  readonly size: number;
  readonly lastSequence: number;
}

export interface CheckpointHead {
  /** All batches up to this number are in the index. */
  readonly batch: number;
  /** Where the batches behind it begin. */
  readonly start: { readonly segment: number; readonly offset: number };
  readonly lastEpoch: number;
  readonly lastSequence: number;
  readonly generation: number;
  readonly floor: number;
  readonly streamStart: { readonly segment: number; readonly offset: number };
  readonly segments: readonly SegmentRow[];
}

export interface CheckpointOptions {
  readonly disk: Disk;
  readonly path: string;
  readonly identity: StoreIdentity;
  readonly number: number;
}

/** Writes chunk after chunk; knows where it is. */
class ChunkWriter {
  readonly #options: CheckpointOptions;
  readonly #file: ReturnType<Disk['open']>;
  readonly #buffer = Buffer.alloc(CHUNK_HEADER_BYTES + CHUNK_ROWS * 56);
  #chunks = 0;
  #kind = HEAD;
  #rows = 0;
  bytes = 0;

  constructor(options: CheckpointOptions, file: ReturnType<Disk['open']>) {
    this.#options = options;
    this.#file = file;
  }

  get chunks(): number {
    return this.#chunks;
  }

  /** Room for the next row of this kind: the buffer and the place in it, zeroed. */
  row(kind: number): { readonly buffer: Buffer; readonly at: number } {
    if (kind !== this.#kind || this.#rows === CHUNK_ROWS) this.flush();
    this.#kind = kind;
    const size = ROW_BYTES[kind]!;
    const at = CHUNK_HEADER_BYTES + this.#rows++ * size;
    this.#buffer.fill(0, at, at + size);
    return { buffer: this.#buffer, at };
  }

  flush(): void {
    if (this.#rows === 0) return;
    const { identity, number } = this.#options;
    const end = CHUNK_HEADER_BYTES + this.#rows * ROW_BYTES[this.#kind]!;
    const chunk = this.#buffer.subarray(0, end);
    chunk.writeUInt32LE(MAGIC, 0);
    chunk.writeUInt16LE(FORMAT, 8);
    chunk.writeUInt8(this.#kind, 10);
    chunk.writeUInt8(0, 11);
    chunk.writeUInt32LE(this.#rows, 12);
    identity.bytes.copy(chunk, 16);
    writeU64(chunk, number, 48);
    writeU64(chunk, this.#chunks, 56);
    chunk.writeUInt32LE(crc32(chunk.subarray(8)), 4);
    this.#file.write([chunk], this.bytes);
    this.bytes += end;
    this.#chunks++;
    this.#rows = 0;
  }
}

/**
 * Writes the index as it is, giving way by `pause` every few chunks. Durable when it resolves, the directory
 * entry included; returns the file's length. After an error the file is there in part or not at all.
 */
export async function writeCheckpoint(
  options: CheckpointOptions,
  head: CheckpointHead,
  index: BlockIndex,
  pause: () => Promise<void>,
): Promise<number> {
  const { disk, path } = options;
  const file = disk.open(path, { create: true });
  try {
    file.truncate(0);
    const writer = new ChunkWriter(options, file);
    writeHead(writer, head);
    const record = emptyRecord();
    let blocks = 0;
    let pausedAt = 0;
    for (let from = 0; ; ) {
      const found = index.select(-1, from, CHUNK_ROWS);
      for (const block of found) {
        index.get(block, record);
        writeBlockRow(writer, block, record);
      }
      blocks += found.length;
      if (found.length < CHUNK_ROWS) break;
      from = found.at(-1)! + 1;
      if (writer.chunks - pausedAt < CHUNKS_PER_SLICE) continue;
      pausedAt = writer.chunks;
      await pause();
    }
    const { buffer, at } = writer.row(END);
    writeU64(buffer, blocks, at);
    writeU64(buffer, head.segments.length, at + 8);
    writer.flush();
    await file.sync();
    await disk.syncDirectory(path.slice(0, path.lastIndexOf('/')));
    return writer.bytes;
  } finally {
    file.close();
  }
}

function writeHead(writer: ChunkWriter, head: CheckpointHead): void {
  const { buffer, at } = writer.row(HEAD);
  writeU64(buffer, head.batch, at);
  buffer.writeUInt32LE(head.start.segment, at + 8);
  buffer.writeUInt32LE(head.start.offset, at + 12);
  writeU64(buffer, head.lastEpoch, at + 16);
  writeU64(buffer, head.lastSequence, at + 24);
  writeU64(buffer, head.generation, at + 32);
  writeU64(buffer, head.floor, at + 40);
  buffer.writeUInt32LE(head.streamStart.segment, at + 48);
  buffer.writeUInt32LE(head.streamStart.offset, at + 52);
  for (const segment of head.segments) {
    const { buffer: row, at: place } = writer.row(SEGMENTS);
    row.writeUInt32LE(segment.number, place);
    row.writeUInt32LE(segment.device, place + 4);
    row.writeUInt32LE(segment.size, place + 8);
    writeU64(row, segment.lastSequence, place + 16);
  }
}

function writeBlockRow(writer: ChunkWriter, block: number, record: IndexRecord): void {
  const { buffer, at } = writer.row(BLOCKS);
  writeU64(buffer, block, at);
  writeU64(buffer, record.epoch, at + 8);
  writeU64(buffer, record.sequence, at + 16);
  buffer.writeUInt32LE(record.segment, at + 24);
  buffer.writeUInt32LE(record.offset, at + 28);
  buffer.writeUInt32LE(record.storedLength, at + 32);
  buffer.writeUInt8(record.kind, at + 36);
  buffer.writeUInt8(record.flags, at + 37);
  buffer.writeUInt32LE(record.checksumLow, at + 40);
  buffer.writeUInt32LE(record.checksumHigh, at + 44);
}

/**
 * Reads a checkpoint into `put`, block by block. Returns its head, or what is wrong with the file; `put` may
 * have been called then, and what it was given counts for nothing.
 */
export async function readCheckpoint(
  options: CheckpointOptions,
  bytes: number,
  put: (block: number, record: IndexRecord) => void,
): Promise<CheckpointHead | Damage> {
  const { disk, path } = options;
  const reader = new ChunkReader(options, bytes, put);
  try {
    const file = disk.open(path, { create: false });
    try {
      const size = file.size();
      if (size !== bytes) return { path, offset: 0, what: `checkpoint of ${size} bytes where ${bytes} were written` };
      let buffered = Buffer.alloc(0);
      for (let at = 0; at < bytes; ) {
        const part = Buffer.allocUnsafe(Math.min(READ_BYTES, bytes - at));
        if ((await file.readAsync(part, at)) < part.length) return { path, offset: at, what: 'checkpoint cut short' };
        at += part.length;
        buffered = buffered.length === 0 ? part : Buffer.concat([buffered, part]);
        const used = reader.take(buffered);
        if (typeof used === 'string') return { path, offset: reader.offset, what: used };
        buffered = buffered.subarray(used);
      }
      const head = reader.finish();
      return typeof head === 'string' ? { path, offset: reader.offset, what: head } : head;
    } finally {
      file.close();
    }
  } catch (error) {
    if (error instanceof DiskError) return { path, offset: reader.offset, what: error.message };
    throw error;
  }
}

class ChunkReader {
  readonly #options: CheckpointOptions;
  readonly #bytes: number;
  readonly #put: (block: number, record: IndexRecord) => void;
  readonly #segments: SegmentRow[] = [];
  readonly #record = emptyRecord();
  #head: Omit<CheckpointHead, 'segments'> | undefined;
  #chunks = 0;
  #blocks = 0;
  #end: { blocks: number; segments: number } | undefined;
  offset = 0;

  constructor(options: CheckpointOptions, bytes: number, put: (block: number, record: IndexRecord) => void) {
    this.#options = options;
    this.#bytes = bytes;
    this.#put = put;
  }

  /** Takes the whole chunks at the beginning of `buffer`; returns how many bytes they are, or what is wrong. */
  take(buffer: Buffer): number | string {
    let at = 0;
    while (buffer.length - at >= CHUNK_HEADER_BYTES) {
      const kind = buffer.readUInt8(at + 10);
      const rows = buffer.readUInt32LE(at + 12);
      const size = ROW_BYTES[kind];
      if (buffer.readUInt32LE(at) !== MAGIC || size === undefined || rows > CHUNK_ROWS) return 'not a checkpoint chunk';
      const end = at + CHUNK_HEADER_BYTES + rows * size;
      if (this.offset + (end - at) > this.#bytes) return 'chunk beyond the end';
      if (end > buffer.length) break;
      const problem = this.#chunk(buffer.subarray(at, end), kind, rows, size);
      if (problem !== undefined) return problem;
      this.offset += end - at;
      at = end;
    }
    return at;
  }

  #chunk(chunk: Buffer, kind: number, rows: number, size: number): string | undefined {
    const { identity, number } = this.#options;
    if (chunk.readUInt32LE(4) !== crc32(chunk.subarray(8))) return 'chunk checksum';
    if (chunk.readUInt16LE(8) !== FORMAT) return `checkpoint of format ${chunk.readUInt16LE(8)}`;
    if (identity.bytes.compare(chunk, 16, 48) !== 0) return 'chunk of another deployment';
    if (readU64(chunk, 48) !== number || readU64(chunk, 56) !== this.#chunks) return 'chunk of another place';
    if (this.#end !== undefined || (this.#chunks === 0) !== (kind === HEAD)) return 'chunk out of order';
    this.#chunks++;
    for (let row = 0; row < rows; row++) this.#row(chunk, kind, CHUNK_HEADER_BYTES + row * size);
    return undefined;
  }

  #row(chunk: Buffer, kind: number, at: number): void {
    if (kind === BLOCKS) {
      const record = this.#record;
      record.epoch = readU64(chunk, at + 8);
      record.sequence = readU64(chunk, at + 16);
      record.segment = chunk.readUInt32LE(at + 24);
      record.offset = chunk.readUInt32LE(at + 28);
      record.storedLength = chunk.readUInt32LE(at + 32);
      record.kind = chunk.readUInt8(at + 36);
      record.flags = chunk.readUInt8(at + 37);
      record.checksumLow = chunk.readUInt32LE(at + 40);
      record.checksumHigh = chunk.readUInt32LE(at + 44);
      this.#blocks++;
      this.#put(readU64(chunk, at), record);
    } else if (kind === SEGMENTS) {
      this.#segments.push({
        number: chunk.readUInt32LE(at),
        device: chunk.readUInt32LE(at + 4),
        size: chunk.readUInt32LE(at + 8),
        lastSequence: readU64(chunk, at + 16),
      });
    } else if (kind === HEAD) {
      this.#head = {
        batch: readU64(chunk, at),
        start: { segment: chunk.readUInt32LE(at + 8), offset: chunk.readUInt32LE(at + 12) },
        lastEpoch: readU64(chunk, at + 16),
        lastSequence: readU64(chunk, at + 24),
        generation: readU64(chunk, at + 32),
        floor: readU64(chunk, at + 40),
        streamStart: { segment: chunk.readUInt32LE(at + 48), offset: chunk.readUInt32LE(at + 52) },
      };
    } else this.#end = { blocks: readU64(chunk, at), segments: readU64(chunk, at + 8) };
  }

  finish(): CheckpointHead | string {
    if (this.offset !== this.#bytes || this.#head === undefined || this.#end === undefined)
      return 'checkpoint not whole';
    if (this.#end.blocks !== this.#blocks || this.#end.segments !== this.#segments.length) return 'rows are missing';
    return { ...this.#head, segments: this.#segments };
  }
}
