/**
 * Makes a whole tree of one in which pages are damaged. Leaves are what can't be replaced: a damaged one leaves a gap,
 * and what the blocks of the gap were is for others to find out. Inner pages say nothing that the leaves don't: those
 * above a gap are written anew, and what a damaged one had below it is found by going through all slots in use.
 */

import { type Damage, IndexDamageError } from '../errors.js';
import { isData, storedLengthOf } from './extents.js';
import { LEAF, NODE, type Page, type PagePointer } from './page.js';
import type { PageFile } from './page-file.js';
import { TreeWriter } from './tree-writer.js';

/** Pages that are read between two turns of the event loop, though memory may have them all. */
const TURN_PAGES = 8;

/** Blocks from `first` up to `end`, which is not one of them. */
export interface BlockRange {
  readonly first: number;
  readonly end: number;
}

export interface TreeRepair {
  readonly file: PageFile;
  readonly root: PagePointer;
  /** Of the volume. */
  readonly blocks: number;
  /** Of the pages that are written. */
  readonly checkpoint: number;
  /** The newest snapshot's checkpoint: pages up to it are not free, and may be no part of this tree. */
  readonly snapshot: number | undefined;
  /** What the checkpoint says the whole tree refers to. */
  readonly references: References;
  readonly pause: () => Promise<void>;
}

export interface RepairedTree {
  readonly root: PagePointer | undefined;
  /** What was found damaged; nothing: the tree is as it was. */
  readonly damages: readonly Damage[];
  /** Ascending: the tree has nothing of these blocks, though there may have been something. */
  readonly gaps: readonly BlockRange[];
  /** Slots of new pages. */
  readonly written: readonly number[];
  /** Slots that the new tree does not need any more, and no snapshot. They are free when it is the durable one. */
  readonly replaced: readonly number[];
  /** Payloads that the tree refers to, by segment. */
  readonly references: References;
}

/** Payloads, by segment. */
export type References = ReadonlyMap<number, { readonly blocks: number; readonly bytes: number }>;

type Counts = Map<number, { readonly blocks: number; readonly bytes: number }>;
const NOTHING = { blocks: 0, bytes: 0 };

/** Reads all pages. Rejects with the disk's errors. */
export async function repairTree(options: TreeRepair): Promise<RepairedTree> {
  return new Repair(options).run();
}

interface Leaf {
  readonly pointer: PagePointer;
  readonly first: number;
  /** Behind its last block. */
  readonly end: number;
  readonly highest: number;
  readonly lowestEpoch: number;
  readonly references: References;
}

class Repair {
  readonly #options: TreeRepair;
  readonly #writer: TreeWriter;
  readonly #damages: Damage[] = [];
  /** Slots of damaged pages, and of all pages above one. */
  readonly #damaged = new Set<number>();
  /** What damaged inner pages are about. */
  readonly #unknown: BlockRange[] = [];
  readonly #above = new Set<number>();
  readonly #seen = new Set<number>();
  readonly #gaps: BlockRange[] = [];
  readonly #replaced: number[] = [];
  readonly #references: Counts = new Map();
  /** Leaves that only damaged pages knew of, ascending; undefined: it is not known which they are. */
  #orphans: readonly Leaf[] | undefined;
  /** All that a damaged inner page had is among them. */
  #allFound = false;
  #pages = 0;

  constructor(options: TreeRepair) {
    this.#options = options;
    this.#writer = new TreeWriter(options.file, options.checkpoint);
  }

