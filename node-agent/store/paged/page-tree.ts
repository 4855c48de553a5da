/** One state of the index on the disk: a tree of pages that never changes, by its root. */

import { type ExtentCursor, type IndexRecord, setShape } from './extents.js';
import { LEAF, NODE, type Page, type PagePointer } from './page.js';
import type { PageFile } from './page-file.js';

/** Pages that are read at the same time for one question. */
const READS_AT_ONCE = 16;

/** Whether a subtree may have what is looked for, by the highest sequence and the lowest epoch in it. */
export type Interesting = (highest: number, lowestEpoch: number) => boolean;

/** Pages of a question, so that they stay in memory until it is answered. */
export type Pinned = Map<number, Page>;

export const KNOWN = 1;
export const NEVER = 0;
/** A page that the answer needs is not in memory. */
export const ABSENT = -1;
export type Answer = typeof KNOWN | typeof NEVER | typeof ABSENT;

/** A leaf, and the blocks that it is about: none outside of it is in [from, end). */
export interface LeafRange {
  readonly page: Page | undefined;
  readonly end: number;
}

export interface Verified {
  pages: number;
  leaves: number;
  /** Where to go on; infinite at the end. */
  next: number;
}

export class PageTree {
  readonly root: PagePointer | undefined;
  readonly #file: PageFile;
  /**
   * The leaf of the last answer, its row, and the block: most often the next question is about the one behind it.
   * Forgotten with the first page that is thrown out: `get` must not know what it would not find if it were asked once
   * more.
   */
  #leaf: Page | undefined;
  #row = 0;
  #block = 0;
  #evictions = 0;

  /** `root` undefined: nothing is in it. */
  constructor(file: PageFile, root: PagePointer | undefined) {
    this.#file = file;
    this.root = root;
  }

