/**
 * Memory beside the kernels' own that sockets and files use, too: what is received into it is encoded where it lies,
 * and what was encoded leaves from where it was made. It is not the garbage collector's: whoever uses a region
 * beyond a call holds it, and the last to release it gives it back.
 *
 * Invariants, checked in production: a region that was given back is neither held nor released again; regions in use
 * never overlap. The arena never grows and nobody waits for it: where it has no room, its users copy instead
 * (docs/decisions/0013-buffers-with-holders.md).
 */

import { invariant } from '../../core/ports.js';
import type { Lease } from '../../core/record.js';

/** Regions begin at multiples of this and occupy whole multiples. */
const PAGE_BYTES = 16 * 1024;

/** What is known of a page's contents. */
const NO_PLAIN_TEXT = 0;
const PLAIN_TEXT = 1;
/** Plain text of a volume that was closed meanwhile: zeroed when the region is given back. */
const CONDEMNED = 2;

/** `plain`: plain text, which is zeroed when its volume is closed. */
export type RegionContents = 'plain' | 'stored';

/** Memory of the arena, held once when it is taken. */
export interface Held extends Lease {
  /** As many bytes as were asked for, not zeroed; valid while they are held. */
  readonly bytes: Buffer;
  /** What holding them comes to; the same for all that lie in one region. */
  readonly lease: Lease;
  /** Keeps the first `length` bytes, gives back what is behind them, and returns them. */
  shrink(length: number): Buffer;
}

/** Whole pages. */
export interface Region extends Held {
  /** False: it was given back. */
  readonly held: boolean;
}

class ArenaRegion implements Region {
  readonly #arena: Arena;
  readonly #firstPage: number;
  #pages: number;
  #holders = 1;
  bytes: Buffer;

  constructor(arena: Arena, firstPage: number, pages: number, bytes: Buffer) {
    this.#arena = arena;
    this.#firstPage = firstPage;
    this.#pages = pages;
    this.bytes = bytes;
  }

  get exclusive(): boolean {
    return this.#holders === 1;
  }

  get held(): boolean {
    return this.#holders > 0;
  }

  get lease(): Lease {
    return this;
  }

  shrink(length: number): Buffer {
    invariant(this.exclusive && length <= this.bytes.length, 'a region shrinks before it is shared', () => `${length}`);
    const pages = Math.max(1, Math.ceil(length / PAGE_BYTES));
    this.#arena.giveBack(this.#firstPage + pages, this.#pages - pages);
    this.#pages = pages;
    this.bytes = this.bytes.subarray(0, length);
    return this.bytes;
  }

  retain(): void {
    invariant(this.#holders > 0, 'a region is held while it is used', () => `page ${this.#firstPage}`);
    this.#holders++;
  }

  release(): void {
    invariant(this.#holders > 0, 'a region is released once by each holder', () => `page ${this.#firstPage}`);
    if (--this.#holders === 0) this.#arena.recycle(this.#firstPage, this.#pages);
  }
}

export class Arena {
  readonly #memory: Buffer;
  readonly #used: Uint8Array;
  readonly #contents: Uint8Array;
  #freePages: number;
  /** Where the search for room begins: what was given back last is in the processor's cache. */
  #next = 0;

  /** `memory` is a multiple of 16 KiB long. */
  constructor(memory: Buffer) {
    this.#memory = memory;
    const pages = Math.floor(memory.length / PAGE_BYTES);
    this.#used = new Uint8Array(pages);
    this.#contents = new Uint8Array(pages);
    this.#freePages = pages;
  }

  /** Bytes that nobody holds. */
  get freeBytes(): number {
    return this.#freePages * PAGE_BYTES;
  }

  get totalBytes(): number {
    return this.#used.length * PAGE_BYTES;
  }

  /** Undefined: there are not so many bytes in one piece. */
  take(bytes: number, contents: RegionContents): Region | undefined {
    const pages = Math.max(1, Math.ceil(bytes / PAGE_BYTES));
    if (pages > this.#freePages) return undefined;
    const total = this.#used.length;
    let first = this.#search(this.#next, total, pages);
    if (first < 0) first = this.#search(0, Math.min(this.#next + pages - 1, total), pages);
    if (first < 0) return undefined;
    this.#used.fill(1, first, first + pages);
    this.#freePages -= pages;
    this.#next = first + pages;
    const at = first * PAGE_BYTES;
    const region = new ArenaRegion(this, first, pages, this.#memory.subarray(at, at + bytes));
    if (contents === 'plain') this.markPlain(region.bytes);
    return region;
  }

  /** The first of `pages` free pages in `from` … `end - 1`, or -1. */
  #search(from: number, end: number, pages: number): number {
    let run = 0;
    for (let page = from; page < end; page++) {
      run = this.#used[page] === 0 ? run + 1 : 0;
      if (run === pages) return page + 1 - pages;
    }
    return -1;
  }

  giveBack(firstPage: number, pages: number): void {
    for (let page = firstPage; page < firstPage + pages; page++) {
      this.#used[page] = 0;
      if (this.#contents[page] === CONDEMNED) this.#wipe(page);
    }
    this.#freePages += pages;
  }

  /** A whole region that nobody holds any more: the next to be taken. */
  recycle(firstPage: number, pages: number): void {
    this.giveBack(firstPage, pages);
    this.#next = firstPage;
  }

  /** These bytes of the arena hold plain text from now on. What is left there of a closed volume stays condemned. */
  markPlain({ byteOffset, length }: Uint8Array): void {
    const at = byteOffset - this.#memory.byteOffset;
    const end = Math.ceil((at + length) / PAGE_BYTES);
    for (let page = Math.floor(at / PAGE_BYTES); page < end; page++) {
      if (this.#contents[page] === NO_PLAIN_TEXT) this.#contents[page] = PLAIN_TEXT;
    }
  }

  /** A volume was closed: zeroes all plain text, that of regions in use when they are given back. */
  forgetPlain(): void {
    for (const [page, contents] of this.#contents.entries()) {
      if (contents !== PLAIN_TEXT) continue;
      if (this.#used[page] === 0) this.#wipe(page);
      else this.#contents[page] = CONDEMNED;
    }
  }

  #wipe(page: number): void {
    this.#memory.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    this.#contents[page] = NO_PLAIN_TEXT;
  }
}