  async run(): Promise<RepairedTree> {
    const { file, root, blocks } = this.#options;
    if (await this.#check(root, 0, blocks)) return this.#result(root);
    try {
      if (this.#unknown.length > 0) await this.#findOrphans();
      await this.#rebuild(root, 0, blocks);
      const rebuilt = this.#writer.finish();
      await file.flush();
      return this.#result(rebuilt);
    } catch (error) {
      await file.discard();
      for (const slot of this.#writer.written) file.slots.free(slot);
      throw error;
    }
  }

  #result(root: PagePointer | undefined): RepairedTree {
    return {
      root,
      damages: this.#damages,
      gaps: this.#gaps,
      written: this.#writer.written,
      replaced: this.#replaced,
      references: this.#references,
    };
  }

  /** Whether the page, which is about [from, end), and all below it are intact. */
  async #check(pointer: PagePointer, from: number, end: number): Promise<boolean> {
    this.#seen.add(pointer.slot);
    let page: Page;
    try {
      page = await this.#options.file.read(pointer);
    } catch (error) {
      if (!(error instanceof IndexDamageError)) throw error;
      this.#damages.push(error.damage);
      this.#damaged.add(pointer.slot);
      if (pointer.level > 0) this.#unknown.push({ first: from, end });
      return false;
    }
    await this.#turn();
    if (page.level === 0) {
      addTo(this.#references, referencesOf(page));
      return true;
    }
    let intact = true;
    const begins = beginnings(page, from, end);
    for (let row = 0; row < page.rows; row++) {
      intact = (await this.#check(page.child(row), begins(row), begins(row + 1))) && intact;
    }
    if (!intact) this.#above.add(pointer.slot);
    return intact;
  }

  async #turn(): Promise<void> {
    if (++this.#pages % TURN_PAGES === 0) await this.#options.pause();
  }

  /**
   * Without snapshots, a slot in use has a page of this tree: so leaves that no intact page names are those of the
   * damaged ones. If every such slot has an intact page, nothing but the damaged inner pages is missing. Leaves that
   * are not where a damaged page could have had them, or refer to other payloads than the checkpoint has counted, are
   * old ones, which a write that was lost should have replaced: then none of them is trusted.
   */
  async #findOrphans(): Promise<void> {
    const { file, snapshot } = this.#options;
    if (snapshot !== undefined) return;
    const orphans: Leaf[] = [];
    this.#allFound = true;
    for (let slot = 0; slot < file.slots.length; slot++) {
      if (!file.slots.isUsed(slot) || this.#seen.has(slot)) continue;
      const page = await file.readSlot(slot);
      await this.#turn();
      if (page === undefined) this.#allFound = false;
      if (page?.level === 0) orphans.push(leafOf(slot, page));
      else this.#replaced.push(slot);
    }
    orphans.sort((a, b) => a.first - b.first);
    if (orphans.every((leaf, i) => this.#fits(leaf, orphans[i + 1])) && this.#isCounted(orphans))
      this.#orphans = orphans;
    else this.#replaced.push(...orphans.map(({ pointer }) => pointer.slot));
    for (const { references } of this.#orphans ?? []) addTo(this.#references, references);
  }

  /** Whether the tree with these leaves refers to what the checkpoint has counted, or to less if leaves are missing. */
  #isCounted(orphans: readonly Leaf[]): boolean {
    const found: Counts = new Map();
    addTo(found, this.#references);
    for (const { references } of orphans) addTo(found, references);
    const whole = this.#allFound && this.#damages.length === this.#unknown.length;
    const counted = this.#options.references;
    for (const segment of new Set([...found.keys(), ...counted.keys()])) {
      const { blocks, bytes } = found.get(segment) ?? NOTHING;
      const expected = counted.get(segment) ?? NOTHING;
      if (blocks > expected.blocks || bytes > expected.bytes) return false;
      if (whole && (blocks < expected.blocks || bytes < expected.bytes)) return false;
    }
    return true;
  }

  #fits({ first, end }: Leaf, next: Leaf | undefined): boolean {
    if (next !== undefined && next.first < end) return false;
    return this.#unknown.some((range) => first >= range.first && end <= range.end);
  }

  /** Writes what is left of the page, which is about [from, end). */
  async #rebuild(pointer: PagePointer, from: number, end: number): Promise<void> {
    this.#drop(pointer);
    if (this.#damaged.has(pointer.slot)) {
      if (pointer.level === 0 || this.#orphans === undefined) this.#gap(from, end);
      else this.#adopt(this.#orphans, from, end);
      return;
    }
    const page = await this.#options.file.read(pointer);
    const writer = this.#writer;
    const begins = beginnings(page, from, end);
    for (let row = 0; row < page.rows; row++) {
      const child = page.child(row);
      if (this.#damaged.has(child.slot) || this.#above.has(child.slot)) {
        await this.#rebuild(child, begins(row), begins(row + 1));
        continue;
      }
      const [first, highest] = [page.value(NODE.first, row), page.value(NODE.highest, row)];
      writer.close(page.level);
      writer.child(page.level, first, child, highest, page.value(NODE.lowestEpoch, row));
    }
  }

  #adopt(orphans: readonly Leaf[], from: number, end: number): void {
    let at = from;
    for (const { pointer, first, end: behind, highest, lowestEpoch } of orphans) {
      if (first < from || first >= end) continue;
      if (!this.#allFound) this.#gap(at, first);
      this.#writer.close(1);
      this.#writer.child(1, first, pointer, highest, lowestEpoch);
      at = behind;
    }
    if (!this.#allFound) this.#gap(at, end);
  }

  #gap(first: number, end: number): void {
    if (first < end) this.#gaps.push({ first, end });
  }

  #drop({ slot, checkpoint }: PagePointer): void {
    const { snapshot } = this.#options;
    if (snapshot === undefined || checkpoint > snapshot) this.#replaced.push(slot);
  }
}

/** Where what each row of an inner page is about begins, if the page is about [from, end). */
function beginnings(page: Page, from: number, end: number): (row: number) => number {
  return (row) => (row === 0 ? from : row === page.rows ? end : page.value(NODE.first, row));
}

function leafOf(slot: number, page: Page): Leaf {
  const last = page.rows - 1;
  let highest = 0;
  let lowestEpoch = Number.MAX_SAFE_INTEGER;
  for (let row = 0; row < page.rows; row++) {
    highest = Math.max(highest, page.value(LEAF.sequence, row));
    lowestEpoch = Math.min(lowestEpoch, page.value(LEAF.epoch, row));
  }
  return {
    pointer: { slot, checkpoint: page.checkpoint, level: 0 },
    first: page.value(LEAF.block, 0),
    end: page.value(LEAF.block, last) + page.value(LEAF.blocks, last),
    highest,
    lowestEpoch,
    references: referencesOf(page),
  };
}

function referencesOf(page: Page): References {
  const references: Counts = new Map();
  for (let row = 0; row < page.rows; row++) {
    const shape = page.value(LEAF.shape, row);
    if (isData(shape)) add(references, page.value(LEAF.segment, row), 1, storedLengthOf(shape));
  }
  return references;
}

function addTo(counts: Counts, references: References): void {
  for (const [segment, { blocks, bytes }] of references) add(counts, segment, blocks, bytes);
}

function add(counts: Counts, segment: number, blocks: number, bytes: number): void {
  const known = counts.get(segment) ?? NOTHING;
  counts.set(segment, { blocks: known.blocks + blocks, bytes: known.bytes + bytes });
}
