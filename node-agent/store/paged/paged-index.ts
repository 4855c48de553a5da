/**
 * The index of a deployment: a tree of pages on the disk as of the last checkpoint, and over it what has changed
 * since, in memory. A write never reads a page; what it replaces in the tree is found by the next checkpoint.
 */

import {
  type ExtentCursor,
  emptyRecord,
  type IndexRecord,
  isData,
  KIND_FORGOTTEN,
  overlay,
  storedLengthOf,
} from './extents.js';
import type { IndexMemory, MemtableOwner } from './index-memory.js';
import { Memtable, type Refer } from './memtable.js';
import { LEAF, type PagePointer } from './page.js';
import type { PageFile } from './page-file.js';
import {
  ABSENT,
  type Answer,
  type Interesting,
  KNOWN,
  LeafCursor,
  NEVER,
  PageTree,
  type Pinned,
  type Verified,
} from './page-tree.js';

/** Extents that a search goes through between two turns of the event loop. */
const SEARCH_STEPS = 2048;
/** Leaves that it goes through. */
const SEARCH_LEAVES = 8;

export type Get = (block: number, into: IndexRecord) => boolean;

export interface PagedIndexOptions {
  readonly memory: IndexMemory;
  readonly file: PageFile;
  /** The memory is short: a checkpoint is wanted. */
  readonly shrink: () => void;
  /** Told of payloads that the memtables refer to. */
  readonly refer: Refer;
  readonly pause: () => Promise<void>;
}

export class PagedIndex implements MemtableOwner {
  readonly #options: PagedIndexOptions;
  #tree: PageTree;
  #active: Memtable;
  /** What the checkpoint that is being written brings into the tree. */
  #frozen: Memtable | undefined;
  #counted = 0;
  /** Another one for each change of tree and memtables: what was read before may not be combined with them. */
  #version = 0;
  readonly #pinned: Pinned = new Map();

  /** Empty: `publish` gives it the tree of a checkpoint. */
  constructor(options: PagedIndexOptions) {
    this.#options = options;
    this.#active = new Memtable(options.refer);
    this.#tree = new PageTree(options.file, undefined);
    options.memory.join(this);
  }

  get root(): PagePointer | undefined {
    return this.#tree.root;
  }

  /** The tree alone, as of the last checkpoint. */
  get tree(): PageTree {
    return this.#tree;
  }

  get file(): PageFile {
    return this.#options.file;
  }

  get frozen(): Memtable | undefined {
    return this.#frozen;
  }

  /** Extents that the next checkpoint would bring into the tree. */
  get changedExtents(): number {
    return this.#active.extents;
  }

  get memtableBytes(): number {
    return this.#active.bytes + (this.#frozen?.bytes ?? 0);
  }

  /** The memtables of the node take more memory than they may. */
  get crowded(): boolean {
    return this.#options.memory.crowded;
  }

  shrink(): void {
    this.#options.shrink();
  }

