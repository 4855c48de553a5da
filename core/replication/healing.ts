/**
 * Mends blocks of this copy whose stored bytes do not match their checksum: another in-sync copy that has the
 * same block with the same order and checksum sends it, and it is written again under its own order.
 */

import type { Fetched } from '../messages.js';
import { sameOrder } from '../order.js';
import type { IndexedBlock, Timer } from '../ports.js';
import { entryCount } from '../record.js';
import type { DeploymentId, Order } from '../types.js';
import { blocksPerBatch, type EntryWithPayload, entriesOf, makeBatch } from './batches.js';
import type { Primary } from './primary.js';

interface Request {
  readonly from: DeploymentId;
  readonly answered: (message: Fetched | undefined) => void;
  readonly timer: Timer;
}

export class Healing {
  readonly #primary: Primary;
  readonly #requests = new Map<number, Request>();
  #number = 0;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** True if every block was mended, or overwritten meanwhile. */
  async heal(blocks: readonly IndexedBlock[]): Promise<boolean> {
    const { context } = this.#primary;
    const { store } = context;
    let bad = this.#stillBad(blocks);
    for (const member of [...this.#primary.members]) {
      if (bad.length === 0 || this.#primary.stopped) break;
      if (!member.current) continue;
      const chunk = blocksPerBatch(store.state.blockSize);
      for (let at = 0; at < bad.length; at += chunk) {
        const answer = await this.#fetch(member.deployment, bad.slice(at, at + chunk));
        if (this.#primary.stopped) return false;
        if (answer !== undefined) this.#rewrite(answer, bad);
      }
      bad = this.#stillBad(bad).filter((block) => !this.#mended.has(block));
    }
    const healed = blocks.length - bad.length;
    context.counters.blocksHealed += healed;
    context.counters.blocksUnhealed += bad.length;
    context.events.log(bad.length > 0 ? 'error' : 'warn', 'bad blocks found', {
      healed,
      lost: bad.slice(0, 10).map((block) => block.block),
    });
    return bad.length === 0;
  }

  /** Blocks that were rewritten; the same objects are asked for once only. */
  readonly #mended = new WeakSet<IndexedBlock>();

  #stillBad(blocks: readonly IndexedBlock[]): IndexedBlock[] {
    const { store } = this.#primary.context;
    return blocks.filter((block) => {
      const present = store.lookup(block.block);
      return present !== undefined && sameOrder(present.order, block.order);
    });
  }

  #rewrite(answer: Fetched, bad: readonly IndexedBlock[]): void {
    const { store, verify } = this.#primary.context;
    if (answer.orders.length !== entryCount(answer.batch) || !verify(answer.batch)) return;
    const wanted = new Map(bad.map((block) => [block.block as number, block]));
    const parts: EntryWithPayload[] = [];
    const orders: Order[] = [];
    let i = 0;
    for (const part of entriesOf(answer.batch)) {
      const order = answer.orders[i++]!;
      const block = wanted.get(part.entry.block);
      if (block === undefined || !sameOrder(order, block.order)) continue;
      if (part.entry.checksumLow !== block.checksumLow || part.entry.checksumHigh !== block.checksumHigh) continue;
      const present = store.lookup(block.block);
      if (present === undefined || !sameOrder(present.order, order)) continue;
      parts.push(part);
      orders.push(order);
      this.#mended.add(block);
    }
    if (parts.length > 0) store.backfill({ orders, batch: makeBatch(parts) });
  }

  #fetch(from: DeploymentId, blocks: readonly IndexedBlock[]): Promise<Fetched | undefined> {
    const { context, epoch } = this.#primary;
    const request = ++this.#number;
    return new Promise((resolve) => {
      const answered = (message: Fetched | undefined): void => {
        this.#requests.get(request)?.timer.cancel();
        this.#requests.delete(request);
        resolve(message);
      };
      const timer = context.clock.after(context.settings.fetchTimeoutMs, () => answered(undefined));
      this.#requests.set(request, { from, answered, timer });
      context.send(from, { type: 'fetch', epoch, request, blocks: blocks.map((block) => block.block) });
    });
  }

  onFetched(from: DeploymentId, message: Fetched): void {
    const request = this.#requests.get(message.request);
    if (request?.from === from) request.answered(message);
  }

  stop(): void {
    for (const request of [...this.#requests.values()]) request.answered(undefined);
  }
}
