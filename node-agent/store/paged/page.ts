/**
 * Pages of the index, to the byte (docs/internals/store.md). A page is a table of at most MAX_ROWS rows, stored by
 * columns, each as a base and the differences to it in as few bytes as the largest one needs ("frame of reference"):
 * what is in a page is alike, so that a block takes 15 to 25 bytes, and any row can be read without the others.
 * Little-endian; values are below 2^53.
 */

import { crc32 } from 'node:zlib';
import { readU64, type StoreIdentity, writeU64 } from '../format.js';

export const PAGE_BYTES = 4096;
export const MAX_ROWS = 512;
const MAGIC = 0x50534f53; // "SOSP"
const FORMAT = 1;
const ELSEWHERE = 'index page of another place';
const HEADER_BYTES = 64;
/** Base and width of a column. */
const COLUMN_BYTES = 9;

/** Columns of a leaf: one row per extent. */
export const LEAF = {
  block: 0,
  blocks: 1,
  epoch: 2,
  sequence: 3,
  segment: 4,
  offset: 5,
  shape: 6,
  checksumLow: 7,
  checksumHigh: 8,
} as const;
const LEAF_COLUMNS = 9;

/** Columns of an inner page: one row per child. */
export const NODE = { first: 0, slot: 1, checkpoint: 2, highest: 3, lowestEpoch: 4 } as const;
const NODE_COLUMNS = 5;

/** What a page is looked up by: where it is, and the checkpoint that wrote it, as slots are used again. */
export interface PagePointer {
  readonly slot: number;
  readonly checkpoint: number;
  /** 0: a leaf. */
  readonly level: number;
}

export function columnsOf(level: number): number {
  return level === 0 ? LEAF_COLUMNS : NODE_COLUMNS;
}

/** Rows on their way into pages. */
export class Rows {
  readonly level: number;
  readonly columns: readonly Float64Array[];
  count = 0;

  constructor(level: number, capacity: number) {
    this.level = level;
    this.columns = Array.from({ length: columnsOf(level) }, () => new Float64Array(capacity));
  }

  /** Forgets the first `count` rows. */
  shift(count: number): void {
    for (const column of this.columns) column.copyWithin(0, count, this.count);
    this.count -= count;
  }
}

function widthOf(range: number): number {
  if (range < 0x1_0000) return range === 0 ? 0 : range < 0x100 ? 1 : 2;
  if (range < 0x1_0000_0000) return range < 0x100_0000 ? 3 : 4;
  return range < 2 ** 40 ? 5 : range < 2 ** 48 ? 6 : 7;
}

const LOW = new Float64Array(LEAF_COLUMNS);
const HIGH = new Float64Array(LEAF_COLUMNS);

/** How many of the rows from `from` on go into one page, at most `limit`. */
export function fitting(rows: Rows, from: number, limit: number): number {
  const { columns } = rows;
  const base = HEADER_BYTES + columns.length * COLUMN_BYTES;
  const most = Math.min(rows.count, from + limit);
  LOW.fill(Number.POSITIVE_INFINITY);
  HIGH.fill(0);
  for (let row = from; row < most; row++) {
    let width = 0;
    for (let c = 0; c < columns.length; c++) {
      const value = columns[c]![row]!;
      if (value < LOW[c]!) LOW[c] = value;
      if (value > HIGH[c]!) HIGH[c] = value;
      width += widthOf(HIGH[c]! - LOW[c]!);
    }
    if (base + width * (row - from + 1) > PAGE_BYTES) return row - from;
  }
  return most - from;
}

