/**
 * What only one snapshot has: pages and payloads that become free with it. Every page and every payload is in an
 * unbroken row of states of the index, from the one that it was written in to the one before it was replaced; so what
 * a snapshot has is in none of the others if neither its elder neighbour nor its younger one, which may be the
 * present tree, has it.
 */

import { IndexDamageError } from '../errors.js';
import { emptyRecord, isData, storedLengthOf } from './extents.js';
import { LEAF, NODE, type Page, type PagePointer } from './page.js';
import type { PageFile } from './page-file.js';
import { KNOWN, PageTree, type Pinned } from './page-tree.js';
import { SegmentChanges } from './segment-changes.js';

/** Pages that are gone through between two turns of the event loop. */
const TURN_PAGES = 8;

export interface SnapshotRemoval {
  readonly file: PageFile;
  readonly root: PagePointer | undefined;
  /** Of the elder neighbour: its pages are of no later checkpoint, its payloads lie before this place in the log. */
  readonly elder: { readonly checkpoint: number; readonly segment: number; readonly offset: number } | undefined;
  /** Root of the younger neighbour. */
  readonly younger: PagePointer | undefined;
  /** Slots of pages that are free by the removal are added. */
  readonly freed: number[];
  /** Payloads that nothing refers to any more are added. */
  readonly changes: SegmentChanges;
  readonly pause: () => Promise<void>;
  /** Whether the younger neighbour counts as having what can't be read of it. */
  readonly doubt: boolean;
}

/**
 * Counts anew what only snapshots refer to, by segment, when the present tree has lost pages: each payload with the
 * youngest snapshot that has it. In doubt a payload is held: it must not be let go more often than it is counted.
 */
export async function countHeld(
  file: PageFile,
  snapshots: readonly { readonly root: PagePointer | undefined }[],
  present: PagePointer | undefined,
  pause: () => Promise<void>,
): Promise<SegmentChanges> {
  const changes = new SegmentChanges();
  for (const [i, { root }] of snapshots.entries()) {
    const next = snapshots[i + 1];
    const younger = next === undefined ? present : next.root;
    await findReleased({ file, root, elder: undefined, younger, freed: [], changes, pause, doubt: false });
  }
  return changes;
}

/**
 * Finds it. What lies below a page that can't be read stays held for good: that is no reason to keep the rest, nor to
 * end the deployment. Rejects with the disk's errors.
 */
export async function findReleased(options: SnapshotRemoval): Promise<void> {
  if (options.root !== undefined) await new Walk(options).page(options.root, 0);
}

class Walk {
  readonly #options: SnapshotRemoval;
  readonly #younger: PageTree;
  readonly #record = emptyRecord();
  #pages = 0;

  constructor(options: SnapshotRemoval) {
    this.#options = options;
    this.#younger = new PageTree(options.file, options.younger);
  }

  /** `first`: the first block of the page, as its parent has it. */
  async page(pointer: PagePointer, first: number): Promise<void> {
    const { file, elder, freed, pause } = this.#options;
    if (elder !== undefined && pointer.checkpoint <= elder.checkpoint) return;
    try {
      if (await this.#unlessDamaged(this.#younger.has(pointer, first))) return;
      const page = file.cached(pointer) ?? (await file.read(pointer));
      if (page.level === 0) await this.#leaf(page);
      else for (let row = 0; row < page.rows; row++) await this.page(page.child(row), page.value(NODE.first, row));
    } catch (error) {
      if (error instanceof IndexDamageError) return;
      throw error;
    }
    freed.push(pointer.slot);
    if (++this.#pages % TURN_PAGES === 0) await pause();
  }

  async #leaf(page: Page): Promise<void> {
    const { changes } = this.#options;
    const rows: number[] = [];
    for (let row = 0; row < page.rows; row++) {
      if (isData(page.value(LEAF.shape, row)) && !this.#isElders(page, row)) rows.push(row);
    }
    const pinned: Pinned = new Map();
    const blocks = rows.map((row) => page.value(LEAF.block, row));
    const unknown = await this.#unlessDamaged(this.#younger.pin(blocks, pinned).then(() => undefined));
    for (const row of rows) {
      if (unknown ?? this.#isYoungers(page, row, pinned)) continue;
      changes.hold(page.value(LEAF.segment, row), -1, -storedLengthOf(page.value(LEAF.shape, row)));
    }
  }

  async #unlessDamaged<T>(question: Promise<T>): Promise<T | boolean> {
    try {
      return await question;
    } catch (error) {
      if (error instanceof IndexDamageError) return this.#options.doubt;
      throw error;
    }
  }

  #isElders(page: Page, row: number): boolean {
    const { elder } = this.#options;
    if (elder === undefined) return false;
    const segment = page.value(LEAF.segment, row);
    return segment < elder.segment || (segment === elder.segment && page.value(LEAF.offset, row) < elder.offset);
  }

  #isYoungers(page: Page, row: number, pinned: Pinned): boolean {
    const record = this.#record;
    if (this.#younger.get(page.value(LEAF.block, row), record, pinned) !== KNOWN) return false;
    return record.segment === page.value(LEAF.segment, row) && record.offset === page.value(LEAF.offset, row);
  }
}
