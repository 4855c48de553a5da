/**
 * What has changed in the index since its last checkpoint: disjoint extents in ascending order, in memory. A row of
 * chunks, each a sorted run of extents; the records are in a table of their own, so that an insertion moves 16 bytes
 * per extent of one chunk.
 */

import {
  type ExtentCursor,
  emptyRecord,
  type IndexRecord,
  isData,
  setShape,
  shapeOf,
  storedLengthOf,
} from './extents.js';

const CHUNK_EXTENTS = 256;
const CHUNK_BYTES = CHUNK_EXTENTS * 16 + 256;
const RECORDS = 256;
const RECORD_CHUNK_BYTES = RECORDS * 36 + 512;

class Chunk {
  count = 0;
  readonly starts = new Float64Array(CHUNK_EXTENTS);
  readonly lengths = new Uint32Array(CHUNK_EXTENTS);
  readonly records = new Uint32Array(CHUNK_EXTENTS);

  /** Makes room at `at`. */
  open(at: number): void {
    this.starts.copyWithin(at + 1, at, this.count);
    this.lengths.copyWithin(at + 1, at, this.count);
    this.records.copyWithin(at + 1, at, this.count);
    this.count++;
  }

  drop(at: number): void {
    this.starts.copyWithin(at, at + 1, this.count);
    this.lengths.copyWithin(at, at + 1, this.count);
    this.records.copyWithin(at, at + 1, this.count);
    this.count--;
  }

  /** The second half, which this chunk has no longer. */
  split(): Chunk {
    const half = this.count >>> 1;
    const other = new Chunk();
    other.starts.set(this.starts.subarray(half, this.count));
    other.lengths.set(this.lengths.subarray(half, this.count));
    other.records.set(this.records.subarray(half, this.count));
    other.count = this.count - half;
    this.count = half;
    return other;
  }

  /** The first extent that ends behind `block`, or `count`. */
  find(block: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.starts[middle]! + this.lengths[middle]! > block) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

class RecordChunk {
  readonly epoch = new Float64Array(RECORDS);
  readonly sequence = new Float64Array(RECORDS);
  readonly segment = new Uint32Array(RECORDS);
  readonly offset = new Uint32Array(RECORDS);
  readonly shape = new Uint32Array(RECORDS);
  readonly checksumLow = new Uint32Array(RECORDS);
  readonly checksumHigh = new Uint32Array(RECORDS);
}

/** Payloads that are referred to, of one segment. */
export interface References {
  blocks: number;
  bytes: number;
}

/** The memtable refers to so many payloads more, or less, of a segment. */
export type Refer = (segment: number, blocks: number, bytes: number) => void;

export class Memtable {
  readonly #chunks: Chunk[] = [];
  readonly #records: RecordChunk[] = [];
  readonly #free: number[] = [];
  #recordCount = 0;
  #extents = 0;
  /** Where #seek has ended. */
  #at = 0;
  #i = 0;
  /** By segment. */
  readonly references = new Map<number, References>();
  readonly #refer: Refer;

  constructor(refer: Refer = () => {}) {
    this.#refer = refer;
  }

  get extents(): number {
    return this.#extents;
  }

  /** Memory that it takes. */
  get bytes(): number {
    return this.#chunks.length * CHUNK_BYTES + this.#records.length * RECORD_CHUNK_BYTES + this.#free.length * 8;
  }

  /** Replaces what is there of [start, start + length). */
  put(start: number, length: number, record: IndexRecord): void {
    this.#seek(start);
    const chunk = this.#chunks[this.#at];
    const i = this.#i;
    const next = chunk === undefined || i === chunk.count ? Number.POSITIVE_INFINITY : chunk.starts[i]!;
    if (next === start && chunk!.lengths[i] === length) {
      this.#unrefer(chunk!.records[i]!);
      this.#save(chunk!.records[i]!, record);
      return;
    }
    if (next < start + length) this.#cut(start, start + length);
    this.#insert(start, length, this.#take(record));
  }

  /** Takes [start, end) out of what is there. */
  #cut(start: number, end: number): void {
    for (;;) {
      this.#seek(start);
      const chunk = this.#chunks[this.#at]!;
      const i = this.#i;
      if (i === chunk.count || chunk.starts[i]! >= end) return;
      const oldStart = chunk.starts[i]!;
      const oldEnd = oldStart + chunk.lengths[i]!;
      if (oldStart < start) {
        chunk.lengths[i] = start - oldStart;
        if (oldEnd <= end) continue;
        // Cut in two: only extents without payload are longer than one block.
        this.#insert(end, oldEnd - end, this.#copy(chunk.records[i]!));
        return;
      }
      if (oldEnd > end) {
        chunk.starts[i] = end;
        chunk.lengths[i] = oldEnd - end;
        return;
      }
      const last = chunk.count - 1;
      const whole = i === 0 && chunk.starts[last]! + chunk.lengths[last]! <= end;
      for (let k = i; k <= (whole ? last : i); k++) {
        this.#unrefer(chunk.records[k]!);
        this.#free.push(chunk.records[k]!);
        this.#extents--;
      }
      if (whole) this.#chunks.splice(this.#at, 1);
      else chunk.drop(i);
      if (this.#chunks.length === 0) return;
    }
  }

  /** What it knows of the block; KIND_FORGOTTEN counts as known. */
  get(block: number, into: IndexRecord): boolean {
    const chunk = this.#chunks[this.chunkOf(block)];
    if (chunk === undefined) return false;
    const i = chunk.find(block);
    if (i === chunk.count || chunk.starts[i]! > block) return false;
    this.load(chunk.records[i]!, into);
    return true;
  }

