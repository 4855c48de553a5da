/**
 * Keeps the memory of a replay within bounds: what the log has changed goes into pages as it is read, long before a
 * checkpoint names them. Until one does, no slot of the durable index is written to.
 */

import { DiskError } from '../../core/ports.js';
import type { Snapshot } from './checkpoint.js';
import type { CheckpointNumbers } from './checkpoint-numbers.js';
import type { PagedIndex } from './paged/paged-index.js';
import { mergeTree } from './paged/tree-merge.js';
import type { SegmentLog } from './segment-log.js';

/** Less is not worth new pages: what each of the deployments that open at the same time may take beyond the limit. */
export const MIN_SPILL_BYTES = 128 * 1024;

export interface IndexSpillOptions {
  readonly index: PagedIndex;
  readonly log: SegmentLog;
  readonly numbers: CheckpointNumbers;
  readonly pause: () => Promise<void>;
}

export class IndexSpill {
  readonly #options: IndexSpillOptions;
  /** Slots that the durable index has, and the present one has not. */
  readonly replaced: number[] = [];
  /** Slots that were taken since the opening began. */
  readonly #fresh = new Set<number>();
  #full = false;

  constructor(options: IndexSpillOptions) {
    this.#options = options;
  }

  /** Whether there are pages that no checkpoint names. */
  get used(): boolean {
    return this.#fresh.size > 0 || this.replaced.length > 0;
  }

  /** The tree has been changed by other means. */
  note(written: readonly number[], replaced: readonly number[]): void {
    for (const slot of written) this.#fresh.add(slot);
    this.replaced.push(...replaced);
  }

  /**
   * Brings the memtable into pages if the memory of the node's indexes is short. On a full disk it stays where it is:
   * an opening that takes too much memory is better than none. Errors: IndexDamageError, those of the disk.
   */
  async relieve(newest: Snapshot | undefined): Promise<void> {
    const { index } = this.#options;
    if (this.#full || !index.crowded || index.memtableBytes < MIN_SPILL_BYTES) return;
    const memtable = index.freeze();
    try {
      await this.#merge(memtable, newest);
    } catch (error) {
      index.thaw();
      if (!(error instanceof DiskError && error.code === 'no-space')) throw error;
      this.#full = true;
    }
  }

  async #merge(memtable: ReturnType<PagedIndex['freeze']>, newest: Snapshot | undefined): Promise<void> {
    const { index, log, numbers, pause } = this.#options;
    const { file } = index;
    const merged = await mergeTree({
      file,
      root: index.root,
      memtable,
      from: 0,
      end: Number.POSITIVE_INFINITY,
      checkpoint: await numbers.take(),
      snapshot: newest && { checkpoint: newest.checkpoint, ...newest.end },
      pause,
    });
    for (const slot of merged.freed) {
      if (this.#fresh.delete(slot)) file.slots.free(slot);
      else this.replaced.push(slot);
    }
    for (const slot of merged.written) this.#fresh.add(slot);
    log.change(merged.changes);
    index.publish(merged.root, true);
  }
}
