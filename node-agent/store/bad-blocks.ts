/**
 * Which blocks of a deployment are known to be damaged: found so by a read, the scrub or the cleaner, and neither
 * read intact nor written since. What operators see; nothing is decided by it.
 */

import type { IndexedBlock } from '../../core/ports.js';
import { type Batch, entryCount, KIND_LOST, readEntry } from '../../core/record.js';

/** Blocks that are remembered; of a disk that is worse off than that, the first ones. */
export const MAX_KNOWN_BAD_BLOCKS = 4096;

export class BadBlocks {
  readonly #blocks = new Set<number>();

  get count(): number {
    return this.#blocks.size;
  }

  found(blocks: readonly IndexedBlock[]): void {
    for (const { block } of blocks) this.#add(block);
  }

  /** These blocks have been read intact, or replaced by this. */
  replaced(batch: Batch): void {
    for (let i = 0; i < entryCount(batch); i++) {
      const { block, blocks, kind } = readEntry(batch.entries, i);
      if (kind === KIND_LOST) this.#add(block);
      else if (blocks === 1) this.#blocks.delete(block);
      else for (const bad of this.#blocks) if (bad >= block && bad < block + blocks) this.#blocks.delete(bad);
    }
  }

  #add(block: number): void {
    if (this.#blocks.size < MAX_KNOWN_BAD_BLOCKS) this.#blocks.add(block);
  }
}
