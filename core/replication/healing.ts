/**
 * Mends blocks of this copy whose stored bytes do not match their checksum: another in-sync copy that has the
 * same block with the same order and checksum sends it, and it is written again under its own order. What was in a
 * gap of an index, this copy's or that of whom it was synced from, is taken from any member that has all of the stream
 * up to there.
 */

import type { BlockIdentity, Fetched, Mend } from '../messages.js';
import { isDead, sameOrder, UNKNOWN_EPOCH } from '../order.js';
import type { IndexedBlock, Timer } from '../ports.js';
import type { BlockNumber, DeploymentId, Order, Sequence } from '../types.js';
import { blocksPerBatch } from './batches.js';
import { isUnidentified, readIntact, rewriteDamaged, sameChecksum, stillPresent } from './damage.js';
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
  /** What could not be mended so far; at most `maxDamagedBlocks`. */
  readonly #unmended = new Map<BlockNumber, IndexedBlock>();
  /** Copies whose requests are being answered. */
  readonly #mending = new Set<DeploymentId>();
  /** Until the primary is ready; one for all that wait. */
  #waiting: Promise<void> | undefined;
  #release: () => void = () => {};

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /**
   * True if every block was mended, or overwritten meanwhile; false if no in-sync copy has it, nor the `target` of a
   * sync, or this primary was deposed. Who is away for a moment is waited for, as every read waits for the leases of
   * all members.
   */
  async heal(blocks: readonly IndexedBlock[], target?: PeerStream): Promise<boolean> {
    const { context } = this.#primary;
    let bad = await stillPresent(context.store, blocks);
    for (let askedAll = false; bad.length > 0 && !askedAll; ) {
      await this.#untilReady();
      if (this.#primary.stopped) return false;
      askedAll = await this.#ask(bad, target);
      bad = await this.#notMended(bad);
      if (this.#primary.stopped) return false;
    }
    this.#remember(blocks, bad);
    const healed = blocks.length - bad.length;
    context.counters.blocksHealed += healed;
    context.counters.blocksUnhealed += bad.length;
    context.events.log(bad.length > 0 ? 'error' : 'warn', 'bad blocks found', {
      healed,
      lost: bad.slice(0, 10).map((block) => block.block),
    });
    return bad.length === 0;
  }

  #remember(asked: readonly IndexedBlock[], unmended: readonly IndexedBlock[]): void {
    for (const { block } of asked) this.#unmended.delete(block);
    for (const block of unmended) {
      if (this.#unmended.size < this.#primary.context.settings.maxDamagedBlocks) this.#unmended.set(block.block, block);
    }
  }

  /** A copy that has joined may have what was missing. */
  memberJoined(): void {
    if (this.#unmended.size > 0) this.#primary.context.background(this.heal([...this.#unmended.values()]));
  }

  /** Sends a copy what it lacks and this one, or another one, has; one request of a copy at a time. */
  async mend(from: DeploymentId, message: Mend): Promise<void> {
    const { context } = this.#primary;
    const { store } = context;
    if (this.#mending.has(from) || this.#primary.streams.get(from)?.incarnation !== message.incarnation) return;
    this.#mending.add(from);
    try {
      const blocks = await this.#sameHere(message);
      let found = await readIntact(store, blocks);
      if (found.bad.length > 0 && (await this.heal(found.bad))) found = await readIntact(store, blocks);
      if (this.#primary.stopped) return;
      const { request, incarnation } = message;
      context.send(from, { type: 'mended', epoch: this.#primary.epoch, incarnation, request, ...found.stored });
    } finally {
      this.#mending.delete(from);
    }
  }

  /** The asked blocks of which this copy holds what the asker has lost, as far as they fit into an answer. */
  #sameHere({ blocks }: Mend): Promise<BlockNumber[]> {
    const { store } = this.#primary.context;
    const asked = blocks
      .filter(({ block }) => block < store.state.blocks)
      .slice(0, blocksPerBatch(store.state.blockSize));
    return store.look(
      asked.map(({ block }) => block),
      (lookup) => {
        const same = asked.filter((block) => {
          const present = lookup(block.block);
          if (present !== undefined && sameOrder(present.order, block.order) && sameChecksum(present, block))
            return true;
          return isUnidentified(block) && this.#settles(present?.order, block);
        });
        return same.map(({ block }) => block);
      },
    );
  }

  /**
   * Whether what this copy has of an unidentified block, under that order or as a hole, is what the asker has lost: all
   * of the stream up to the latest order that the block can have there is in this log, and nothing came later.
   */
  #settles(present: Order | undefined, { order }: BlockIdentity): boolean {
    const { context, epoch, established, record } = this.#primary;
    const { last, state } = context.store;
    if (!established || !record.active || order.epoch === UNKNOWN_EPOCH || order.epoch > epoch) return false;
    if (order.sequence > last.sequence || isDead(order, state.history)) return false;
    return present === undefined || (present.sequence <= order.sequence && !isDead(present, state.history));
  }

  /** Asks one member after the other, until all is mended; whether none was away and could be asked again. */
  async #ask(blocks: readonly IndexedBlock[], target: PeerStream | undefined): Promise<boolean> {
    const chunk = blocksPerBatch(this.#primary.context.store.state.blockSize);
    const asked = new Set<PeerStream>();
    let bad = blocks;
    for (const member of target === undefined ? [...this.#primary.members] : [...this.#primary.members, target]) {
      if (!member.current) continue;
      // Of the target of a sync nobody knows what it lacks.
      const completeTo = member.target ? undefined : member.acked;
      let answer: Fetched | undefined;
      for (let at = 0; at < bad.length; at += chunk) {
        answer = await this.#fetch(member.deployment, bad.slice(at, at + chunk));
        if (answer === undefined) break;
        await this.#rewrite(answer, bad, completeTo);
      }
      if (this.#primary.stopped) return false;
      // Who is connected and does not send them in time has not got them.
      if (answer !== undefined || member.current) asked.add(member);
      bad = await this.#notMended(bad);
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

  async #notMended(blocks: readonly IndexedBlock[]): Promise<IndexedBlock[]> {
    const present = await stillPresent(this.#primary.context.store, blocks);
    return present.filter((block) => !this.#mended.has(block));
  }

  /** Blocks that were rewritten; the same objects are asked for once only. */
  readonly #mended = new WeakSet<IndexedBlock>();

  async #rewrite(answer: Fetched, bad: readonly IndexedBlock[], completeTo: Sequence | undefined): Promise<void> {
    const { context } = this.#primary;
    for (const block of await rewriteDamaged(context, answer, bad, completeTo)) this.#mended.add(block);
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
