/**
 * The index in memory: a directory of pages of leaves, all allocated when first written to. A leaf maps 64
 * consecutive blocks to slots of a packed table, so that a block costs 36 bytes + its share of a leaf's 264:
 * about 10 MiB for a GiB of 4 KiB blocks written in sequence, 75 MiB if every leaf has one block. Leaves and
 * directory pages keep the highest sequence that they ever held, so that a search for what is new skips the rest.
 */

import type { BlockIndex, IndexRecord } from './block-index.js';

const LEAF_BLOCKS = 64;
/** Leaves that one page of the directory points to. */
const PAGE_LEAVES = 1024;
const PAGE_BLOCKS = PAGE_LEAVES * LEAF_BLOCKS;
/** Leaves and slots are allocated by chunks of so many. */
const CHUNK_LEAVES = 16;
const CHUNK_SLOTS = 1024;

class DirectoryPage {
  /** Number of the leaf + 1, or 0. */
  readonly leaves = new Int32Array(PAGE_LEAVES);
  highest = 0;
}

class LeafChunk {
  /** Slot + 1 of each block, or 0. */
  readonly slots = new Uint32Array(CHUNK_LEAVES * LEAF_BLOCKS);
  readonly highest = new Float64Array(CHUNK_LEAVES);
}

class SlotChunk {
  readonly sequence: Float64Array;
  readonly epoch: Float64Array;
  readonly segment: Uint32Array;
  readonly offset: Uint32Array;
  /** Stored length in the low 24 bits, flags in 4, kind in 4. */
  readonly shape: Uint32Array;
  readonly checksumLow: Uint32Array;
  readonly checksumHigh: Uint32Array;

  constructor() {
    const memory = new ArrayBuffer(CHUNK_SLOTS * 36);
    this.sequence = new Float64Array(memory, 0, CHUNK_SLOTS);
    this.epoch = new Float64Array(memory, CHUNK_SLOTS * 8, CHUNK_SLOTS);
    this.segment = new Uint32Array(memory, CHUNK_SLOTS * 16, CHUNK_SLOTS);
    this.offset = new Uint32Array(memory, CHUNK_SLOTS * 20, CHUNK_SLOTS);
    this.shape = new Uint32Array(memory, CHUNK_SLOTS * 24, CHUNK_SLOTS);
    this.checksumLow = new Uint32Array(memory, CHUNK_SLOTS * 28, CHUNK_SLOTS);
    this.checksumHigh = new Uint32Array(memory, CHUNK_SLOTS * 32, CHUNK_SLOTS);
  }
}

export class PackedIndex implements BlockIndex {
  readonly #blocks: number;
  readonly #pages: (DirectoryPage | undefined)[];
  readonly #leaves: LeafChunk[] = [];
  readonly #slots: SlotChunk[] = [];
  readonly #free: number[] = [];
  #leafCount = 0;
  #slotCount = 0;
  #size = 0;

  /** For a volume of `blocks` blocks. */
  constructor(blocks: number) {
    this.#blocks = blocks;
    this.#pages = new Array(Math.ceil(blocks / PAGE_BLOCKS)).fill(undefined);
  }

  get size(): number {
    return this.#size;
  }

  get(block: number, into: IndexRecord): boolean {
    const slot = this.#find(block);
    if (slot < 0) return false;
    this.#load(slot, into);
    return true;
  }

