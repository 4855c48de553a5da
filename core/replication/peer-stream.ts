/**
 * One other copy, as its primary sees it: the greeting that establishes epoch and incarnation, the stream of
 * entries behind what the copy has, its confirmations, its lease, and the time that it takes to answer.
 *
 * Confirmations belong to the incarnation that gave them [15]: another one is greeted anew.
 */

import type { Appended, Flushed, Leased, Promised, Refused, SyncReady } from '../messages.js';
import { isDead } from '../order.js';
import { entryCount } from '../record.js';
import type { DeploymentId, Epoch, Incarnation, Sequence } from '../types.js';
import { dropEntries } from './batches.js';
import type { Context } from './context.js';
import type { InFlight } from './in-flight.js';
import { SendWindow } from './send-window.js';

/** What a stream needs of its primary. */
export interface StreamOwner {
  readonly context: Context;
  readonly flights: InFlight;
  readonly epoch: Epoch;
  /** The greeting for the present epoch. */
  greeting(): Parameters<Context['send']>[1];
  /** Confirmations came in, or the copy failed. */
  progress(): void;
  /** A copy has promised a higher epoch than this primary's. */
  superseded(epoch: Epoch): void;
}

/** Lease requests whose answers are waited for, per copy. */
const MAX_LEASES_ASKED = 16;

type State =
  /** Waits for the connection, or for the answer to a greeting. */
  | 'greeting'
  /** Has promised the epoch; entries flow. */
  | 'streaming'
  /** Cannot be a member; `failure` says why. */
  | 'failed';

export class PeerStream {
  readonly deployment: DeploymentId;
  readonly #owner: StreamOwner;
  #state: State = 'greeting';
  /** A target of a sync is greeted by the sync, with `sync-begin`; from the issue of the swap on it is a member [7]. */
  target: boolean;
  /** A target that is about to become a member grants leases already. */
  leasable: boolean;
  /** Why it has failed; cleared if it recovers before it was removed. */
  failure: string | undefined;
  incarnation: Incarnation | undefined;
  /** The epoch that it promised under this incarnation; 0 before. */
  established = 0 as Epoch;
  /** It has everything up to here. */
  acked = 0 as Sequence;
  /** Everything up to here is on its disk. */
  durable = 0 as Sequence;
  /** The primary's lease from this copy, by the primary's clock. */
  leaseUntil = Number.NEGATIVE_INFINITY;
  /** Answered the greeting of this epoch in whatever way: it serves no older primary. */
  sealed = 0 as Epoch;

  #next = 1;
  readonly #window = new SendWindow();
  #reading = false;
  #greetedAt = Number.NEGATIVE_INFINITY;
  #greetingSince: number;
  #downSince: number | undefined;
  #appendSince: number | undefined;
  /** Since when it has refused entries and confirmed no new ones. */
  #refusedSince: number | undefined;
  #flushWanted = 0;
  #flushNumber = 0;
  #flushSince: number | undefined;
  #leaseNumber = 0;
  readonly #leasesAsked = new Map<number, number>();
  #leaseAskedAt = Number.NEGATIVE_INFINITY;

