/**
 * The snapshots of a deployment: those that a durable checkpoint has, and what the next one is to take or to remove.
 * A removal waits for those who are reading the snapshot, and lets nobody begin.
 */

import type { Epoch, Sequence } from '../../core/types.js';
import { type LogState, MAX_SNAPSHOTS, type Snapshot } from './checkpoint.js';
import type { PageFile } from './paged/page-file.js';
import { findReleased } from './paged/snapshot-removal.js';
import type { MergeResult } from './paged/tree-merge.js';

interface Waiting {
  readonly id: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Wanted extends Waiting {
  readonly createdMs: number;
}

/** What one checkpoint takes and removes. */
export interface SnapshotChange {
  readonly taken: readonly Wanted[];
  readonly removed: readonly Waiting[];
}

export class Snapshots {
  /** As the last durable checkpoint has them, in the order in which they were taken. */
  durable: readonly Snapshot[];
  #wanted: Wanted[] = [];
  #unwanted: Waiting[] = [];
  /** What the checkpoint that is being made, or tried again, has to do with. */
  #changing: SnapshotChange | undefined;
  /** By id: who reads. */
  readonly #readers = new Map<string, Set<Promise<unknown>>>();
  /** Snapshots that are being removed, until that is durable. */
  readonly #leaving = new Set<string>();

  constructor(durable: readonly Snapshot[]) {
    this.durable = durable;
  }

  /** All that can be read, in the order in which they were taken. */
  get all(): readonly Snapshot[] {
    return this.durable.filter(({ id }) => !this.#leaving.has(id));
  }

  /** The newest one whose pages and payloads have to stay. */
  get newest(): Snapshot | undefined {
    return this.durable.at(-1);
  }

  /** A checkpoint is wanted. */
  get waiting(): boolean {
    return this.#wanted.length > 0 || this.#unwanted.length > 0;
  }

  /** Taken by the next checkpoint. Errors: RangeError if there is one of this id, or there are too many. */
  take(id: string, createdMs: number): Promise<void> {
    const known = [...this.durable, ...this.#wanted];
    if (known.some((one) => one.id === id)) return Promise.reject(new RangeError(`snapshot ${id} is there already`));
    if (known.length >= MAX_SNAPSHOTS) return Promise.reject(new RangeError(`more than ${MAX_SNAPSHOTS} snapshots`));
    return new Promise((resolve, reject) => {
      this.#wanted.push({ id, createdMs, resolve, reject });
    });
  }

  /** Removed by the next checkpoint; nobody can read it from now on. Errors: RangeError if there is none of this id. */
  remove(id: string): Promise<void> {
    if (!this.all.some((one) => one.id === id)) return Promise.reject(new RangeError(`no snapshot ${id}`));
    this.#leaving.add(id);
    return new Promise((resolve, reject) => {
      this.#unwanted.push({ id, resolve, reject });
    });
  }

  /** What it has stays for as long as `use` takes. Errors: RangeError if there is none of this id. */
  async read<T>(id: string, use: (snapshot: Snapshot) => Promise<T>): Promise<T> {
    const snapshot = this.all.find((one) => one.id === id);
    if (snapshot === undefined) throw new RangeError(`no snapshot ${id}`);
    const readers = this.#readers.get(id) ?? new Set();
    this.#readers.set(id, readers);
    const reading = use(snapshot);
    readers.add(reading);
    try {
      return await reading;
    } finally {
      readers.delete(reading);
      if (readers.size === 0) this.#readers.delete(id);
    }
  }

  /** What is wanted by now: a checkpoint begins. */
  begin(): SnapshotChange {
    const change = { taken: this.#wanted, removed: this.#unwanted };
    this.#changing = change;
    this.#wanted = [];
    this.#unwanted = [];
    return change;
  }

  /**
   * Finds what becomes free by the removals, when nobody reads it any more, and adds it to what the checkpoint frees.
   * Rejects with the disk's errors.
   */
  async release(
    { removed }: SnapshotChange,
    file: PageFile,
    merged: MergeResult,
    pause: () => Promise<void>,
  ): Promise<void> {
    const left = [...this.durable];
    for (const { id } of removed) {
      await Promise.allSettled(this.#readers.get(id) ?? []);
      const at = left.findIndex((one) => one.id === id);
      const { root } = left[at]!;
      const [elder, younger] = [left[at - 1], left[at + 1]];
      await findReleased({
        file,
        root,
        elder: elder && { checkpoint: elder.checkpoint, ...elder.end },
        younger: younger === undefined ? merged.root : younger.root,
        freed: merged.freed,
        changes: merged.changes,
        pause,
        doubt: true,
      });
      left.splice(at, 1);
    }
  }

  /** What there is when the checkpoint with this state of the log and the index is durable. */
  after({ taken, removed }: SnapshotChange, state: LogState, checkpoint: number, { root }: MergeResult): Snapshot[] {
    const order = { epoch: state.lastEpoch as Epoch, sequence: state.lastSequence as Sequence };
    return [
      ...this.durable.filter(({ id }) => !removed.some((one) => one.id === id)),
      ...taken.map(({ id, createdMs }) => ({ id, order, createdMs, checkpoint, end: state.start, root })),
    ];
  }

  /** The checkpoint that had to do with this is durable. */
  settle({ taken, removed }: SnapshotChange): void {
    this.#changing = undefined;
    for (const { id } of removed) this.#leaving.delete(id);
    for (const { resolve } of [...taken, ...removed]) resolve();
  }

  /** Nobody is told any more what becomes of what is wanted; a checkpoint may come or not. */
  stop(reason: unknown): void {
    const { taken, removed } = this.#changing ?? { taken: [], removed: [] };
    const waiting = [...taken, ...removed, ...this.#wanted.splice(0), ...this.#unwanted.splice(0)];
    for (const { reject } of waiting) reject(reason);
  }
}