  /** Whether it knows anything of [from, end). */
  overlaps(from: number, end: number): boolean {
    return this.cursor(from).start < end;
  }

  /** Where the extent begins that comes `count` extents behind the first one at or behind `from`; else infinity. */
  startAfter(from: number, count: number): number {
    const cursor = this.cursor(from);
    for (let i = 0; i < count && cursor.start < Number.POSITIVE_INFINITY; i++) cursor.seek(cursor.end);
    return cursor.start;
  }

  /** At the first extent that ends behind `from`. Worth nothing after the next `put`. */
  cursor(from = 0): MemtableCursor {
    const cursor = new MemtableCursor(this, this.#chunks);
    cursor.seek(from);
    return cursor;
  }

  /** The last chunk that begins at or before `block`, or the first one. */
  chunkOf(block: number): number {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (chunks[middle]!.starts[0]! <= block) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** To the first extent that ends behind `block`, or to where one would be inserted. */
  #seek(block: number): void {
    this.#at = this.chunkOf(block);
    const chunk = this.#chunks[this.#at];
    this.#i = chunk === undefined ? 0 : chunk.find(block);
    if (chunk === undefined || this.#i < chunk.count) return;
    const next = this.#chunks[this.#at + 1];
    if (next === undefined) return;
    this.#at++;
    this.#i = 0;
  }

  #insert(start: number, length: number, record: number): void {
    let at = this.chunkOf(start);
    let chunk = this.#chunks[at];
    if (chunk === undefined) {
      chunk = new Chunk();
      this.#chunks.push(chunk);
    } else if (chunk.count === CHUNK_EXTENTS) {
      // Ascending writes fill their chunks.
      const ascending = at === this.#chunks.length - 1 && chunk.starts[chunk.count - 1]! < start;
      const other = ascending ? new Chunk() : chunk.split();
      at++;
      this.#chunks.splice(at, 0, other);
      if (ascending || other.starts[0]! <= start) chunk = other;
    }
    const i = chunk.find(start);
    chunk.open(i);
    chunk.starts[i] = start;
    chunk.lengths[i] = length;
    chunk.records[i] = record;
    this.#extents++;
  }

  #take(record: IndexRecord): number {
    let slot = this.#free.pop();
    if (slot === undefined) {
      slot = this.#recordCount++;
      if (slot % RECORDS === 0) this.#records.push(new RecordChunk());
    }
    this.#save(slot, record);
    return slot;
  }

  #copy(slot: number): number {
    const copy = emptyRecord();
    this.load(slot, copy);
    return this.#take(copy);
  }

  #save(slot: number, record: IndexRecord): void {
    const chunk = this.#records[Math.floor(slot / RECORDS)]!;
    const at = slot % RECORDS;
    chunk.epoch[at] = record.epoch;
    chunk.sequence[at] = record.sequence;
    chunk.segment[at] = record.segment;
    chunk.offset[at] = record.offset;
    const shape = shapeOf(record);
    chunk.shape[at] = shape;
    chunk.checksumLow[at] = record.checksumLow;
    chunk.checksumHigh[at] = record.checksumHigh;
    if (isData(shape)) this.#count(record.segment, 1, record.storedLength);
  }

  load(slot: number, into: IndexRecord): void {
    const chunk = this.#records[Math.floor(slot / RECORDS)]!;
    const at = slot % RECORDS;
    into.epoch = chunk.epoch[at]!;
    into.sequence = chunk.sequence[at]!;
    into.segment = chunk.segment[at]!;
    into.offset = chunk.offset[at]!;
    setShape(into, chunk.shape[at]!);
    into.checksumLow = chunk.checksumLow[at]!;
    into.checksumHigh = chunk.checksumHigh[at]!;
  }

  #unrefer(slot: number): void {
    const chunk = this.#records[Math.floor(slot / RECORDS)]!;
    const shape = chunk.shape[slot % RECORDS]!;
    if (isData(shape)) this.#count(chunk.segment[slot % RECORDS]!, -1, -storedLengthOf(shape));
  }

  #count(segment: number, blocks: number, bytes: number): void {
    this.#refer(segment, blocks, bytes);
    const count = this.references.get(segment);
    if (count === undefined) this.references.set(segment, { blocks, bytes });
    else {
      count.blocks += blocks;
      count.bytes += bytes;
    }
  }
}

/** Through the extents of a memtable that does not change meanwhile. */
export class MemtableCursor implements ExtentCursor {
  readonly #table: Memtable;
  readonly #chunks: readonly Chunk[];
  #at = 0;
  #i = -1;
  start = Number.NEGATIVE_INFINITY;
  end = Number.NEGATIVE_INFINITY;

  constructor(table: Memtable, chunks: readonly Chunk[]) {
    this.#table = table;
    this.#chunks = chunks;
  }

  seek(block: number): void {
    if (this.end > block) return;
    this.#next();
    if (this.end > block) return;
    this.#at = this.#table.chunkOf(block);
    this.#i = (this.#chunks[this.#at]?.find(block) ?? 0) - 1;
    this.#next();
  }

  #next(): void {
    this.#i++;
    while (this.#i >= (this.#chunks[this.#at]?.count ?? Number.POSITIVE_INFINITY)) {
      this.#at++;
      this.#i = 0;
    }
    const chunk = this.#chunks[this.#at];
    if (chunk === undefined) {
      this.start = this.end = Number.POSITIVE_INFINITY;
      return;
    }
    this.start = chunk.starts[this.#i]!;
    this.end = this.start + chunk.lengths[this.#i]!;
  }

  read(into: IndexRecord): void {
    this.#table.load(this.#chunks[this.#at]!.records[this.#i]!, into);
  }
}