  replace(block: number, record: IndexRecord, previous: IndexRecord): boolean {
    if (block < 0 || block >= this.#blocks) throw new RangeError(`block ${block} of ${this.#blocks}`);
    const page = this.#page(block);
    const leaf = this.#leaf(page, block);
    const leaves = this.#leaves[leaf >>> 4]!;
    const at = (leaf % CHUNK_LEAVES) * LEAF_BLOCKS + (block % LEAF_BLOCKS);
    let slot = leaves.slots[at]! - 1;
    const known = slot >= 0;
    if (known) {
      this.#load(slot, previous);
    } else {
      slot = this.#takeSlot();
      leaves.slots[at] = slot + 1;
      this.#size++;
    }
    this.#save(slot, record);
    if (record.sequence > leaves.highest[leaf % CHUNK_LEAVES]!) leaves.highest[leaf % CHUNK_LEAVES] = record.sequence;
    if (record.sequence > page.highest) page.highest = record.sequence;
    return known;
  }

  remove(block: number, previous: IndexRecord): boolean {
    const slot = this.#find(block);
    if (slot < 0) return false;
    this.#load(slot, previous);
    const leaf =
      this.#pages[Math.floor(block / PAGE_BLOCKS)]!.leaves[Math.floor(block / LEAF_BLOCKS) % PAGE_LEAVES]! - 1;
    this.#leaves[leaf >>> 4]!.slots[(leaf % CHUNK_LEAVES) * LEAF_BLOCKS + (block % LEAF_BLOCKS)] = 0;
    this.#free.push(slot);
    this.#size--;
    return true;
  }

  next(from: number): number {
    return this.select(-1, from, 1)[0] ?? -1;
  }

  select(after: number, from: number, limit: number, matches?: (epoch: number, sequence: number) => boolean): number[] {
    const found: number[] = [];
    let block = Math.max(0, from);
    while (block < this.#blocks && found.length < limit) {
      const page = this.#pages[Math.floor(block / PAGE_BLOCKS)];
      if (page === undefined || page.highest <= after) {
        block = (Math.floor(block / PAGE_BLOCKS) + 1) * PAGE_BLOCKS;
        continue;
      }
      const leaf = page.leaves[Math.floor(block / LEAF_BLOCKS) % PAGE_LEAVES]! - 1;
      const end = (Math.floor(block / LEAF_BLOCKS) + 1) * LEAF_BLOCKS;
      if (leaf >= 0 && this.#leaves[leaf >>> 4]!.highest[leaf % CHUNK_LEAVES]! > after) {
        this.#selectInLeaf(leaf, block, end, after, limit, matches, found);
      }
      block = end;
    }
    return found;
  }

  #selectInLeaf(
    leaf: number,
    from: number,
    end: number,
    after: number,
    limit: number,
    matches: ((epoch: number, sequence: number) => boolean) | undefined,
    found: number[],
  ): void {
    const { slots } = this.#leaves[leaf >>> 4]!;
    const base = (leaf % CHUNK_LEAVES) * LEAF_BLOCKS;
    for (let block = from; block < end && found.length < limit; block++) {
      const slot = slots[base + (block % LEAF_BLOCKS)]! - 1;
      if (slot < 0) continue;
      const chunk = this.#slots[slot >>> 10]!;
      const sequence = chunk.sequence[slot % CHUNK_SLOTS]!;
      if (sequence <= after) continue;
      if (matches === undefined || matches(chunk.epoch[slot % CHUNK_SLOTS]!, sequence)) found.push(block);
    }
  }

  #find(block: number): number {
    const page = this.#pages[Math.floor(block / PAGE_BLOCKS)];
    if (page === undefined) return -1;
    const leaf = page.leaves[Math.floor(block / LEAF_BLOCKS) % PAGE_LEAVES]! - 1;
    if (leaf < 0) return -1;
    return this.#leaves[leaf >>> 4]!.slots[(leaf % CHUNK_LEAVES) * LEAF_BLOCKS + (block % LEAF_BLOCKS)]! - 1;
  }

  #page(block: number): DirectoryPage {
    const number = Math.floor(block / PAGE_BLOCKS);
    let page = this.#pages[number];
    if (page === undefined) {
      page = new DirectoryPage();
      this.#pages[number] = page;
    }
    return page;
  }

  #leaf(page: DirectoryPage, block: number): number {
    const at = Math.floor(block / LEAF_BLOCKS) % PAGE_LEAVES;
    const known = page.leaves[at]! - 1;
    if (known >= 0) return known;
    const leaf = this.#leafCount++;
    if (leaf >>> 4 === this.#leaves.length) this.#leaves.push(new LeafChunk());
    page.leaves[at] = leaf + 1;
    return leaf;
  }

  #takeSlot(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const slot = this.#slotCount++;
    if (slot >>> 10 === this.#slots.length) this.#slots.push(new SlotChunk());
    return slot;
  }

  #load(slot: number, into: IndexRecord): void {
    const chunk = this.#slots[slot >>> 10]!;
    const at = slot % CHUNK_SLOTS;
    const shape = chunk.shape[at]!;
    into.epoch = chunk.epoch[at]!;
    into.sequence = chunk.sequence[at]!;
    into.segment = chunk.segment[at]!;
    into.offset = chunk.offset[at]!;
    into.kind = shape >>> 28;
    into.flags = (shape >>> 24) & 15;
    into.storedLength = shape & 0xffffff;
    into.checksumLow = chunk.checksumLow[at]!;
    into.checksumHigh = chunk.checksumHigh[at]!;
  }

  #save(slot: number, record: IndexRecord): void {
    const chunk = this.#slots[slot >>> 10]!;
    const at = slot % CHUNK_SLOTS;
    chunk.epoch[at] = record.epoch;
    chunk.sequence[at] = record.sequence;
    chunk.segment[at] = record.segment;
    chunk.offset[at] = record.offset;
    chunk.shape[at] = record.storedLength | (record.flags << 24) | (record.kind << 28);
    chunk.checksumLow[at] = record.checksumLow;
    chunk.checksumHigh[at] = record.checksumHigh;
  }
}
