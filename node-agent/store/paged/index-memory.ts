/**
 * The memory that all indexes of a node share: pages in memory, thrown out by the clock algorithm (Corbató, "A paging
 * experiment with the Multics system", 1968), and memtables, which have precedence over them up to their own limit.
 */

import { PAGE_BYTES, type Page } from './page.js';

/** A page in memory: its bytes and what is known of it. */
export const CACHED_PAGE_BYTES = PAGE_BYTES + 512;
/** The part of the memory that memtables may take before the largest one has to go into pages. */
const MEMTABLE_PART = 1 / 2;
/** However large memtables are, so much is left for pages. */
const LEAST_PAGE_PART = 1 / 4;

interface Cached {
  readonly page: Page;
  readonly slot: number;
  readonly owner: Map<number, Cached>;
  used: boolean;
}

/** Who has a memtable. */
export interface MemtableOwner {
  readonly memtableBytes: number;
  /** Its memtable is to go into pages soon. */
  shrink(): void;
}

/** For metrics; counts are since the process's start. */
export interface IndexUse {
  readonly limitBytes: number;
  readonly pageBytes: number;
  readonly memtableBytes: number;
  readonly hits: number;
  readonly misses: number;
}

export class IndexMemory implements IndexUse {
  readonly limitBytes: number;
  readonly #ring: Cached[] = [];
  #hand = 0;
  #memtableBytes = 0;
  readonly #owners = new Set<MemtableOwner>();
  hits = 0;
  misses = 0;
  /** Pages thrown out so far. */
  evictions = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get pageBytes(): number {
    return this.#ring.length * CACHED_PAGE_BYTES;
  }

  get memtableBytes(): number {
    return this.#memtableBytes;
  }

  /** Memtables take more than they may. */
  get crowded(): boolean {
    return this.#memtableBytes > this.limitBytes * MEMTABLE_PART;
  }

  /** The pages of one index. */
  part(): PageCache {
    return new PageCache(this);
  }

  join(owner: MemtableOwner): void {
    this.#owners.add(owner);
  }

  /** Its memtables are gone. */
  leave(owner: MemtableOwner, bytes: number): void {
    this.#owners.delete(owner);
    this.grow(-bytes);
  }

  /** A memtable has grown by so much. */
  grow(bytes: number): void {
    if (bytes === 0) return;
    this.#memtableBytes += bytes;
    if (bytes < 0) return;
    this.#evict(0);
    if (!this.crowded) return;
    let largest: MemtableOwner | undefined;
    for (const owner of this.#owners) {
      if (largest === undefined || owner.memtableBytes > largest.memtableBytes) largest = owner;
    }
    largest?.shrink();
  }

  add(entry: Cached): void {
    this.#evict(1);
    this.#ring.push(entry);
  }

  #evict(more: number): void {
    const room = Math.max(this.limitBytes - this.#memtableBytes, this.limitBytes * LEAST_PAGE_PART);
    const most = Math.floor(room / CACHED_PAGE_BYTES);
    while (this.#ring.length > 0 && this.#ring.length + more > most) {
      if (this.#hand >= this.#ring.length) this.#hand = 0;
      const entry = this.#ring[this.#hand]!;
      const present = entry.owner.get(entry.slot) === entry;
      if (present && entry.used) {
        entry.used = false;
        this.#hand++;
        continue;
      }
      if (present) {
        entry.owner.delete(entry.slot);
        this.evictions++;
      }
      this.#ring[this.#hand] = this.#ring.at(-1)!;
      this.#ring.pop();
    }
  }
}

/** The pages in memory of one index, by slot. */
export class PageCache {
  readonly #memory: IndexMemory;
  readonly #pages = new Map<number, Cached>();

  constructor(memory: IndexMemory) {
    this.#memory = memory;
  }

  /** As long as this is the same number, pages that were in memory are there still. */
  get evictions(): number {
    return this.#memory.evictions;
  }

  /** Slots are used again: a page of another checkpoint is not the one that is meant. */
  get(slot: number, checkpoint: number): Page | undefined {
    const entry = this.#pages.get(slot);
    if (entry === undefined || entry.page.checkpoint !== checkpoint) {
      this.#memory.misses++;
      return undefined;
    }
    this.#memory.hits++;
    entry.used = true;
    return entry.page;
  }

  /** Like `get`, but nobody uses it by that. */
  has(slot: number, checkpoint: number): boolean {
    return this.#pages.get(slot)?.page.checkpoint === checkpoint;
  }

  put(slot: number, page: Page): void {
    const entry: Cached = { page, slot, owner: this.#pages, used: true };
    this.#pages.set(slot, entry);
    this.#memory.add(entry);
  }

  clear(): void {
    this.#pages.clear();
  }
}
