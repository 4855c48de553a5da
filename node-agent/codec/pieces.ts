/**
 * Short pieces of the arena, cut one behind the other from regions of it. What is needed for a moment so costs neither a
 * buffer of its own nor, at its end, the garbage collector's time, which V8 spends by the memory outside its heap
 * (docs/decisions/0013-buffers-with-holders.md); and what comes one after the other lies side by side, so that several
 * of them are one buffer without being copied.
 */

import type { Arena, Held, Region, RegionContents } from './arena.js';

/** Given back when no piece of it is held any more: a piece that is held for long keeps so much from others. */
const REGION_BYTES = 256 * 1024;

export class Pieces {
  readonly #arena: Arena;
  readonly #contents: RegionContents;
  #region: Region | undefined;
  #used = 0;

  constructor(arena: Arena, contents: RegionContents) {
    this.#arena = arena;
    this.#contents = contents;
  }

  /** `bytes`: REGION_BYTES at most. Undefined: there is no room for a region. */
  take(bytes: number): Held | undefined {
    const region = this.#regionFor(bytes);
    if (region === undefined) return undefined;
    const at = this.#used;
    this.#used += bytes;
    const { buffer, byteOffset } = region.bytes;
    return new Piece(this, region, Buffer.from(buffer, byteOffset + at, bytes));
  }

  /** Held for the piece, with room for it behind what is used. */
  #regionFor(bytes: number): Region | undefined {
    const region = this.#region;
    if (region?.held === true && this.#used + bytes <= REGION_BYTES) {
      region.retain();
      return region;
    }
    this.#region = this.#arena.take(REGION_BYTES, this.#contents);
    this.#used = 0;
    return this.#region;
  }

  /** The bytes from `from` to `end` of a region are not needed; they are lost if another piece lies behind them. */
  giveBack(region: Region, from: number, end: number): void {
    const start = region.bytes.byteOffset;
    if (this.#region === region && start + this.#used === end) this.#used = from - start;
  }
}

class Piece implements Held {
  readonly #pieces: Pieces;
  readonly #region: Region;
  bytes: Buffer;

  constructor(pieces: Pieces, region: Region, bytes: Buffer) {
    this.#pieces = pieces;
    this.#region = region;
    this.bytes = bytes;
  }

  /** Of all pieces of a region the same. */
  get lease(): Region {
    return this.#region;
  }

  get exclusive(): boolean {
    return this.#region.exclusive;
  }

  shrink(length: number): Buffer {
    const { buffer, byteOffset } = this.bytes;
    this.#pieces.giveBack(this.#region, byteOffset + length, byteOffset + this.bytes.length);
    this.bytes = Buffer.from(buffer, byteOffset, length);
    return this.bytes;
  }

  retain(): void {
    this.#region.retain();
  }

  release(): void {
    this.#region.release();
  }
}