/** A page of the rows [from, to), which fit. */
export function encodePage(
  rows: Rows,
  from: number,
  to: number,
  identity: StoreIdentity,
  slot: number,
  checkpoint: number,
): Buffer {
  const page = Buffer.alloc(PAGE_BYTES);
  page.writeUInt32LE(MAGIC, 0);
  page.writeUInt16LE(FORMAT, 8);
  page.writeUInt8(rows.level, 10);
  page.writeUInt16LE(to - from, 12);
  identity.bytes.copy(page, 16);
  page.writeUInt32LE(slot, 48);
  writeU64(page, checkpoint, 56);
  let at = HEADER_BYTES + rows.columns.length * COLUMN_BYTES;
  for (const [c, column] of rows.columns.entries()) {
    let low = Number.POSITIVE_INFINITY;
    let high = 0;
    for (let row = from; row < to; row++) {
      const value = column[row]!;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    const width = widthOf(high - low);
    writeU64(page, low, HEADER_BYTES + c * COLUMN_BYTES);
    page[HEADER_BYTES + c * COLUMN_BYTES + 8] = width;
    for (let row = from; row < to; row++, at += width) writeValue(page, at, width, column[row]! - low);
  }
  page.writeUInt32LE(crc32(page.subarray(8)), 4);
  return page;
}

function writeValue(page: Buffer, at: number, width: number, value: number): void {
  const low = value >>> 0;
  for (let i = 0; i < width && i < 4; i++) page[at + i] = low >>> (8 * i);
  if (width <= 4) return;
  const high = Math.floor(value / 0x1_0000_0000);
  for (let i = 4; i < width; i++) page[at + i] = high >>> (8 * (i - 4));
}

/** A page that was read and is intact. Never changes. */
export class Page {
  readonly level: number;
  readonly rows: number;
  readonly checkpoint: number;
  readonly #bytes: Buffer;
  readonly #bases: Float64Array;
  readonly #widths: Uint8Array;
  readonly #offsets: Uint16Array;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.level = bytes.readUInt8(10);
    this.rows = bytes.readUInt16LE(12);
    this.checkpoint = readU64(bytes, 56);
    const columns = columnsOf(this.level);
    this.#bases = new Float64Array(columns);
    this.#widths = new Uint8Array(columns);
    this.#offsets = new Uint16Array(columns);
    let at = HEADER_BYTES + columns * COLUMN_BYTES;
    for (let c = 0; c < columns; c++) {
      this.#bases[c] = readU64(bytes, HEADER_BYTES + c * COLUMN_BYTES);
      this.#widths[c] = bytes[HEADER_BYTES + c * COLUMN_BYTES + 8]!;
      this.#offsets[c] = at;
      at += this.#widths[c]! * this.rows;
    }
  }

  value(column: number, row: number): number {
    const width = this.#widths[column]!;
    const base = this.#bases[column]!;
    if (width === 0) return base;
    const bytes = this.#bytes;
    const at = this.#offsets[column]! + width * row;
    let low = bytes[at]!;
    if (width > 1) low |= bytes[at + 1]! << 8;
    if (width > 2) low |= bytes[at + 2]! << 16;
    if (width > 3) low |= bytes[at + 3]! << 24;
    if (width <= 4) return base + (low >>> 0);
    let high = bytes[at + 4]!;
    if (width > 5) high |= bytes[at + 5]! << 8;
    if (width > 6) high |= bytes[at + 6]! << 16;
    return base + (low >>> 0) + high * 0x1_0000_0000;
  }

  /** The last row whose first column (block, or a child's first block) is at most `block`, or -1. */
  floor(block: number): number {
    let low = 0;
    let high = this.rows;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.value(0, middle) <= block) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The child in this row of an inner page. */
  child(row: number): PagePointer {
    return {
      slot: this.value(NODE.slot, row),
      checkpoint: this.value(NODE.checkpoint, row),
      level: this.level - 1,
    };
  }
}

/** The page that `pointer` means, or what is wrong with these bytes. */
export function decodePage(bytes: Buffer, identity: StoreIdentity, pointer: PagePointer): Page | string {
  const page = decodePageOf(bytes, identity, pointer.slot);
  if (typeof page === 'string') return page;
  return page.checkpoint === pointer.checkpoint && page.level === pointer.level ? page : ELSEWHERE;
}

/** The page of this slot, whichever it is. */
export function decodePageOf(bytes: Buffer, identity: StoreIdentity, slot: number): Page | string {
  if (bytes.length !== PAGE_BYTES || bytes.readUInt32LE(0) !== MAGIC) return 'not an index page';
  if (bytes.readUInt32LE(4) !== crc32(bytes.subarray(8))) return 'index page checksum';
  if (bytes.readUInt16LE(8) !== FORMAT) return `index page of format ${bytes.readUInt16LE(8)}`;
  if (identity.bytes.compare(bytes, 16, 48) !== 0) return 'index page of another deployment';
  return bytes.readUInt32LE(48) === slot ? new Page(bytes) : ELSEWHERE;
}
