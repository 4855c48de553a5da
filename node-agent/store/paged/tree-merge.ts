/**
 * Brings a memtable into a tree: writes new pages for what it touches, from the leaves up, and leaves all others as
 * they are. The old tree stays whole beside the new one, until a checkpoint has made the new one the durable index.
 */

import { KIND_DATA } from '../../../core/record.js';
import { type ExtentCursor, emptyRecord, isData, KIND_FORGOTTEN, overlay, storedLengthOf } from './extents.js';
import type { Memtable, MemtableCursor } from './memtable.js';
import { LEAF, MAX_ROWS, NODE, type Page, type PagePointer } from './page.js';
import type { PageFile } from './page-file.js';
import { LeafCursor } from './page-tree.js';
import { SegmentChanges } from './segment-changes.js';
import { TreeWriter } from './tree-writer.js';

/** Leaves that are read ahead. */
const READ_AHEAD = 16;
/** Extents that are gone through between two turns of the event loop: about a millisecond. */
const TURN_EXTENTS = 1024;
/** What opening a leaf counts as. */
const LEAF_EXTENTS = 128;

export interface MergeResult {
  readonly root: PagePointer | undefined;
  /** Slots of pages that the new tree does not have any more, and no snapshot either. */
  readonly freed: number[];
  /** Slots of the new pages. */
  readonly written: readonly number[];
  readonly changes: SegmentChanges;
}

export interface MergeOptions {
  readonly file: PageFile;
  readonly root: PagePointer | undefined;
  readonly memtable: Memtable;
  /** Of the memtable, what lies in [from, end) is merged; no extent crosses these bounds. */
  readonly from: number;
  readonly end: number;
  readonly checkpoint: number;
  /** The newest snapshot, which may share pages and payloads: those up to its checkpoint, and its end of the log. */
  readonly snapshot: { readonly checkpoint: number; readonly segment: number; readonly offset: number } | undefined;
  /** Lets others have their turn. */
  readonly pause: () => Promise<void>;
}

/** Rejects with IndexDamageError and the disk's errors; the slots that it has taken are free again then. */
export async function mergeTree(options: MergeOptions): Promise<MergeResult> {
  return new Merge(options).run();
}

class Merge {
  readonly #options: MergeOptions;
  readonly #writer: TreeWriter;
  readonly #cursor: MemtableCursor;
  readonly #freed: number[] = [];
  readonly #changes = new SegmentChanges();
  readonly #record = emptyRecord();
  readonly #kept = new Uint8Array(MAX_ROWS);
  #work = 0;

  constructor(options: MergeOptions) {
    this.#options = options;
    this.#writer = new TreeWriter(options.file, options.checkpoint);
    this.#cursor = options.memtable.cursor(options.from);
  }

