/**
 * A deployment that holds a copy for somebody else: promises epochs, appends, flushes, grants leases, and is
 * the target of a sync. Lives as long as the deployment is open; while the deployment is itself the primary,
 * nothing reaches it but what a newer primary sends.
 */

import type { Append, MemberMessage, PrimaryRequest, PromiseEpoch, RefusalReason } from '../messages.js';
import { type IndexedBlock, invariant } from '../ports.js';
import { entryCount, release, retain } from '../record.js';
import type { BlockNumber, DeploymentId, Epoch, HistoryEntry, Sequence } from '../types.js';
import { blocksPerBatch, dropEntries } from './batches.js';
import type { Context } from './context.js';
import { readIntact } from './damage.js';
import { hasRoom, isNoSpace, makeRoom } from './room.js';
import { SyncTarget } from './sync-target.js';

/** Appends that wait for room on a disk that is nearly full. */
const MAX_HELD = 1_024;

export class Member {
  readonly #context: Context;
  readonly #sync: SyncTarget;
  /** Promised, but perhaps not durably yet: nothing older is accepted from the moment of the question [I3]. */
  #floor: Epoch;
  /** No other primary may be served before this moment, by leases that this incarnation granted. */
  #grantedUntil = Number.NEGATIVE_INFINITY;
  /** The same for leases that an earlier life may have granted. */
  readonly #assumedUntil: number;

  /** Appends that wait for room, or for those before them, in the order in which they came. */
  readonly #held: { readonly from: DeploymentId; readonly message: Append }[] = [];
  readonly #damaged: (blocks: readonly IndexedBlock[]) => void;

  /** `damaged` is told of blocks of this copy that were found bad. */
  constructor(context: Context, damaged: (blocks: readonly IndexedBlock[]) => void) {
    this.#context = context;
    this.#damaged = damaged;
    this.#sync = new SyncTarget(context, this);
    this.#floor = context.store.state.promised;
    this.#assumedUntil = context.clock.now() + context.settings.leaseMs;
  }

  /** The lowest epoch that is accepted. */
  get floor(): Epoch {
    return this.#floor;
  }

