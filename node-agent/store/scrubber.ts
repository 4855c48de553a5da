/**
 * Reads every block that a deployment stores, in the order of their numbers, again and again, and the checkpoint
 * at the end of each pass: what has rotted is found while another copy still has it. Where a pass is goes into the
 * superblock, so that restarts don't begin it anew.
 */

import { BadBlockError, type IndexedBlock } from '../../core/ports.js';
import { MAX_BATCH_ENTRIES, MAX_BATCH_PAYLOAD_BYTES } from '../../core/record.js';
import type { BlockReader } from './block-reader.js';
import type { Image } from './image.js';

/** Behind so many bytes the position is made durable, though nothing else of the superblock changes. */
const SAVE_BYTES = 1024 * 1024 * 1024;

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

  constructor(options: ScrubberOptions) {
    this.#options = options;
    this.position = options.position;
  }

  /** The next blocks, at most a batch's worth; resolves to the bytes read. */
  async step(): Promise<number> {
    const { blockSize, image, reader, bad, verifyCheckpoint, save } = this.#options;
    const limit = Math.min(MAX_BATCH_ENTRIES, Math.floor(MAX_BATCH_PAYLOAD_BYTES / blockSize));
    const blocks = image.index.select(-1, this.position.next, limit);
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
    const { passes } = this.position;
    this.readBytes += bytes;
    this.#unsaved += bytes;
    if (blocks.length === limit) this.position = { next: blocks.at(-1)! + 1, passes };
    else {
      await verifyCheckpoint();
      this.position = { next: 0, passes: passes + 1 };
    }
    if (this.#unsaved >= SAVE_BYTES || this.position.passes > passes) {
      this.#unsaved = 0;
      await save();
    }
    return bytes;
  }
}
