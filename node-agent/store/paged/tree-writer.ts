/** Makes pages out of rows that come in ascending order: leaves from extents, inner pages from the pages below. */

import { type IndexRecord, isZero, shapeOf } from './extents.js';
import { fitting, LEAF, MAX_ROWS, NODE, PAGE_BYTES, type PagePointer, Rows } from './page.js';
import type { PageFile } from './page-file.js';

/** Rows that wait for their page: it is written when no more can go into it. */
const CAPACITY = 2 * MAX_ROWS;
/** A page with fewer rows than this part of a full one takes its neighbour in, if that costs nothing else. */
const SPARSE_PART = 1 / 4;
/** More than the rows of any page take. */
const MOST_ROW_BYTES = 64;

export class TreeWriter {
  readonly #file: PageFile;
  readonly #checkpoint: number;
  /** By level. */
  readonly #rows: Rows[] = [];
  /** Pages of each level that were passed on to the level above. */
  readonly #passed: number[] = [];
  /** Slots that were taken. */
  readonly written: number[] = [];
  /** Whether pages are to stay in memory: those that replace such ones. */
  keep = false;

  constructor(file: PageFile, checkpoint: number) {
    this.#file = file;
    this.#checkpoint = checkpoint;
  }

  #at(level: number): Rows {
    while (this.#rows.length <= level) {
      this.#rows.push(new Rows(this.#rows.length, CAPACITY));
      this.#passed.push(0);
    }
    return this.#rows[level]!;
  }

  /** Adds an extent behind all others. */
  extent(block: number, blocks: number, record: IndexRecord): void {
    const rows = this.#at(0);
    const { columns } = rows;
    const last = rows.count - 1;
    const shape = shapeOf(record);
    if (last >= 0 && isZero(shape) && columns[LEAF.shape]![last] === shape) {
      const end = columns[LEAF.block]![last]! + columns[LEAF.blocks]![last]!;
      const same = columns[LEAF.epoch]![last] === record.epoch && columns[LEAF.sequence]![last] === record.sequence;
      if (same && end === block) {
        columns[LEAF.blocks]![last]! += blocks;
        return;
      }
    }
    const row = this.#row(rows);
    columns[LEAF.block]![row] = block;
    columns[LEAF.blocks]![row] = blocks;
    columns[LEAF.epoch]![row] = record.epoch;
    columns[LEAF.sequence]![row] = record.sequence;
    columns[LEAF.segment]![row] = record.segment;
    columns[LEAF.offset]![row] = record.offset;
    columns[LEAF.shape]![row] = shape;
    columns[LEAF.checksumLow]![row] = record.checksumLow;
    columns[LEAF.checksumHigh]![row] = record.checksumHigh;
  }

  /** Adds a page that stays as it is, behind all that was added; what waits below it must have been passed on. */
  child(level: number, first: number, pointer: PagePointer, highest: number, lowestEpoch: number): void {
    const rows = this.#at(level);
    const row = this.#row(rows);
    rows.columns[NODE.first]![row] = first;
    rows.columns[NODE.slot]![row] = pointer.slot;
    rows.columns[NODE.checkpoint]![row] = pointer.checkpoint;
    rows.columns[NODE.highest]![row] = highest;
    rows.columns[NODE.lowestEpoch]![row] = lowestEpoch;
    if (level > 0) this.#passed[level - 1]!++;
  }

  #row(rows: Rows): number {
    if (rows.count === CAPACITY) while (rows.count > MAX_ROWS) this.#pass(rows, fitting(rows, 0, this.#file.maxRows));
    return rows.count++;
  }

  /** Whether so little waits below `level` that it is better joined with what comes next. */
  sparse(level: number): boolean {
    for (let below = 0; below < level; below++) {
      const { count } = this.#at(below);
      const most = Math.min(PAGE_BYTES / MOST_ROW_BYTES, this.#file.maxRows);
      if (count > 0 && count < most * SPARSE_PART) return true;
    }
    return false;
  }

  /** Passes on all that waits below `level`. */
  close(level: number): void {
    for (let below = 0; below < level; below++) {
      const rows = this.#at(below);
      while (rows.count > 0) this.#pass(rows, balanced(rows, this.#file.maxRows));
    }
  }

  #pass(rows: Rows, count: number): void {
    const pointer = this.#file.write(rows, 0, count, this.#checkpoint, this.keep || rows.level > 0);
    this.written.push(pointer.slot);
    let highest = 0;
    let lowestEpoch = Number.MAX_SAFE_INTEGER;
    const [highs, epochs] =
      rows.level === 0 ? [LEAF.sequence, LEAF.epoch] : ([NODE.highest, NODE.lowestEpoch] as const);
    for (let row = 0; row < count; row++) {
      highest = Math.max(highest, rows.columns[highs]![row]!);
      lowestEpoch = Math.min(lowestEpoch, rows.columns[epochs]![row]!);
    }
    const first = rows.columns[0]![0]!;
    rows.shift(count);
    this.child(rows.level + 1, first, pointer, highest, lowestEpoch);
  }

  /** The root of all that was added, or undefined if that is nothing. */
  finish(): PagePointer | undefined {
    for (let level = 1; ; level++) {
      this.close(level);
      const { count, columns } = this.#at(level);
      if (count > 1 || this.#passed.slice(level).some((pages) => pages > 0)) continue;
      if (count === 0) return undefined;
      return { slot: columns[NODE.slot]![0]!, checkpoint: columns[NODE.checkpoint]![0]!, level: level - 1 };
    }
  }
}

/** How many of the waiting rows go into the next page: two pages that are the last ones share evenly. */
function balanced(rows: Rows, limit: number): number {
  const first = fitting(rows, 0, limit);
  const rest = rows.count - first;
  if (rest === 0 || fitting(rows, first, limit) < rest) return first;
  const half = Math.ceil(rows.count / 2);
  return half <= first && fitting(rows, half, limit) === rows.count - half ? half : first;
}