  /**
   * When all leases that were given to earlier primaries have run out. `assumeEarlierLife`: whether a lease
   * granted before this process started may bind.
   */
  leasesEnd(assumeEarlierLife: boolean): number {
    return assumeEarlierLife ? Math.max(this.#grantedUntil, this.#assumedUntil) : this.#grantedUntil;
  }

  /** Whether backfill of an unfinished sync may still come. */
  get syncing(): boolean {
    return this.#sync.active;
  }

  onMessage(from: DeploymentId, message: PrimaryRequest): void {
    const { store } = this.#context;
    if (message.epoch < this.#floor) {
      this.refuse(from, message, 'stale-epoch');
      return;
    }
    switch (message.type) {
      case 'promise':
        this.#promise(from, message);
        return;
      case 'sync-begin':
        this.#sync.begin(from, message);
        return;
      case 'fetch':
        this.#context.background(this.#fetch(from, message.request, message.blocks));
        return;
    }
    if (message.incarnation !== store.incarnation) {
      this.refuse(from, message, 'wrong-incarnation');
      return;
    }
    if (message.epoch > store.state.promised) {
      // Either the promise is on its way to the disk and will be answered, or the question for it was lost.
      if (message.epoch > this.#floor) this.refuse(from, message, 'not-promised');
      return;
    }
    switch (message.type) {
      case 'append':
        this.#append(from, message);
        return;
      case 'flush': {
        const { flush } = message;
        const flushed = store.flush().then(() => {
          this.reply(from, { type: 'flushed', ...this.#header(), flush, durable: store.durable });
        });
        this.#context.background(flushed);
        return;
      }
      case 'lease':
        if (store.state.unclean) {
          this.refuse(from, message, 'unclean');
          return;
        }
        this.#grantedUntil = this.#context.clock.now() + this.#context.settings.leaseMs;
        this.reply(from, { type: 'leased', ...this.#header(), lease: message.lease });
        return;
      case 'sync-dead':
      case 'backfill':
      case 'sync-mark':
      case 'sync-finish':
        this.#sync.onMessage(from, message);
        return;
    }
  }

  #promise(from: DeploymentId, message: PromiseEpoch): void {
    const { store } = this.#context;
    if (message.etcdClusterId !== store.state.etcdClusterId) {
      this.refuse(from, message, 'wrong-cluster');
      return;
    }
    this.#sync.onPromise(message);
    const answer = async (): Promise<void> => {
      // What is said to be here outlives this process.
      await store.written();
      if (message.epoch < this.#floor) return;
      const { last, generation, state } = store;
      this.reply(from, { type: 'promised', ...this.#header(), last, generation, unclean: state.unclean });
    };
    const promised = message.epoch === store.state.promised;
    this.#context.background(promised ? answer() : this.promise(message.epoch, message.history).then(answer));
  }

  /** Refuses everything older than `epoch` from now on. Promises never go back, not even those under way [I3]. */
  raise(epoch: Epoch): void {
    invariant(epoch >= this.#floor, 'I3', () => `epoch ${epoch} after a promise of ${this.#floor}`);
    this.#floor = epoch;
  }

  /** Makes an epoch and the history that belongs to it durable [I3]. */
  promise(epoch: Epoch, history: readonly HistoryEntry[]): Promise<void> {
    this.raise(epoch);
    return this.#context.store.update({ promised: epoch, history });
  }

  #append(from: DeploymentId, message: Append): void {
    const { store } = this.#context;
    if (this.#held.length > 0) {
      this.#hold(from, message);
      return;
    }
    if (store.state.unclean && !this.#sync.active) {
      this.refuse(from, message, 'unclean');
      return;
    }
    const expected = store.last.sequence + 1;
    const lastOfBatch = message.firstSequence + entryCount(message.batch) - 1;
    const inOrder = message.orderEpoch >= store.last.epoch && message.orderEpoch <= message.epoch;
    if (message.firstSequence > expected || !inOrder) {
      this.refuse(from, message, 'gap');
      return;
    }
    if (!this.#context.verify(message.batch)) {
      this.refuse(from, message, 'bad-checksum');
      return;
    }
    if (lastOfBatch >= expected) {
      if (!hasRoom(store, message.batch)) {
        this.#hold(from, message);
        this.#context.background(this.#makeRoom(message));
        return;
      }
      store.append({
        epoch: message.orderEpoch,
        firstSequence: expected as Sequence,
        batch: dropEntries(message.batch, expected - message.firstSequence),
      });
    }
    this.#context.background(this.#confirm(from, message, lastOfBatch as Sequence));
  }

  /** Confirms when the entries are in the page cache: the end of this process loses none of them then. */
  async #confirm(from: DeploymentId, message: Append, last: Sequence): Promise<void> {
    const { store, settings, clock } = this.#context;
    // An answer speaks of the log as it is under this epoch: given later, it must not pass for one under the next.
    const header = this.#header();
    await store.written();
    // The primary sends no more than a window beyond what was answered: that slows its writers down.
    const delayMs = message.batch.payload.length > 0 ? Math.min(store.appendDelayMs, settings.maxAppendDelayMs) : 0;
    if (delayMs > 0) {
      await new Promise<void>((resolve) => {
        clock.after(delayMs, resolve);
      });
    }
    if (message.durable) await store.flush();
    this.reply(from, { type: 'appended', ...header, last, durable: store.durable });
  }

  /** What comes behind an append that waits for room waits, too; a primary sends a window of it. */
  #hold(from: DeploymentId, message: Append): void {
    if (this.#held.length >= MAX_HELD) {
      this.refuse(from, message, 'gap');
      return;
    }
    retain(message.batch);
    this.#held.push({ from, message });
  }

  async #makeRoom({ batch }: Append): Promise<void> {
    const { store } = this.#context;
    let full = false;
    try {
      await makeRoom(store, batch);
    } catch (error) {
      if (!isNoSpace(error)) {
        for (const { message } of this.#held.splice(0)) release(message.batch);
        throw error;
      }
      full = true;
    }
    const held = this.#held.splice(0);
    for (const [i, { from, message }] of held.entries()) {
      if (!this.#context.halted) {
        if (full && i === 0) this.refuse(from, message, 'no-space');
        else this.#context.guard(() => this.onMessage(from, message));
      }
      release(message.batch);
    }
  }

  /** Sends what it has intact of the asked blocks. */
  async #fetch(from: DeploymentId, request: number, asked: readonly BlockNumber[]): Promise<void> {
    const { store } = this.#context;
    const blocks = asked.filter((block) => block < store.state.blocks).slice(0, blocksPerBatch(store.state.blockSize));
    const { stored, bad } = await readIntact(store, blocks);
    this.reply(from, { type: 'fetched', epoch: store.state.promised, request, ...stored });
    if (bad.length > 0) this.#damaged(bad);
  }

  reply(to: DeploymentId, message: MemberMessage): void {
    if (!this.#context.halted) this.#context.send(to, message);
  }

  refuse(to: DeploymentId, message: PrimaryRequest, reason: RefusalReason): void {
    const { store } = this.#context;
    this.reply(to, {
      type: 'refused',
      epoch: this.#floor,
      incarnation: store.incarnation,
      of: message.type,
      reason,
      last: store.last,
    });
  }

  #header() {
    return { epoch: this.#context.store.state.promised, incarnation: this.#context.store.incarnation };
  }
}
