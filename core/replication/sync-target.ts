/**
 * The receiving end of a delta sync. Backfilled blocks and live writes come side by side; until all is there
 * and flushed, the durable sync base says how far this copy can be relied upon [6].
 */

import {
  type Backfill,
  type PromiseEpoch,
  type SyncBegin,
  type SyncDead,
  type SyncFinish,
  type SyncMark,
  VERSION_WITH_MARKS,
} from '../messages.js';
import { commonEnd, compareOrders, isDead } from '../order.js';
import type { IndexedBlock, Lookup } from '../ports.js';
import {
  blockAt,
  ENTRY_BYTES,
  type Entry,
  KIND_DATA,
  KIND_LOST,
  readEntry,
  release,
  retain,
  tableView,
} from '../record.js';
import type { BlockNumber, DeploymentId, HistoryEntry, Incarnation, Order } from '../types.js';
import { blocksOf, EMPTY_BATCH, onlyWanted } from './batches.js';
import type { Context } from './context.js';
import { sameChecksum } from './damage.js';
import type { Member } from './member.js';
import { hasRoom, isNoSpace, makeRoom, withRoom } from './room.js';
import { keptRegions, withMark } from './sync-regions.js';

interface Sync {
  readonly source: DeploymentId;
  readonly sourceIncarnation: Incarnation;
  readonly number: number;
  /** Where the live stream began: what is copied is as of then, or newer. */
  readonly streamAfter: Order;
  ready: boolean;
  /** Resolves when all blocks that have come are written: their index is read from the disk first. */
  written: Promise<unknown>;
}

export class SyncTarget {
  readonly #context: Context;
  readonly #member: Member;
  #sync: Sync | undefined;

  constructor(context: Context, member: Member) {
    this.#context = context;
    this.#member = member;
  }

  get active(): boolean {
    return this.#sync !== undefined;
  }