  /** Replaces what is known of `blocks` blocks; KIND_FORGOTTEN: nothing is known of them any more. */
  put(block: number, blocks: number, record: IndexRecord): void {
    this.#active.put(block, blocks, record);
    const { bytes } = this.#active;
    if (bytes === this.#counted) return;
    this.#options.memory.grow(bytes - this.#counted);
    this.#counted = bytes;
  }

  /** What is known of the block, if that is in memory. */
  tryGet(block: number, into: IndexRecord, pinned = this.#pinned): Answer {
    if (this.#active.get(block, into) || this.#frozen?.get(block, into) === true) {
      return into.kind === KIND_FORGOTTEN ? NEVER : KNOWN;
    }
    return this.#tree.get(block, into, pinned);
  }

  /** Calls `act` in a turn in which all that is known of these blocks is in memory. Errors: IndexDamageError. */
  async look<T>(blocks: readonly number[], act: (get: Get) => T): Promise<T> {
    const record = emptyRecord();
    if (blocks.every((block) => this.tryGet(block, record) !== ABSENT)) {
      return act((block, into) => this.#answer(this.tryGet(block, into)));
    }
    for (;;) {
      const version = this.#version;
      const pinned: Pinned = new Map();
      const failure = await this.#tree.pin(blocks, pinned).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      if (version !== this.#version) continue;
      if (failure !== undefined) throw failure.error;
      return act((block, into) => this.#answer(this.tryGet(block, into, pinned)));
    }
  }

  #answer(answer: Answer): boolean {
    if (answer === ABSENT) throw new RangeError('a block was looked up that nobody had asked to bring into memory');
    return answer === KNOWN;
  }

  /**
   * Ascending blocks ≥ `from`, at most `limit`, that `matches` accepts; subtrees that are not `interesting` are left
   * out. What changes meanwhile may be in the answer or not. Errors: IndexDamageError.
   */
  async select(
    from: number,
    limit: number,
    interesting: Interesting,
    matches: (epoch: number, sequence: number) => boolean,
  ): Promise<number[]> {
    const found: number[] = [];
    const record = emptyRecord();
    const emit = (cursor: ExtentCursor, start: number, end: number): boolean => {
      cursor.read(record);
      if (record.kind === KIND_FORGOTTEN || !matches(record.epoch, record.sequence)) return true;
      for (let block = start; block < end && found.length < limit; block++) found.push(block);
      return found.length < limit;
    };
    let leaves = 0;
    for (let at = from; found.length < limit; ) {
      const version = this.#version;
      const leaf = await this.#tree.leafFrom(at, interesting).catch((error: unknown) => ({ error }));
      if (version !== this.#version) continue;
      if ('error' in leaf) throw leaf.error;
      const cursors: ExtentCursor[] = [this.#active.cursor(at)];
      if (this.#frozen !== undefined) cursors.push(this.#frozen.cursor(at));
      cursors.push(new LeafCursor(leaf.page));
      at = overlay(cursors, at, leaf.end, SEARCH_STEPS, emit);
      if (at === Number.POSITIVE_INFINITY) break;
      // Pages that are in memory, or in the page cache, are there without the event loop having run.
      const turn = at < leaf.end || ++leaves % SEARCH_LEAVES === 0;
      if (turn && found.length < limit) await this.#options.pause();
    }
    return found;
  }

  /** Tells of payloads in the pages that were replaced since: what a checkpoint would find. Errors: IndexDamageError. */
  async replaced(tell: Refer): Promise<void> {
    for (let at = this.#active.cursor().start; at < Number.POSITIVE_INFINITY; ) {
      const { page, end } = await this.#tree.leafFrom(at, () => true);
      for (let row = 0; page !== undefined && row < page.rows; row++) {
        const shape = page.value(LEAF.shape, row);
        const block = page.value(LEAF.block, row);
        const replaced = isData(shape) && this.#active.overlaps(block, block + 1);
        if (replaced) tell(page.value(LEAF.segment, row), -1, -storedLengthOf(shape));
      }
      at = Math.max(end, this.#active.cursor(end).start);
    }
  }

  /** PageTree.verify of the tree as it is, whatever is in memory. */
  async verify(from: number, leaves: number): Promise<Verified> {
    for (;;) {
      const version = this.#version;
      try {
        return await this.#tree.verify(from, leaves);
      } catch (error) {
        // The tree was replaced, and its pages with it.
        if (version === this.#version) throw error;
      }
    }
  }

  /** What has changed so far is to go into the tree; what comes is kept apart. Only while nothing is frozen. */
  freeze(): Memtable {
    this.#frozen = this.#active;
    this.#active = new Memtable(this.#options.refer);
    this.#counted = 0;
    return this.#frozen;
  }

  /** What was frozen could not be brought into the tree, and nothing has changed since. */
  thaw(): void {
    this.#active = this.#frozen ?? this.#active;
    this.#counted = this.#active.bytes;
    this.#frozen = undefined;
  }

  /** The tree with this root is the durable one. `whole`: it has all that was frozen. */
  publish(root: PagePointer | undefined, whole: boolean): void {
    this.#tree = new PageTree(this.#options.file, root);
    if (whole && this.#frozen !== undefined) {
      for (const [segment, { blocks, bytes }] of this.#frozen.references) this.#options.refer(segment, -blocks, -bytes);
      this.#options.memory.grow(-this.#frozen.bytes);
      this.#frozen = undefined;
    }
    this.#version++;
  }

  close(): void {
    this.#options.memory.leave(this, this.memtableBytes);
    this.#options.file.close();
  }
}
