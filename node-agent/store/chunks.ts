/**
 * Files that are a row of checksummed chunks of rows: what checkpoints are made of.
 *
 * A chunk, little-endian: u32 magic "SOSI", u32 CRC-32 of everything behind it, u16 format version, u8 kind, u8 0,
 * u32 number of rows, 32 bytes of volume and deployment id, u64 number of the file, u64 number of the chunk in the
 * file; then the rows. The first chunk is a HEAD, the last one the END, without which the file is not whole.
 */

import { crc32 } from 'node:zlib';
import { type Disk, DiskError, type DiskFile } from '../../core/ports.js';
import { type Damage, unreadBy } from './errors.js';
import { readU64, type StoreIdentity, writeU64 } from './format.js';

const MAGIC = 0x49534f53; // "SOSI"
const CHUNK_HEADER_BYTES = 64;
export const HEAD = 1;
export const END = 4;
/** Rows in a chunk at the most: about 100 µs of work. */
export const CHUNK_ROWS = 1024;
const READ_BYTES = 1024 * 1024;

export interface ChunkFile {
  readonly disk: Disk;
  readonly path: string;
  readonly identity: StoreIdentity;
  readonly number: number;
}

/** Bytes of a row by kind. */
export type RowBytes = Readonly<Record<number, number>>;

/** Of one write. */
const CHUNKS_AT_ONCE = 64;

/** Makes chunk after chunk, and writes them at the end; knows how long the file will be. */
export class ChunkWriter {
  readonly #of: ChunkFile;
  readonly #file: DiskFile;
  readonly #format: number;
  readonly #rowBytes: RowBytes;
  readonly #buffer: Buffer;
  /** A few MiB for TiBs that are stored. */
  readonly #written: Buffer[] = [];
  #chunks = 0;
  #kind = HEAD;
  #rows = 0;
  bytes = 0;

  constructor(of: ChunkFile, file: DiskFile, format: number, rowBytes: RowBytes) {
    this.#of = of;
    this.#file = file;
    this.#format = format;
    this.#rowBytes = rowBytes;
    this.#buffer = Buffer.alloc(CHUNK_HEADER_BYTES + CHUNK_ROWS * Math.max(...Object.values(rowBytes)));
  }