  /** The same primary in a higher epoch goes on; another one has to begin anew. */
  onPromise(message: PromiseEpoch): void {
    if (this.#sync !== undefined && this.#sync.sourceIncarnation !== message.primaryIncarnation) this.#end();
  }

  begin(source: DeploymentId, message: SyncBegin): void {
    if (message.etcdClusterId !== this.#context.store.state.etcdClusterId) {
      this.#member.refuse(source, message, 'wrong-cluster');
      return;
    }
    // A source that does not know the refusal is taken in all the same.
    if (!this.#context.admission.admit(this.#context.self.deployment) && this.#speaksOfMarks(source)) {
      this.#member.refuse(source, message, 'busy');
      return;
    }
    const sync: Sync = {
      source,
      sourceIncarnation: message.primaryIncarnation,
      number: message.sync,
      streamAfter: message.streamAfter,
      ready: false,
      written: Promise.resolve(),
    };
    this.#sync = sync;
    this.#context.background(this.#begin(sync, message));
  }

  async #begin(sync: Sync, message: SyncBegin): Promise<void> {
    const { store } = this.#context;
    const { epoch, history } = message;
    this.#member.raise(epoch);
    // A base is recorded only when everything up to it is durable [6b].
    await store.flush();
    if (this.#context.halted || this.#sync !== sync || message.epoch < this.#member.floor) return;
    const from = store.state.syncBase ?? store.last;
    const base: Order = { epoch: from.epoch, sequence: commonEnd(from, history) };
    const regions = store.state.syncBase === null ? [] : store.state.syncRegions;
    const syncRegions = keptRegions(regions, base.sequence, history);
    // Together with the promise, which alone would make this copy look like one that was in sync.
    await store.update({ promised: epoch, history, syncBase: base, syncRegions });
    if (this.#context.halted || this.#sync !== sync || message.epoch < this.#member.floor) return;
    try {
      if (!hasRoom(store, EMPTY_BATCH)) await makeRoom(store, EMPTY_BATCH);
      if (this.#context.halted || this.#sync !== sync || message.epoch < this.#member.floor) return;
      store.position(message.streamAfter);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      this.#end();
      this.#member.refuse(sync.source, message, 'no-space');
      return;
    }
    const dead = await this.#dead(0 as BlockNumber);
    if (!this.#goesOn(sync)) return;
    sync.ready = true;
    if (this.#speaksOfMarks(sync.source)) this.#tellRegions(sync);
    this.#member.reply(sync.source, { type: 'sync-ready', ...this.#header(sync), base, ...dead });
  }

  onMessage(from: DeploymentId, message: SyncDead | Backfill | SyncMark | SyncFinish): void {
    const { store } = this.#context;
    const sync = this.#sync;
    if (sync?.number !== message.sync || sync.source !== from || !sync.ready) {
      this.#member.refuse(from, message, 'no-sync');
      return;
    }
    this.#context.admission.renew(this.#context.self.deployment);
    switch (message.type) {
      case 'sync-dead':
        this.#context.background(this.#listDead(sync, message));
        return;
      case 'backfill':
        if (!this.#context.verify(message.batch)) {
          this.#member.refuse(from, message, 'bad-checksum');
          return;
        }
        retain(message.batch);
        sync.written = Promise.all([sync.written, this.#backfill(sync, message).finally(() => release(message.batch))]);
        this.#context.background(sync.written);
        return;
      case 'sync-mark':
        this.#context.background(this.#mark(sync, message.below));
        return;
      case 'sync-finish':
        if (store.last.sequence !== message.last.sequence) {
          this.#member.refuse(from, message, 'gap');
          return;
        }
        this.#context.background(this.#finish(sync));
        return;
    }
  }

  #end(): void {
    this.#sync = undefined;
    this.#context.admission.release(this.#context.self.deployment);
  }

  /** Another primary's promise, or another begin, ends a sync at any await. */
  #goesOn(sync: Sync): boolean {
    return !this.#context.halted && this.#sync === sync;
  }

  async #listDead(sync: Sync, message: SyncDead): Promise<void> {
    const dead = await this.#dead(message.from);
    if (this.#goesOn(sync))
      this.#member.reply(sync.source, { type: 'sync-dead-blocks', ...this.#header(sync), ...dead });
  }

  async #backfill(sync: Sync, message: Backfill): Promise<void> {
    const { store, nodeLoad } = this.#context;
    nodeLoad.copied();
    try {
      await withRoom(store, message.batch, () =>
        store.look(blocksOf(message.batch), (lookup) => {
          if (this.#goesOn(sync)) this.#write(message, lookup);
        }),
      );
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      if (this.#goesOn(sync)) this.#member.refuse(sync.source, message, 'no-space');
      return;
    }
    await store.written();
    if (!this.#goesOn(sync)) return;
    this.#member.reply(sync.source, { type: 'backfilled', ...this.#header(sync), number: message.number });
  }

  /**
   * Writes a block where the present order is dead or lower [4], or where the same block was lost; a hole takes the
   * place of a dead one only.
   */
  #write(message: Backfill, lookup: Lookup): void {
    const { store } = this.#context;
    const { history } = store.state;
    const { orders, batch } = message;
    const table = tableView(batch);
    const wanted = onlyWanted({ orders, batch }, (i) => {
      const order = orders[i]!;
      const present = lookup(blockAt(table, i * ENTRY_BYTES) as BlockNumber);
      return present === undefined
        ? order.sequence > 0
        : isReplacedBy(present, () => readEntry(batch.entries, i), order, history);
    });
    if (wanted.orders.length > 0) store.backfill(wanted);
  }

  /** What was written before the mark, live writes included, is made durable before the mark is [6b]. */
  async #mark(sync: Sync, below: BlockNumber): Promise<void> {
    const { store } = this.#context;
    await sync.written;
    if (!this.#goesOn(sync)) return;
    await store.flush();
    if (!this.#goesOn(sync) || store.state.syncBase === null) return;
    await store.update({ syncRegions: withMark(store.state.syncRegions, below, sync.streamAfter) });
    if (this.#goesOn(sync)) this.#tellRegions(sync);
  }

  #tellRegions(sync: Sync): void {
    const regions = this.#context.store.state.syncRegions;
    this.#member.reply(sync.source, { type: 'sync-marked', ...this.#header(sync), regions });
  }

  #speaksOfMarks(source: DeploymentId): boolean {
    const node = this.#context.nodeOf(source);
    return node !== undefined && this.#context.links.version(node) >= VERSION_WITH_MARKS;
  }

  /** Goes on while its primary raises the epoch; another primary's promise ends the sync. */
  async #finish(sync: Sync): Promise<void> {
    const { store } = this.#context;
    await sync.written;
    if (!this.#goesOn(sync)) return;
    // Flushed before it may become a member [8], and before it forgets the base and the unclean mark [9].
    await store.flush();
    if (!this.#goesOn(sync)) return;
    await store.update({ syncBase: null, syncRegions: [], unclean: false });
    this.#context.admission.release(this.#context.self.deployment);
    if (this.#goesOn(sync)) this.#member.reply(sync.source, { type: 'sync-finished', ...this.#header(sync) });
  }

  #header(sync: Sync) {
    const { store } = this.#context;
    return { epoch: store.state.promised, incarnation: store.incarnation, sync: sync.number };
  }

  async #dead(from: BlockNumber): Promise<{ dead: BlockNumber[]; nextDead?: BlockNumber }> {
    const { store, settings } = this.#context;
    const dead = await store.deadBlocks(store.state.history, from, settings.deadBlocksPerMessage);
    const lastDead = dead[dead.length - 1];
    if (lastDead === undefined || dead.length < settings.deadBlocksPerMessage) return { dead };
    return { dead, nextDead: (lastDead + 1) as BlockNumber };
  }
}

/** `read` makes the entry, for the rare case in which more than its order counts. */
function isReplacedBy(
  present: IndexedBlock,
  read: () => Entry,
  order: Order,
  history: readonly HistoryEntry[],
): boolean {
  if (isDead(present.order, history)) return true;
  const difference = compareOrders(present.order, order);
  if (difference !== 0 || present.kind !== KIND_LOST) return difference < 0;
  const entry = read();
  return entry.kind === KIND_DATA && sameChecksum(present, entry);
}
