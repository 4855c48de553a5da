/**
 * The receiving end of a delta sync. Backfilled blocks and live writes come side by side; until all is there
 * and flushed, the durable sync base says how far this copy can be relied upon [6].
 */

import type { Backfill, PromiseEpoch, SyncBegin, SyncDead, SyncFinish } from '../messages.js';
import { commonEnd, compareOrders, isDead } from '../order.js';
import { DiskError } from '../ports.js';
import type { BlockNumber, DeploymentId, Incarnation, Order } from '../types.js';
import { type EntryWithPayload, entriesOf, makeBatch } from './batches.js';
import type { Context } from './context.js';
import type { Member } from './member.js';

interface Sync {
  readonly source: DeploymentId;
  readonly sourceIncarnation: Incarnation;
  readonly number: number;
  ready: boolean;
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
    if (this.#sync?.sourceIncarnation !== message.primaryIncarnation) this.#sync = undefined;
  }

  begin(source: DeploymentId, message: SyncBegin): void {
    if (message.etcdClusterId !== this.#context.store.state.etcdClusterId) {
      this.#member.refuse(source, message, 'wrong-cluster');
      return;
    }
    const sync: Sync = {
      source,
      sourceIncarnation: message.primaryIncarnation,
      number: message.sync,
      ready: false,
    };
    this.#sync = sync;
    this.#context.background(this.#begin(sync, message));
  }

  async #begin(sync: Sync, message: SyncBegin): Promise<void> {
    const { store } = this.#context;
    await this.#member.promise(message.epoch, message.history);
    // A base is recorded only when everything up to it is durable [6b].
    await store.flush();
    if (this.#context.halted || this.#sync !== sync || message.epoch < this.#member.floor) return;
    const from = store.state.syncBase ?? store.last;
    const base: Order = { epoch: from.epoch, sequence: commonEnd(from, message.history) };
    await store.update({ syncBase: base });
    if (this.#context.halted || this.#sync !== sync || message.epoch < this.#member.floor) return;
    try {
      store.position(message.streamAfter);
    } catch (error) {
      if (!this.#noSpace(error)) throw error;
      this.#sync = undefined;
      this.#member.refuse(sync.source, message, 'no-space');
      return;
    }
    sync.ready = true;
    this.#member.reply(sync.source, {
      type: 'sync-ready',
      epoch: store.state.promised,
      incarnation: store.incarnation,
      sync: sync.number,
      base,
      ...this.#dead(0 as BlockNumber),
    });
  }

  onMessage(from: DeploymentId, message: SyncDead | Backfill | SyncFinish): void {
    const { store } = this.#context;
    const sync = this.#sync;
    if (sync?.number !== message.sync || sync.source !== from || !sync.ready) {
      this.#member.refuse(from, message, 'no-sync');
      return;
    }
    const header = { epoch: store.state.promised, incarnation: store.incarnation, sync: sync.number };
    switch (message.type) {
      case 'sync-dead':
        this.#member.reply(from, { type: 'sync-dead-blocks', ...header, ...this.#dead(message.from) });
        return;
      case 'backfill':
        if (!this.#context.verify(message.batch)) {
          this.#member.refuse(from, message, 'bad-checksum');
          return;
        }
        try {
          this.#write(message);
        } catch (error) {
          if (!this.#noSpace(error)) throw error;
          this.#member.refuse(from, message, 'no-space');
          return;
        }
        this.#member.reply(from, { type: 'backfilled', ...header, number: message.number });
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

  /** Writes a block where the present order is dead or lower [4]; a hole takes the place of a dead one only. */
  #write(message: Backfill): void {
    const { store } = this.#context;
    const { history } = store.state;
    const parts: EntryWithPayload[] = [];
    const orders: Order[] = [];
    let i = 0;
    for (const part of entriesOf(message.batch)) {
      const order = message.orders[i++];
      if (order === undefined) break;
      const present = store.lookup(part.entry.block as BlockNumber)?.order;
      if (present !== undefined && !isDead(present, history) && compareOrders(present, order) >= 0) continue;
      if (present === undefined && order.sequence === 0) continue;
      parts.push(part);
      orders.push(order);
    }
    if (parts.length > 0) store.backfill({ orders, batch: makeBatch(parts) });
  }

  /** Goes on while its primary raises the epoch; another primary's promise ends the sync. */
  async #finish(sync: Sync): Promise<void> {
    const { store } = this.#context;
    // Flushed before it may become a member [8], and before it forgets the base and the unclean mark [9].
    await store.flush();
    if (this.#context.halted || this.#sync !== sync) return;
    await store.update({ syncBase: null, unclean: false });
    if (this.#context.halted || this.#sync !== sync) return;
    this.#member.reply(sync.source, {
      type: 'sync-finished',
      epoch: store.state.promised,
      incarnation: store.incarnation,
      sync: sync.number,
    });
  }

  #dead(from: BlockNumber): { dead: BlockNumber[]; nextDead?: BlockNumber } {
    const { store, settings } = this.#context;
    const dead = store.deadBlocks(store.state.history, from, settings.deadBlocksPerMessage);
    const lastDead = dead[dead.length - 1];
    if (lastDead === undefined || dead.length < settings.deadBlocksPerMessage) return { dead };
    return { dead, nextDead: (lastDead + 1) as BlockNumber };
  }

  #noSpace(error: unknown): boolean {
    return error instanceof DiskError && error.code === 'no-space';
  }
}
