/**
 * A store whose reads take time: what was read may be overwritten when it arrives, and what is looked up may have
 * changed before the index is there.
 */

import type {
  Clock,
  DeploymentState,
  DeploymentStatePatch,
  DeploymentStore,
  LogBatch,
  Lookup,
  ScrubProgress,
  StoredBlocks,
} from '../../core/ports.js';
import type { Lender } from '../../core/record.js';
import type { BlockNumber, Generation, HistoryEntry, Incarnation, Order, Sequence } from '../../core/types.js';
import type { SeededRandom } from './scheduler.js';

const MAX_DELAY_MS = 3;

export class SlowStore implements DeploymentStore {
  readonly #store: DeploymentStore;
  readonly #clock: Clock;
  readonly #random: SeededRandom;

  constructor(store: DeploymentStore, clock: Clock, random: SeededRandom) {
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(this.#random.next() * MAX_DELAY_MS, resolve);
    });
  }

  /** Before the store is asked, every other time. */
  async #early(): Promise<void> {
    if (this.#random.next() >= 0.5) await this.#pause();
  }

  /** What has been answered, or thrown, later. */
  async #late<T>(read: Promise<T>): Promise<T> {
    const settled = await read.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    await this.#pause();
    if ('error' in settled) throw settled.error;
    return settled.value;
  }

  get state(): DeploymentState {
    return this.#store.state;
  }

  get incarnation(): Incarnation {
    return this.#store.incarnation;
  }

  get last(): Order {
    return this.#store.last;
  }

  get generation(): Generation {
    return this.#store.generation;
  }

  get durable(): Sequence {
    return this.#store.durable;
  }

  get usedBytes(): number {
    return this.#store.usedBytes;
  }

  get badBlocks(): number {
    return this.#store.badBlocks;
  }

  get scrubProgress(): ScrubProgress {
    return this.#store.scrubProgress;
  }

  get appendDelayMs(): number {
    return this.#store.appendDelayMs;
  }

  update(patch: DeploymentStatePatch): Promise<void> {
    return this.#store.update(patch);
  }

  hasRoom(entries: number, payloadBytes: number): boolean {
    return this.#store.hasRoom(entries, payloadBytes);
  }

  makeRoom(entries: number, payloadBytes: number): Promise<void> {
    return this.#store.makeRoom(entries, payloadBytes);
  }

  append(batch: LogBatch): void {
    this.#store.append(batch);
  }

  position(position: Order): void {
    this.#store.position(position);
  }

  backfill(blocks: StoredBlocks): void {
    this.#store.backfill(blocks);
  }

  written(): Promise<void> {
    return this.#store.written();
  }

  flush(): Promise<void> {
    return this.#store.flush();
  }

  look<T>(blocks: readonly BlockNumber[], act: (lookup: Lookup) => T): Promise<T> {
    return this.#early().then(() => this.#store.look(blocks, act));
  }

  read(first: BlockNumber, blocks: number, lend?: Lender): Promise<StoredBlocks> {
    return this.#late(this.#store.read(first, blocks, lend));
  }

  /** Of half of the blocks, always the same, so that both ways of reading are taken. */
  readCached(first: BlockNumber, blocks: number, lend?: Lender): StoredBlocks | undefined {
    return first % 2 === 0 ? this.#store.readCached(first, blocks, lend) : undefined;
  }

  readBlocks(blocks: readonly BlockNumber[], lend?: Lender): Promise<StoredBlocks> {
    return this.#late(this.#store.readBlocks(blocks, lend));
  }

  readLog(from: Sequence, maxBytes: number): Promise<LogBatch[] | undefined> {
    return this.#late(this.#store.readLog(from, maxBytes));
  }

  newerThan(after: Sequence, from: BlockNumber, limit: number): Promise<BlockNumber[]> {
    return this.#early().then(() => this.#store.newerThan(after, from, limit));
  }

  deadBlocks(history: readonly HistoryEntry[], from: BlockNumber, limit: number): Promise<BlockNumber[]> {
    return this.#early().then(() => this.#store.deadBlocks(history, from, limit));
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
