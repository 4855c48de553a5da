/**
 * Reads again and again what a deployment stores, so that what has rotted is found while there is something to replace
 * it: in each pass every block in the order of their numbers, which another copy heals, then the index, then what an
 * opening would read beside it, which memory has. Where a pass is goes into the superblock, so that restarts don't
 * begin it anew.
 */

import { BadBlockError, type IndexedBlock } from '../../core/ports.js';
import { MAX_BATCH_ENTRIES, MAX_BATCH_PAYLOAD_BYTES } from '../../core/record.js';
import type { BlockReader } from './block-reader.js';
import type { Damage } from './errors.js';
import type { Image } from './image.js';
import type { LogCheck } from './log-check.js';
import { PAGE_BYTES } from './paged/page.js';

/** Behind so many bytes the position is made durable, though nothing else of the superblock changes. */
const SAVE_BYTES = 1024 * 1024 * 1024;

/** Pages of the index that are read at a time. */
const LEAVES_AT_ONCE = 64;

/** What the superblock keeps. */
export interface ScrubPosition {
  /** All blocks below were read in the present pass. */
  readonly next: number;
  /** Stored bytes of them. */
  readonly doneBytes: number;
  /** Finished passes. */
  readonly passes: number;
  /** Wall time at which the last one ended, milliseconds since 1970; null: none has, or an older program did not say. */
  readonly endedMs: number | null;
}

export const NEVER_SCRUBBED: ScrubPosition = { next: 0, doneBytes: 0, passes: 0, endedMs: null };

export interface ScrubberOptions {
  readonly blockSize: number;
  readonly image: Image;
  readonly reader: BlockReader;
  readonly logCheck: LogCheck;
  readonly position: ScrubPosition;
  /** Wall time, milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly bad: (blocks: readonly IndexedBlock[]) => void;
  /** Damage to the checkpoint's files. */
  readonly verifyCheckpoint: () => Promise<readonly Damage[]>;
  /** Of log or checkpoint; to be replaced at once. */
  readonly damaged: (damage: Damage) => void;
  /** Makes the position durable. */
  readonly save: () => Promise<void>;
}

export class Scrubber {
  readonly #options: ScrubberOptions;
  position: ScrubPosition;
  /** Since the opening: bytes of blocks read, blocks found bad, each time that they were found, damages of log and checkpoint. */
  readonly done = { readBytes: 0, badBlocks: 0, damages: 0 };
  #unsaved = 0;
  #phase: 'blocks' | 'index' | 'log' = 'blocks';
  /** Of the index: all leaves about blocks below were read. */
  #nextLeaf = 0;

  constructor(options: ScrubberOptions) {
    this.#options = options;
    this.position = options.position;
  }

  /** Bytes of the log that a pass reads beside the blocks. */
  get logBytes(): number {
    return this.#options.logCheck.bytes;
  }

  /** Reads on, about a MiB; resolves to the bytes. */
  step(): Promise<number> {
    switch (this.#phase) {
      case 'blocks':
        return this.#readBlocks();
      case 'index':
        return this.#readIndex();
      case 'log':
        return this.#readLog();
    }
  }

  async #readBlocks(): Promise<number> {
    const { blockSize, image, reader, bad, save } = this.#options;
    const { next, doneBytes } = this.position;
    const limit = Math.min(MAX_BATCH_ENTRIES, Math.floor(MAX_BATCH_PAYLOAD_BYTES / blockSize));
    const blocks = await image.index.select(next, limit, always, always);
    let bytes = 0;
    if (blocks.length > 0) {
      try {
        const { batch } = await reader.read(blocks.length, (i) => blocks[i]!, { patient: true });
        bytes = batch.payload.length;
      } catch (error) {
        if (!(error instanceof BadBlockError)) throw error;
        bytes = blocks.length * blockSize;
        this.done.badBlocks += error.blocks.length;
        bad(error.blocks);
      }
      this.position = { ...this.position, next: blocks.at(-1)! + 1, doneBytes: doneBytes + bytes };
    }
    this.done.readBytes += bytes;
    this.#unsaved += bytes;
    if (blocks.length < limit) this.#phase = 'index';
    if (this.#unsaved >= SAVE_BYTES) {
      this.#unsaved = 0;
      await save();
    }
    return bytes;
  }

  /** Nothing else reads pages from the disk that are in memory. Errors: IndexDamageError. */
  async #readIndex(): Promise<number> {
    const { image, verifyCheckpoint } = this.#options;
    const { pages, next } = await image.index.verify(this.#nextLeaf, LEAVES_AT_ONCE);
    this.#nextLeaf = next;
    if (next === Number.POSITIVE_INFINITY) {
      for (const damage of await verifyCheckpoint()) this.#damaged(damage);
      this.#nextLeaf = 0;
      this.#phase = 'log';
    }
    return pages * PAGE_BYTES;
  }

  async #readLog(): Promise<number> {
    const { logCheck, wallMs, save } = this.#options;
    const { bytes, ended, damage } = await logCheck.step();
    if (damage !== undefined) this.#damaged(damage);
    if (ended) {
      this.position = { next: 0, doneBytes: 0, passes: this.position.passes + 1, endedMs: wallMs() };
      this.#phase = 'blocks';
      this.#unsaved = 0;
      await save();
    }
    return bytes;
  }

  #damaged(damage: Damage): void {
    this.done.damages++;
    this.#options.damaged(damage);
  }
}

function always(): boolean {
  return true;
}