  constructor(owner: StreamOwner, deployment: DeploymentId, target = false) {
    this.#owner = owner;
    this.deployment = deployment;
    this.target = target;
    this.leasable = !target;
    this.#greetingSince = owner.context.clock.now();
    if (!this.#linkUp()) this.#downSince = this.#greetingSince;
  }

  get state(): State {
    return this.#state;
  }

  /** Whether it has promised the primary's present epoch and may confirm. */
  get current(): boolean {
    return this.#state === 'streaming' && this.established === this.#owner.epoch;
  }

  /** Asks for the present epoch's promise; nothing is sent until it is given. */
  greet(): void {
    if (this.#state === 'failed') return;
    this.#await(this.#owner.context.clock.now());
    if (!this.#linkUp() || (this.target && this.incarnation === undefined)) return;
    this.#greetedAt = this.#owner.context.clock.now();
    this.#owner.context.send(this.deployment, this.#owner.greeting());
  }

  onPromised(message: Promised): void {
    if (message.epoch !== this.#owner.epoch || this.#state === 'failed') return;
    this.sealed = message.epoch;
    if (this.#state === 'streaming' && this.incarnation === message.incarnation && this.established === message.epoch) {
      return; // A second answer, to a greeting that was repeated.
    }
    const { store } = this.#owner.context;
    if (this.target) {
      // A sync goes on under the same incarnation only, from where it was.
      if (this.incarnation !== message.incarnation) this.fail('restarted');
      else this.#establish(message.epoch, message.incarnation, message.last.sequence);
      return;
    }
    if (message.unclean) {
      this.fail('unclean');
    } else if (
      message.last.sequence > store.last.sequence ||
      (message.last.sequence === store.last.sequence && message.last.epoch !== store.last.epoch) ||
      isDead(message.last, store.state.history)
    ) {
      // No in-sync copy ever shortens its log: it leaves instead [17].
      this.fail('diverged');
    } else {
      this.#establish(message.epoch, message.incarnation, message.last.sequence);
    }
  }

  /** A target is ready for live entries behind `streamAfter`. */
  onSyncReady(message: SyncReady, streamAfter: Sequence): void {
    this.sealed = message.epoch;
    this.#establish(message.epoch, message.incarnation, streamAfter);
    if (!this.current) this.greet();
  }

  /** A target has flushed everything up to `last` and is clean: it may grant leases. */
  onSyncFinished(last: Sequence): void {
    if (this.#state !== 'streaming') return;
    this.#onDurable(last);
    this.leasable = true;
    this.askLease();
  }

  #establish(epoch: Epoch, incarnation: Incarnation, last: Sequence): void {
    if (this.incarnation !== incarnation) {
      this.incarnation = incarnation;
      this.durable = 0 as Sequence;
      this.leaseUntil = Number.NEGATIVE_INFINITY;
    }
    this.established = epoch;
    // It has answered: what it had missed before is no reason to miss it in a later epoch.
    this.#downSince = undefined;
    this.#leasesAsked.clear();
    this.#state = 'streaming';
    this.failure = undefined;
    if (last >= this.#owner.context.store.last.sequence) this.#refusedSince = undefined;
    this.acked = last;
    this.#window.clear();
    this.#next = last + 1;
    this.#appendSince = undefined;
    this.#flushSince = undefined;
    this.askLease();
    this.pump();
    this.#askFlush();
    this.#owner.progress();
  }

  /** Entries and payload that it was sent and has not confirmed. */
  get unconfirmedBytes(): number {
    return this.#window.bytes;
  }

  /** Sends what the copy lacks and the bounds allow. */
  pump(): void {
    const { context, flights } = this.#owner;
    while (this.current && !this.#reading && this.#next <= context.store.last.sequence) {
      if (this.#window.bytes >= context.settings.maxUnconfirmedBytes) return;
      const flight = flights.find(this.#next);
      if (flight === undefined) {
        // Behind what is in flight: from the log, piece by piece.
        if (this.acked + 1 < this.#next) return;
        this.#reading = true;
        context.background(this.#readLog());
        return;
      }
      this.#append(flight.epoch, dropEntries(flight.batch, this.#next - flight.first), flight.durable);
    }
  }

  async #readLog(): Promise<void> {
    const { context } = this.#owner;
    const from = this.#next as Sequence;
    const epoch = this.established;
    const pieces = await context.store.readLog(from, context.settings.catchUpBytes);
    this.#reading = false;
    if (context.halted || this.#state === 'failed') return;
    if (!this.current || this.established !== epoch || this.#next !== from) {
      this.pump();
      return;
    }
    if (pieces === undefined || pieces.length === 0) {
      this.fail('log-gone');
      return;
    }
    for (const piece of pieces) {
      const skip = this.#next - piece.firstSequence;
      if (skip < 0) break;
      if (skip < entryCount(piece.batch)) this.#append(piece.epoch, dropEntries(piece.batch, skip), false);
    }
    if (this.#next === from) this.fail('log-gone');
    else this.pump();
  }

  #append(orderEpoch: Epoch, batch: Parameters<typeof entryCount>[0], durable: boolean): void {
    const { context } = this.#owner;
    this.#appendSince ??= context.clock.now();
    const firstSequence = this.#next as Sequence;
    this.#window.sent(firstSequence, batch);
    this.#next += entryCount(batch);
    context.send(this.deployment, {
      type: 'append',
      epoch: this.established,
      incarnation: this.incarnation!,
      orderEpoch,
      firstSequence,
      batch,
      durable,
    });
  }

  onAppended(message: Appended): void {
    if (!this.#accepts(message)) return;
    if (message.last > this.acked) {
      this.acked = message.last;
      this.#window.confirmed(this.acked);
      this.#appendSince = this.acked + 1 < this.#next ? this.#owner.context.clock.now() : undefined;
      this.failure = undefined;
      this.#refusedSince = undefined;
    }
    this.#onDurable(message.durable);
    this.pump();
    this.#askFlush();
    this.#owner.progress();
  }

  /** Everything up to `sequence` is wanted on its disk. */
  wantDurable(sequence: Sequence): void {
    if (sequence > this.#flushWanted) this.#flushWanted = sequence;
    this.#askFlush();
  }

  #askFlush(): void {
    if (!this.current || this.#flushSince !== undefined) return;
    if (this.durable >= this.#flushWanted || this.acked < this.#flushWanted) return;
    const { context } = this.#owner;
    this.#flushSince = context.clock.now();
    context.send(this.deployment, {
      type: 'flush',
      epoch: this.established,
      incarnation: this.incarnation!,
      flush: ++this.#flushNumber,
    });
  }

  onFlushed(message: Flushed): void {
    if (!this.#accepts(message)) return;
    if (message.flush === this.#flushNumber) this.#flushSince = undefined;
    this.#onDurable(message.durable);
    this.#askFlush();
    this.#owner.progress();
  }

  #onDurable(durable: Sequence): void {
    // What is behind its confirmed end may be the tail of a log that was replaced.
    const sequence = Math.min(durable, this.acked) as Sequence;
    if (sequence > this.durable) this.durable = sequence;
  }

  askLease(): void {
    if (!this.current || !this.leasable) return;
    const { context } = this.#owner;
    const now = context.clock.now();
    this.#leaseAskedAt = now;
    this.#leasesAsked.set(++this.#leaseNumber, now);
    if (this.#leasesAsked.size > MAX_LEASES_ASKED) {
      this.#leasesAsked.delete(this.#leasesAsked.keys().next().value!);
    }
    context.send(this.deployment, {
      type: 'lease',
      epoch: this.established,
      incarnation: this.incarnation!,
      lease: this.#leaseNumber,
    });
  }

  onLeased(message: Leased): void {
    const askedAt = this.#leasesAsked.get(message.lease);
    if (askedAt === undefined || !this.#accepts(message)) return;
    for (const number of this.#leasesAsked.keys()) if (number <= message.lease) this.#leasesAsked.delete(number);
    const { leaseMs, leaseMarginMs } = this.#owner.context.settings;
    this.leaseUntil = Math.max(this.leaseUntil, askedAt + leaseMs - leaseMarginMs);
    this.#owner.progress();
  }

  onRefused(message: Refused): void {
    if (this.#state === 'failed') return;
    // Nothing but the begin was sent to a target that has not answered it: what else is refused is older.
    if (this.target && this.incarnation === undefined && message.of !== 'sync-begin') return;
    switch (message.reason) {
      case 'stale-epoch':
        if (message.epoch > this.#owner.epoch) this.#owner.superseded(message.epoch);
        return;
      case 'wrong-incarnation':
      case 'not-promised':
      case 'gap':
      case 'bad-checksum':
        if (this.target) this.fail(message.reason);
        else if (this.#state === 'streaming') this.#beginAnew(message.reason);
        return;
      case 'no-deployment':
        // Its node is there, the copy is not open (yet): like a connection that is down.
        this.#lost();
        return;
      default:
        this.fail(message.reason);
    }
  }

  /** From the greeting on; in vain for too long, it is as if it did not answer. */
  #beginAnew(reason: string): void {
    const { clock, settings } = this.#owner.context;
    const now = clock.now();
    if (this.#refusedSince === undefined) {
      this.#refusedSince = now;
      this.greet();
      return;
    }
    // The same once more: not at the speed of the network, `tick` greets.
    this.#await(now);
    this.#greetedAt = now;
    if (now - this.#refusedSince > settings.memberTimeoutMs) this.#miss(reason);
  }

  /** For good: it cannot be a member until it was synced. */
  fail(reason: string): void {
    if (this.#state === 'failed') return;
    this.#state = 'failed';
    this.failure = reason;
    this.#owner.progress();
  }

  /** It is to be removed, but may come back before that has happened. */
  #miss(reason: string): void {
    if (this.target) {
      this.fail(reason);
    } else if (this.failure === undefined) {
      this.failure = reason;
      this.#owner.progress();
    }
  }

  onLinkUp(): void {
    this.#downSince = undefined;
    this.#refusedSince = undefined;
    if (!this.target) this.greet();
  }

  onLinkDown(): void {
    this.#lost();
    if (this.target) this.fail('link-down');
  }

  #lost(): void {
    const now = this.#owner.context.clock.now();
    this.#downSince ??= now;
    if (this.#state !== 'failed') this.#await(now);
  }

  /** Nothing is sent until it has answered a greeting. */
  #await(now: number): void {
    if (this.#state === 'streaming') this.#greetingSince = now;
    this.#state = 'greeting';
    this.#appendSince = undefined;
    this.#flushSince = undefined;
  }

  /** Repeats what was not answered, renews the lease, and finds out that the copy has failed. */
  tick(now: number): void {
    const { settings } = this.#owner.context;
    const past = (since: number | undefined, ms: number): boolean => since !== undefined && now - since > ms;
    if (this.#state === 'greeting') {
      if (past(this.#downSince, settings.memberGraceMs)) this.#miss('unreachable');
      else if (past(this.#greetingSince, settings.memberTimeoutMs)) this.#miss('no-answer');
      if (now - this.#greetedAt >= settings.greetRetryMs) this.greet();
    } else if (this.#state === 'streaming') {
      if (past(this.#appendSince, settings.memberTimeoutMs)) this.#miss('too-slow');
      else if (past(this.#flushSince, settings.flushTimeoutMs)) this.#miss('flush-too-slow');
      else if (past(this.#leasesAsked.values().next().value, settings.memberTimeoutMs)) this.#miss('no-answer');
      if (round(now, settings.leaseRenewMs) > round(this.#leaseAskedAt, settings.leaseRenewMs)) this.askLease();
    }
  }

  /**
   * Whether a confirmation is of the life that this stream has greeted. What was said under an epoch before this
   * stream's may be of a log that is no more.
   */
  #accepts(message: { readonly incarnation: Incarnation; readonly epoch: Epoch }): boolean {
    if (this.#state !== 'streaming' || message.incarnation !== this.incarnation) return false;
    return message.epoch >= this.established;
  }

  #linkUp(): boolean {
    const node = this.#owner.context.nodeOf(this.deployment);
    return node !== undefined && this.#owner.context.links.isUp(node);
  }
}

/** Leases are renewed at the same moments for all streams of a process, so that their requests travel together. */
function round(now: number, renewMs: number): number {
  return Math.floor(now / renewMs);
}
