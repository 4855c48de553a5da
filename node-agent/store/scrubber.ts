/**
 * Reads every block that a deployment stores, in the order of their numbers, again and again, and the index at the
 * end of each pass: what has rotted is found while another copy still has it. Where a pass is goes into the
 * superblock, so that restarts don't begin it anew.
 */

import { BadBlockError, type IndexedBlock } from '../../core/ports.js';
import { MAX_BATCH_ENTRIES, MAX_BATCH_PAYLOAD_BYTES } from '../../core/record.js';
import type { BlockReader } from './block-reader.js';
import type { Image } from './image.js';
import { PAGE_BYTES } from './paged/page.js';

/** Behind so many bytes the position is made durable, though nothing else of the superblock changes. */
const SAVE_BYTES = 1024 * 1024 * 1024;

/** Pages of the index that are read at a time. */
const LEAVES_AT_ONCE = 64;

/** What the superblock keeps. */
export interface ScrubPosition {
  /** All blocks below were read in the present pass. */
  readonly next: number;
  /** Finished passes. */
  readonly passes: number;
}

export interface ScrubberOptions {
  readonly blockSize: number;
  readonly image: Image;
  readonly reader: BlockReader;
  readonly position: ScrubPosition;
  readonly bad: (blocks: readonly IndexedBlock[]) => void;
  readonly verifyCheckpoint: () => Promise<void>;
  /** Makes the position durable. */
  readonly save: () => Promise<void>;
}

export class Scrubber {
  readonly #options: ScrubberOptions;
  position: ScrubPosition;
  /** Since the opening: bytes read, and blocks found bad, each time that they were found. */
  readBytes = 0;
  badBlocks = 0;
  #unsaved = 0;
  /** Of the index: all blocks were read. */
  #nextPage: number | undefined;

  constructor(options: ScrubberOptions) {
    this.#options = options;
    this.position = options.position;
  }

  /** The next blocks, at most a batch's worth, or the next pages of the index; resolves to the bytes read. */
  async step(): Promise<number> {
    if (this.#nextPage !== undefined) return this.#pages(this.#nextPage);
    const { blockSize, image, reader, bad, save } = this.#options;
    const limit = Math.min(MAX_BATCH_ENTRIES, Math.floor(MAX_BATCH_PAYLOAD_BYTES / blockSize));
    const blocks = await image.index.select(this.position.next, limit, always, always);
    let bytes = 0;
    if (blocks.length > 0) {
      try {
        const { batch } = await reader.read(blocks.length, (i) => blocks[i]!, { patient: true });
        bytes = batch.payload.length;
      } catch (error) {
        if (!(error instanceof BadBlockError)) throw error;
        bytes = blocks.length * blockSize;
        this.badBlocks += error.blocks.length;
        bad(error.blocks);
      }
    }
    this.readBytes += bytes;
    this.#unsaved += bytes;
    if (blocks.length === limit) this.position = { ...this.position, next: blocks.at(-1)! + 1 };
    else this.#nextPage = 0;
    if (this.#unsaved >= SAVE_BYTES) {
      this.#unsaved = 0;
      await save();
    }
    return bytes;
  }

  /** The index at the end of a pass: nothing else reads from the disk what is in memory. */
  async #pages(from: number): Promise<number> {
    const { image, verifyCheckpoint, save } = this.#options;
    const { pages, next } = await image.index.verify(from, LEAVES_AT_ONCE);
    this.#nextPage = next;
    if (next === Number.POSITIVE_INFINITY) {
      await verifyCheckpoint();
      this.position = { next: 0, passes: this.position.passes + 1 };
      this.#nextPage = undefined;
      this.#unsaved = 0;
      await save();
    }
    return pages * PAGE_BYTES;
  }
}

function always(): boolean {
  return true;
}