  /** Room for the next row of this kind: the buffer and the place in it, zeroed. */
  row(kind: number): { readonly buffer: Buffer; readonly at: number } {
    if (kind !== this.#kind || this.#rows === CHUNK_ROWS) this.#flush();
    this.#kind = kind;
    const size = this.#rowBytes[kind]!;
    const at = CHUNK_HEADER_BYTES + this.#rows++ * size;
    this.#buffer.fill(0, at, at + size);
    return { buffer: this.#buffer, at };
  }

  /** Everything is in the page cache when it resolves. */
  async finish(): Promise<void> {
    this.#flush();
    for (let first = 0, at = 0; first < this.#written.length; first += CHUNKS_AT_ONCE) {
      const part = this.#written.slice(first, first + CHUNKS_AT_ONCE);
      await this.#file.writeAsync(part, at);
      for (const { length } of part) at += length;
    }
  }

  #flush(): void {
    if (this.#rows === 0) return;
    const { identity, number } = this.#of;
    const end = CHUNK_HEADER_BYTES + this.#rows * this.#rowBytes[this.#kind]!;
    const chunk = this.#buffer.subarray(0, end);
    chunk.writeUInt32LE(MAGIC, 0);
    chunk.writeUInt16LE(this.#format, 8);
    chunk.writeUInt8(this.#kind, 10);
    chunk.writeUInt8(0, 11);
    chunk.writeUInt32LE(this.#rows, 12);
    identity.bytes.copy(chunk, 16);
    writeU64(chunk, number, 48);
    writeU64(chunk, this.#chunks, 56);
    chunk.writeUInt32LE(crc32(chunk.subarray(8)), 4);
    this.#written.push(Buffer.from(chunk));
    this.bytes += end;
    this.#chunks++;
    this.#rows = 0;
  }
}

/** What becomes of the rows of a file of one format. */
export interface RowReader<T> {
  readonly rowBytes: RowBytes;
  row(kind: number, buffer: Buffer, at: number): void;
  /** When all rows were read, the END among them; or what is wrong with them. */
  finish(): T | string;
}

/** Reads a file of `bytes` bytes with the reader of its format, or says what is wrong with it. */
export async function readChunks<T>(
  of: ChunkFile,
  bytes: number,
  readerOf: (format: number) => RowReader<T> | undefined,
): Promise<T | Damage> {
  const { disk, path } = of;
  const chunks = new Chunks(of, bytes, readerOf);
  const damage = (what: string, offset = chunks.offset): Damage => ({ path, offset, what });
  try {
    const file = await disk.openAsync(path, { create: false });
    try {
      const size = file.size();
      if (size !== bytes) return damage(`checkpoint of ${size} bytes where ${bytes} were written`);
      let buffered = Buffer.alloc(0);
      for (let at = 0; at < bytes; ) {
        const part = Buffer.allocUnsafe(Math.min(READ_BYTES, bytes - at));
        if ((await file.readAsync(part, at)) < part.length) return damage('checkpoint cut short', at);
        at += part.length;
        buffered = buffered.length === 0 ? part : Buffer.concat([buffered, part]);
        const used = chunks.take(buffered);
        if (typeof used === 'string') return damage(used);
        buffered = buffered.subarray(used);
      }
      const read = chunks.finish();
      return typeof read === 'string' ? damage(read) : read;
    } finally {
      await file.close();
    }
  } catch (error) {
    // What the reader does with the rows may meet a disk that is full: nothing is wrong with this file then.
    if (error instanceof DiskError && error.path === path) {
      return { ...damage(error.message), ...unreadBy(error) };
    }
    throw error;
  }
}

class Chunks<T> {
  readonly #of: ChunkFile;
  readonly #bytes: number;
  readonly #readerOf: (format: number) => RowReader<T> | undefined;
  #reader: RowReader<T> | undefined;
  #format = 0;
  #chunks = 0;
  #ended = false;
  offset = 0;

  constructor(of: ChunkFile, bytes: number, readerOf: (format: number) => RowReader<T> | undefined) {
    this.#of = of;
    this.#bytes = bytes;
    this.#readerOf = readerOf;
  }

  /** Takes the whole chunks at the beginning of `buffer`; returns how many bytes they are, or what is wrong. */
  take(buffer: Buffer): number | string {
    let at = 0;
    while (buffer.length - at >= CHUNK_HEADER_BYTES) {
      if (buffer.readUInt32LE(at) !== MAGIC) return 'not a checkpoint chunk';
      const format = buffer.readUInt16LE(at + 8);
      if (this.#chunks === 0) {
        this.#reader = this.#readerOf(format);
        this.#format = format;
      }
      const reader = this.#reader;
      if (reader === undefined || format !== this.#format) return `checkpoint of format ${format}`;
      const kind = buffer.readUInt8(at + 10);
      const rows = buffer.readUInt32LE(at + 12);
      const size = reader.rowBytes[kind];
      if (size === undefined || rows > CHUNK_ROWS) return 'not a checkpoint chunk';
      const end = at + CHUNK_HEADER_BYTES + rows * size;
      if (this.offset + (end - at) > this.#bytes) return 'chunk beyond the end';
      if (end > buffer.length) break;
      const problem = this.#chunk(buffer.subarray(at, end), kind, rows, reader);
      if (problem !== undefined) return problem;
      this.offset += end - at;
      at = end;
    }
    return at;
  }

  #chunk(chunk: Buffer, kind: number, rows: number, reader: RowReader<T>): string | undefined {
    const { identity, number } = this.#of;
    if (chunk.readUInt32LE(4) !== crc32(chunk.subarray(8))) return 'chunk checksum';
    if (identity.bytes.compare(chunk, 16, 48) !== 0) return 'chunk of another deployment';
    if (readU64(chunk, 48) !== number || readU64(chunk, 56) !== this.#chunks) return 'chunk of another place';
    if (this.#ended || (this.#chunks === 0) !== (kind === HEAD)) return 'chunk out of order';
    this.#ended = kind === END;
    this.#chunks++;
    const size = reader.rowBytes[kind]!;
    for (let row = 0; row < rows; row++) reader.row(kind, chunk, CHUNK_HEADER_BYTES + row * size);
    return undefined;
  }

  finish(): T | string {
    if (this.offset !== this.#bytes || !this.#ended || this.#reader === undefined) return 'checkpoint not whole';
    return this.#reader.finish();
  }
}