  async run(): Promise<MergeResult> {
    const { root, file } = this.#options;
    try {
      if (root === undefined || root.level === 0) await this.#leaf(root, root && (await file.read(root)), Infinity);
      else await this.#node(root, await file.load(root), 0, Number.POSITIVE_INFINITY);
      const merged = this.#writer.finish();
      await file.flush();
      return { root: merged, freed: this.#freed, written: this.#writer.written, changes: this.#changes };
    } catch (error) {
      await file.discard();
      for (const slot of this.#writer.written) file.slots.free(slot);
      throw error;
    }
  }

  #touches(from: number, end: number): boolean {
    const { memtable, from: first, end: limit } = this.#options;
    return memtable.overlaps(Math.max(from, first), Math.min(end, limit));
  }

  /** The children of an inner page, which is about [from, end). */
  async #node(pointer: PagePointer, page: Page, from: number, end: number): Promise<void> {
    const { file } = this.#options;
    const writer = this.#writer;
    this.#free(pointer);
    const begins = (row: number): number => (row === 0 ? from : row === page.rows ? end : page.value(NODE.first, row));
    await this.#spend(page.rows);
    const touched = Array.from({ length: page.rows }, (_, row) => this.#touches(begins(row), begins(row + 1)));
    const ahead = new Map<number, Promise<Page>>();
    const readAhead = (row: number): Promise<Page> => {
      const child = page.child(row);
      const read = child.level === 0 ? (file.cached(child) ?? file.read(child)) : file.load(child);
      const reading = Promise.resolve(read);
      // Whoever awaits it is told.
      reading.catch(() => {});
      return reading;
    };
    let next = 0;
    for (let row = 0; row < page.rows; row++) {
      for (; next < page.rows && ahead.size < READ_AHEAD; next++) if (touched[next]) ahead.set(next, readAhead(next));
      const child = page.child(row);
      if (!touched[row] && !writer.sparse(page.level)) {
        writer.close(page.level);
        const highest = page.value(NODE.highest, row);
        writer.child(page.level, page.value(NODE.first, row), child, highest, page.value(NODE.lowestEpoch, row));
        continue;
      }
      const loaded = await (ahead.get(row) ?? readAhead(row));
      ahead.delete(row);
      if (child.level === 0) await this.#leaf(child, loaded, begins(row + 1));
      else await this.#node(child, loaded, begins(row), begins(row + 1));
    }
  }

  /** What the leaf and the memtable have of the blocks below `end` that were not gone through yet. */
  async #leaf(pointer: PagePointer | undefined, page: Page | undefined, end: number): Promise<void> {
    const { file, end: limit } = this.#options;
    const cursor = new LeafCursor(page);
    if (pointer !== undefined) {
      this.#free(pointer);
      this.#writer.keep = file.isCached(pointer);
    }
    this.#kept.fill(0);
    const above: ExtentCursor[] = [this.#cursor, cursor];
    await this.#overlay(above, Math.min(end, limit));
    if (end > limit) await this.#overlay([cursor], end);
    if (page !== undefined) this.#countDropped(page);
  }

  /** How far the row of blocks has been gone through. */
  #at = 0;

  async #overlay(cursors: readonly ExtentCursor[], end: number): Promise<void> {
    while (this.#at < end) {
      const from = this.#at;
      this.#at = overlay(cursors, from, end, TURN_EXTENTS / 4, (cursor, start, stop) => {
        this.#emit(cursor, start, stop);
        this.#work++;
        return true;
      });
      await this.#spend(from === this.#at ? 1 : 0);
    }
    await this.#spend(LEAF_EXTENTS);
  }

  async #spend(work: number): Promise<void> {
    this.#work += work;
    if (this.#work < TURN_EXTENTS) return;
    this.#work = 0;
    await this.#options.pause();
  }

  #emit(cursor: ExtentCursor, start: number, end: number): void {
    const record = this.#record;
    cursor.read(record);
    if (record.kind === KIND_FORGOTTEN) return;
    this.#writer.extent(start, end - start, record);
    if (cursor instanceof LeafCursor) this.#kept[cursor.row] = 1;
    else if (record.kind === KIND_DATA) this.#changes.refer(record.segment, 1, record.storedLength);
  }

  /** Payloads of the leaf that are not referred to any more. */
  #countDropped(page: Page): void {
    const { snapshot } = this.#options;
    for (let row = 0; row < page.rows; row++) {
      const shape = page.value(LEAF.shape, row);
      if (this.#kept[row] === 1 || !isData(shape)) continue;
      const segment = page.value(LEAF.segment, row);
      const bytes = storedLengthOf(shape);
      this.#changes.refer(segment, -1, -bytes);
      if (snapshot === undefined || segment > snapshot.segment) continue;
      if (segment === snapshot.segment && page.value(LEAF.offset, row) >= snapshot.offset) continue;
      this.#changes.hold(segment, 1, bytes);
    }
  }

  #free({ slot, checkpoint }: PagePointer): void {
    const { snapshot } = this.#options;
    if (snapshot === undefined || checkpoint > snapshot.checkpoint) this.#freed.push(slot);
  }
}
