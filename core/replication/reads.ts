/**
 * Reads at the primary. What was read is shown only when it is committed [12] and while all leases hold; both
 * are looked at after the reading, so that nothing needs to be locked meanwhile: at that moment no other
 * primary can have served anything, hence not at the moment of the reading either.
 */

import type { IoStatus } from '../messages.js';
import { BadBlockError, type StoredBlocks } from '../ports.js';
import { type Batch, release } from '../record.js';
import type { BlockNumber, Sequence } from '../types.js';
import { blocksPerBatch, EMPTY_BATCH } from './batches.js';
import type { Primary } from './primary.js';

interface WaitingRead {
  readonly newest: Sequence;
  /** Held until it is shown. */
  readonly batch: Batch;
  readonly show: () => void;
}

export class Reads {
  readonly #primary: Primary;
  #waiting: WaitingRead[] = [];
  #count = 0;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  read(first: number, blocks: number, done: (status: IoStatus, batch: Batch) => void): void {
    const { context } = this.#primary;
    const { state } = context.store;
    const inRange = Number.isSafeInteger(first) && first >= 0 && blocks >= 1 && first + blocks <= state.blocks;
    if (!inRange || blocks > blocksPerBatch(state.blockSize) || this.#count >= context.settings.maxWaitingReads) {
      done('invalid', EMPTY_BATCH);
      return;
    }
    this.#count++;
    const cached = this.#readCached(first as BlockNumber, blocks);
    if (cached !== undefined) this.#offer(cached, done);
    else {
      const read = this.#readHealing(first as BlockNumber, blocks).then((stored) => this.#offer(stored, done));
      context.background(read);
    }
  }

  /** Undefined also if blocks have to be healed first. */
  #readCached(first: BlockNumber, blocks: number): StoredBlocks | undefined {
    const { store, lend } = this.#primary.context;
    try {
      return store.readCached(first, blocks, lend);
    } catch (error) {
      if (error instanceof BadBlockError) return undefined;
      throw error;
    }
  }

  /** Undefined: there are blocks that could not be healed. */
  async #readHealing(first: BlockNumber, blocks: number): Promise<StoredBlocks | undefined> {
    const { context, healing } = this.#primary;
    for (let attempt = 0; attempt < context.settings.healAttempts; attempt++) {
      try {
        return await context.store.read(first, blocks, context.lend);
      } catch (error) {
        if (!(error instanceof BadBlockError)) throw error;
        if (this.#primary.stopped || !(await healing.heal(error.blocks))) return undefined;
      }
    }
    return undefined;
  }

  /** Shows what was read when it may be shown; undefined: an error, which is an answer too: another primary may have the blocks. */
  #offer(stored: StoredBlocks | undefined, done: (status: IoStatus, batch: Batch) => void): void {
    const { context } = this.#primary;
    if (this.#primary.stopped) {
      if (stored !== undefined) release(stored.batch);
      return;
    }
    let newest = 0 as Sequence;
    for (const { sequence } of stored?.orders ?? []) if (sequence > newest) newest = sequence;
    const show = (): void => {
      this.#count--;
      context.nodeLoad.requests++;
      if (stored === undefined) {
        done('io-error', EMPTY_BATCH);
        return;
      }
      context.counters.readsServed++;
      done('ok', stored.batch);
      release(stored.batch);
    };
    if (this.#primary.ready && newest <= this.#primary.writes.visible) {
      show();
    } else {
      this.#waiting.push({ newest, batch: stored?.batch ?? EMPTY_BATCH, show });
      // Nothing else may be on its way that would bring a read of a durable volume forward.
      this.#primary.progress();
    }
  }

  /** The primary is no more: nothing is shown. */
  stop(): void {
    for (const { batch } of this.#waiting.splice(0)) release(batch);
  }

  /** The newest order that a waiting read has seen. */
  get newest(): Sequence {
    let newest = 0 as Sequence;
    for (const read of this.#waiting) if (read.newest > newest) newest = read.newest;
    return newest;
  }

  advance(): void {
    if (this.#waiting.length === 0 || !this.#primary.ready) return;
    const { visible } = this.#primary.writes;
    const due = this.#waiting.filter((read) => read.newest <= visible);
    if (due.length === 0) return;
    this.#waiting = this.#waiting.filter((read) => read.newest > visible);
    for (const read of due) read.show();
  }
}
