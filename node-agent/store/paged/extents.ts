/**
 * What the index is made of: extents, runs of blocks with one record. A block of data is an extent of its own; a
 * TRIM or a range of zeroes is one extent, however long it is.
 */

import { KIND_DATA, KIND_ZERO } from '../../../core/record.js';

/** What the index knows of a block. Mutable, so that lookups on the data path allocate nothing. */
export interface IndexRecord {
  epoch: number;
  sequence: number;
  /** Segment number and byte offset of the payload there; 0 unless DATA. */
  segment: number;
  offset: number;
  kind: number;
  flags: number;
  storedLength: number;
  checksumLow: number;
  checksumHigh: number;
}

/** Of a record in a memtable: the blocks were forgotten, whatever lies below. Never in a page. */
export const KIND_FORGOTTEN = 0;

export function emptyRecord(): IndexRecord {
  return {
    epoch: 0,
    sequence: 0,
    segment: 0,
    offset: 0,
    kind: KIND_FORGOTTEN,
    flags: 0,
    storedLength: 0,
    checksumLow: 0,
    checksumHigh: 0,
  };
}

/** Kind, flags and stored length in one number of 28 bits. */
export function shapeOf({ kind, flags, storedLength }: IndexRecord): number {
  return storedLength | (flags << 20) | (kind << 24);
}

export function setShape(record: IndexRecord, shape: number): void {
  record.kind = shape >>> 24;
  record.flags = (shape >>> 20) & 15;
  record.storedLength = storedLengthOf(shape);
}

export function storedLengthOf(shape: number): number {
  return shape & 0xfffff;
}

export function isData(shape: number): boolean {
  return shape >>> 24 === KIND_DATA;
}

export function isZero(shape: number): boolean {
  return shape >>> 24 === KIND_ZERO;
}

/** Goes through disjoint extents in ascending order. */
export interface ExtentCursor {
  /** The extent at hand: [start, end). Behind the last one both are infinite. */
  readonly start: number;
  readonly end: number;
  /** Goes on to the first extent that ends behind `block`. Never back. */
  seek(block: number): void;
  read(into: IndexRecord): void;
}

/**
 * Walks [from, end) through cursors that lie over one another: of a block that several cover, the first counts.
 * Calls `emit` with the cursor and the part of its extent that is seen, ascending, until it returns false. Gaps
 * count as steps too. Returns where it stopped: `end`, or less after `steps`.
 */
export function overlay<C extends ExtentCursor>(
  cursors: readonly C[],
  from: number,
  end: number,
  steps: number,
  emit: (cursor: C, start: number, end: number) => boolean,
): number {
  let at = from;
  for (let step = 0; step < steps && at < end; step++) {
    let stop = end;
    let top: C | undefined;
    for (const cursor of cursors) {
      cursor.seek(at);
      if (cursor.start <= at) {
        top = cursor;
        if (cursor.end < stop) stop = cursor.end;
        break;
      }
      if (cursor.start < stop) stop = cursor.start;
    }
    const begin = at;
    at = stop;
    if (top !== undefined && !emit(top, begin, stop)) return at;
  }
  return at;
}
