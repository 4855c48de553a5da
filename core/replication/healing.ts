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
import type { PeerStream } from './peer-stream.js';
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
  /** Until the primary is ready; one for all that wait. */
  #waiting: Promise<void> | undefined;
  #release: () => void = () => {};

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /**
   * True if every block was mended, or overwritten meanwhile; false if no in-sync copy has it, or this primary was
   * deposed. Who is away for a moment is waited for, as every read waits for the leases of all members.
   */
  async heal(blocks: readonly IndexedBlock[]): Promise<boolean> {
    const { context } = this.#primary;
    let bad = this.#stillBad(blocks);
    for (let askedAll = false; bad.length > 0 && !askedAll; ) {
      await this.#untilReady();
      if (this.#primary.stopped) return false;
      askedAll = await this.#askMembers(bad);
      if (this.#primary.stopped) return false;
      bad = this.#unmended(bad);
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

  /** Asks one member after the other, until all is mended; whether none was away and could be asked again. */
  async #askMembers(blocks: readonly IndexedBlock[]): Promise<boolean> {
    const chunk = blocksPerBatch(this.#primary.context.store.state.blockSize);
    const asked = new Set<PeerStream>();
    let bad = blocks;
    for (const member of [...this.#primary.members]) {
      if (!member.current) continue;
      let answer: Fetched | undefined;
      for (let at = 0; at < bad.length; at += chunk) {
        answer = await this.#fetch(member.deployment, bad.slice(at, at + chunk));
        if (answer === undefined) break;
        this.#rewrite(answer, bad);
      }
      if (this.#primary.stopped) return false;
      // Who is connected and does not send them in time has not got them.
      if (answer !== undefined || member.current) asked.add(member);
      bad = this.#unmended(bad);
      if (bad.length === 0) break;
    }
    return this.#primary.members.every((member) => asked.has(member));
  }

  /** Resolves when the primary may serve, with all members there, or never will. */
  async #untilReady(): Promise<void> {
    while (!this.#primary.ready && !this.#primary.stopped) {
      this.#waiting ??= new Promise((resolve) => {
        this.#release = resolve;
      });
      await this.#waiting;
    }
  }

  /** The primary may have become ready. */
  advance(): void {
    if (this.#waiting === undefined || !(this.#primary.ready || this.#primary.stopped)) return;
    this.#waiting = undefined;
    this.#release();
  }

  #unmended(blocks: readonly IndexedBlock[]): IndexedBlock[] {
    return this.#stillBad(blocks).filter((block) => !this.#mended.has(block));
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

  /** Questions and answers on the way were lost. */
  onLinkDown(deployment: DeploymentId): void {
    for (const request of [...this.#requests.values()]) if (request.from === deployment) request.answered(undefined);
  }

  stop(): void {
    for (const request of [...this.#requests.values()]) request.answered(undefined);
    this.advance();
  }
}