  /** What the pages in memory say of the block. */
  get(block: number, into: IndexRecord, pinned?: Pinned): Answer {
    const near = this.#near(block);
    if (near >= 0) return answer(this.#leaf!, near, block, into);
    let pointer = this.root;
    while (pointer !== undefined) {
      const page: Page | undefined = pinned?.get(pointer.slot) ?? this.#file.cached(pointer);
      if (page === undefined) return ABSENT;
      const row = page.floor(block);
      if (row < 0) return NEVER;
      if (page.level > 0) {
        pointer = page.child(row);
        continue;
      }
      this.#leaf = pinned === undefined || pinned.size === 0 ? page : undefined;
      this.#row = row;
      this.#block = block;
      this.#evictions = this.#file.evictions;
      return answer(page, row, block, into);
    }
    return NEVER;
  }

  /** The row that is about the block, if it is the last one or is next to it; -1: that has to be looked for. */
  #near(block: number): number {
    const leaf = this.#leaf;
    const ahead = block - this.#block;
    if (leaf === undefined || ahead < 0 || ahead > 1 || this.#evictions !== this.#file.evictions) return -1;
    // Where the leaf ends, only its parent knows: its last row is not looked for here.
    for (let next = this.#row + 1; next < leaf.rows && next <= this.#row + 2; next++) {
      if (block >= leaf.value(LEAF.block, next)) continue;
      this.#row = next - 1;
      this.#block = block;
      return this.#row;
    }
    return -1;
  }

  /** Brings all pages into memory that `get` needs for these blocks. */
  async pin(blocks: Iterable<number>, pinned: Pinned): Promise<void> {
    if (this.root === undefined) return;
    const { root } = this;
    let wanted = new Map<number, { pointer: PagePointer; blocks: number[] }>([
      [root.slot, { pointer: root, blocks: [...blocks] }],
    ]);
    for (let { level } = root; level >= 0; level--) {
      const pages = await this.#loadAll([...wanted.values()].map(({ pointer }) => pointer));
      const below: typeof wanted = new Map();
      for (const [i, { pointer, blocks: asked }] of [...wanted.values()].entries()) {
        const page = pages[i]!;
        pinned.set(pointer.slot, page);
        for (const block of page.level > 0 ? asked : []) {
          const row = page.floor(block);
          if (row < 0) continue;
          const child = page.child(row);
          const known = below.get(child.slot);
          if (known === undefined) below.set(child.slot, { pointer: child, blocks: [block] });
          else known.blocks.push(block);
        }
      }
      wanted = below;
    }
  }

  async #loadAll(pointers: readonly PagePointer[]): Promise<Page[]> {
    const pages: Page[] = [];
    for (let at = 0; at < pointers.length; at += READS_AT_ONCE) {
      pages.push(...(await Promise.all(pointers.slice(at, at + READS_AT_ONCE).map((one) => this.#file.load(one)))));
    }
    return pages;
  }

  /**
   * The first interesting leaf that has, or would have, `from` or a block behind it; up to its `end`, nothing else
   * of interest is in the tree.
   */
  async leafFrom(from: number, interesting: Interesting): Promise<LeafRange> {
    if (this.root === undefined) return { page: undefined, end: Number.POSITIVE_INFINITY };
    return this.#leafFrom(this.root, from, interesting, Number.POSITIVE_INFINITY);
  }

  async #leafFrom(pointer: PagePointer, from: number, interesting: Interesting, end: number): Promise<LeafRange> {
    const page = await this.#file.load(pointer);
    if (page.level === 0) return { page, end };
    for (let row = Math.max(0, page.floor(from)); row < page.rows; row++) {
      if (!interesting(page.value(NODE.highest, row), page.value(NODE.lowestEpoch, row))) continue;
      const next = row + 1 < page.rows ? page.value(NODE.first, row + 1) : end;
      const found = await this.#leafFrom(page.child(row), from, interesting, next);
      if (found.page !== undefined) return found;
    }
    return { page: undefined, end };
  }

  /** Whether the page, whose parent has it from block `first` on, is one of this tree. Errors: IndexDamageError. */
  async has(wanted: PagePointer, first: number): Promise<boolean> {
    let pointer = this.root;
    while (pointer !== undefined && pointer.level > wanted.level) {
      const page = await this.#file.load(pointer);
      pointer = page.child(Math.max(0, page.floor(first)));
    }
    return pointer?.slot === wanted.slot && pointer.checkpoint === wanted.checkpoint;
  }

  /**
   * Reads the pages that are about blocks from `from` on from the file, at most so many leaves, though they may be in
   * memory. Errors: IndexDamageError.
   */
  async verify(from: number, leaves: number): Promise<Verified> {
    const verified: Verified = { pages: 0, leaves: 0, next: Number.POSITIVE_INFINITY };
    if (this.root !== undefined) await this.#verify(this.root, from, leaves, verified);
    return verified;
  }

  async #verify(pointer: PagePointer, from: number, leaves: number, verified: Verified): Promise<void> {
    const page = await this.#file.read(pointer);
    verified.pages++;
    if (page.level === 0) {
      verified.leaves++;
      return;
    }
    for (let row = Math.max(0, page.floor(from)); row < page.rows; row++) {
      if (verified.leaves >= leaves) {
        verified.next = Math.min(verified.next, page.value(NODE.first, row));
        return;
      }
      await this.#verify(page.child(row), from, leaves, verified);
    }
  }
}

/** What the leaf says of the block, whose row this is. */
function answer(leaf: Page, row: number, block: number, into: IndexRecord): Answer {
  if (leaf.value(LEAF.block, row) + leaf.value(LEAF.blocks, row) <= block) return NEVER;
  readRow(leaf, row, into);
  return KNOWN;
}

export function readRow(page: Page, row: number, into: IndexRecord): void {
  into.epoch = page.value(LEAF.epoch, row);
  into.sequence = page.value(LEAF.sequence, row);
  into.segment = page.value(LEAF.segment, row);
  into.offset = page.value(LEAF.offset, row);
  setShape(into, page.value(LEAF.shape, row));
  into.checksumLow = page.value(LEAF.checksumLow, row);
  into.checksumHigh = page.value(LEAF.checksumHigh, row);
}

/** Through the extents of a leaf. */
export class LeafCursor implements ExtentCursor {
  readonly page: Page | undefined;
  row = -1;
  start = Number.NEGATIVE_INFINITY;
  end = Number.NEGATIVE_INFINITY;

  constructor(page: Page | undefined) {
    this.page = page;
  }

  seek(block: number): void {
    if (this.end > block) return;
    this.#to(this.row + 1);
    if (this.end > block) return;
    this.#to(Math.max(this.row, this.page!.floor(block)));
    if (this.end <= block) this.#to(this.row + 1);
  }

  #to(row: number): void {
    this.row = row;
    const { page } = this;
    if (page === undefined || row >= page.rows) {
      this.start = this.end = Number.POSITIVE_INFINITY;
      return;
    }
    this.start = page.value(LEAF.block, row);
    this.end = this.start + page.value(LEAF.blocks, row);
  }

  read(into: IndexRecord): void {
    readRow(this.page!, this.row, into);
  }
}
