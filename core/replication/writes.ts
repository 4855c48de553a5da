/**
 * Order and commitment of writes at the primary. A write is ordered when there is room in flight, appended
 * here first and sent to all copies at once; it is acknowledged when all members have it, in order. Small writes that
 * come together are ordered together: one append, one message to each copy, one confirmation.
 */

import { enoughCopies } from '../failure-mode.js';
import type { IoStatus } from '../messages.js';
import { invariant, type Timer } from '../ports.js';
import { type Batch, batchProblem, entryCount, release, retain } from '../record.js';
import type { Sequence } from '../types.js';
import { joinBatches } from './batches.js';
import type { Flight } from './in-flight.js';
import type { Primary } from './primary.js';
import { hasRoom, isNoSpace, makeRoom } from './room.js';
import { type Orderable, WriteGroup } from './write-group.js';
import { writtenOf } from './written-blocks.js';

interface Queued extends Orderable {
  /** False: its session is over, it must not be ordered any more [14]. */
  readonly wanted: () => boolean;
  /** Whether it changes anything; undefined until that is known. */
  changes: boolean | undefined;
}

interface Waiting {
  readonly sequence: Sequence;
  readonly done: (status: IoStatus) => void;
}

export class Writes {
  readonly #primary: Primary;
  #queue: Queued[] = [];
  /** Of which it is being found out whether it changes anything. */
  #examined: Queued | undefined;
  #queuedBytes = 0;
  /** Entries of the system itself that wait for room. */
  readonly #internal: Orderable[] = [];
  #makingRoom = false;
  /** The last write that asked for room found none. */
  #isFull = false;
  /** Runs while the queue waits for space. */
  #forSpace: Timer | undefined;
  /** All members have everything up to here, and it was acknowledged. */
  #committed: Sequence;
  /** This copy has everything up to here. */
  #written: Sequence;
  /** Committed writes that are not on all disks yet, in order. */
  #awaitingDurable: Flight[] = [];
  #flushes: Waiting[] = [];
  #ownFlush = false;
  #shortSince: number | undefined;
  /** On whose behalf ordering has stopped: a sync that ends. */
  #drainer: object | undefined;

  constructor(primary: Primary) {
    this.#primary = primary;
    // What an earlier life had in flight is part of the log that the activation declares.
    this.#committed = primary.context.store.last.sequence;
    // And is flushed before it activates.
    this.#written = this.#committed;
  }

  get committed(): Sequence {
    return this.#committed;
  }

  /** What a read may show: with `writethrough`, only what is on all disks [12]. */
  get visible(): Sequence {
    if (!this.#writeThrough) return this.#committed;
    return Math.min(this.#committed, this.#durableEverywhere()) as Sequence;
  }

  get #writeThrough(): boolean {
    return this.#primary.context.spec?.durability === 'writethrough';
  }

  /** Whether the failure mode is content with the present copies. */
  get #enoughCopies(): boolean {
    const { spec } = this.#primary.context;
    const { record } = this.#primary;
    if (spec === undefined) return false;
    const redundancy = { target: spec.replicas, ready: record.inSync.length - 1, lost: record.outOfSync.length };
    return enoughCopies(spec.failureMode, redundancy);
  }

  /** Whether the record ought to say that the volume is read-only. */
  get readOnlyDue(): boolean {
    const { context, record } = this.#primary;
    if (context.spec === undefined) return record.readOnly;
    if (this.#enoughCopies) return false;
    if (record.readOnly) return true;
    return this.#shortSince !== undefined && context.clock.now() - this.#shortSince > context.settings.shortfallMs;
  }

  /** Writes blocks. `fua`: durable on all members before the answer. */
  write(batch: Batch, fua: boolean, wanted: () => boolean, done: (status: IoStatus) => void): void {
    const { context } = this.#primary;
    const { blocks, blockSize } = context.store.state;
    if (batchProblem(batch, blocks, blockSize, 'write') !== undefined) {
      done('invalid');
      return;
    }
    // Once ordered, it could be sent to nobody, and a block would be lost everywhere.
    if (!context.verify(batch)) {
      done('io-error');
      return;
    }
    const bytes = this.#queuedBytes + batch.payload.length;
    if (this.#queue.length >= context.settings.maxQueuedWrites || bytes > context.settings.maxQueuedBytes) {
      done('invalid');
      return;
    }
    this.#queuedBytes = bytes;
    retain(batch);
    // Zeroes alone may be of blocks that were never written.
    const changes = batch.payload.length > 0 ? true : undefined;
    this.#queue.push({ batch, durable: fua || this.#writeThrough, done, wanted, changes, full: false });
    this.#primary.progressSoon();
  }

  /** Everything that was acknowledged before becomes durable on all members. */
  flush(done: (status: IoStatus) => void): void {
    if (this.#flushes.length >= this.#primary.context.settings.maxWaitingFlushes) {
      done('invalid');
      return;
    }
    this.#flushes.push({ sequence: this.#committed, done });
    this.#primary.progressSoon();
  }

  /**
   * Orders an entry of the system itself; it waits for nothing but room, and its confirmation. `durable`: on all members
   * before it is answered. A deposed primary orders nothing.
   */
  orderInternal(batch: Batch, { durable }: { readonly durable: boolean }, done: (status: IoStatus) => void): void {
    if (this.#primary.stopped) return;
    // A user's write would not be acknowledged on too few copies; this one is as good as it can be.
    const committed = (status: IoStatus): void => done(status === 'read-only' ? 'ok' : status);
    this.#internal.push({ batch, durable, done: committed, full: false });
    this.#orderInternals();
  }

  #orderInternals(): void {
    for (let next = this.#internal[0]; next !== undefined; next = this.#internal[0]) {
      if (!this.#primary.established || (!next.full && this.#lacksRoom(next))) return;
      this.#internal.shift();
      if (next.full) next.done('no-space');
      else this.#order([next]);
    }
  }

  /** Whether there is no room for it on a disk that is nearly full; it is being made then, or known that there is none. */
  #lacksRoom(write: Orderable): boolean {
    const { context } = this.#primary;
    if (hasRoom(context.store, write.batch)) {
      this.#full(false);
      return false;
    }
    if (this.#makingRoom) return true;
    this.#makingRoom = true;
    const made = makeRoom(context.store, write.batch)
      .catch((error: unknown) => {
        if (!isNoSpace(error)) throw error;
        write.full = true;
        this.#full(true);
      })
      .finally(() => {
        this.#makingRoom = false;
      });
    context.background(made.then(() => this.#primary.progress()));
    return true;
  }

  /** Tells of the end of the space, and of its return: the application sees no more than an I/O error. */
  #full(full: boolean): void {
    if (this.#isFull === full) return;
    this.#isFull = full;
    this.#primary.context.events.log(
      full ? 'error' : 'info',
      full ? 'no space left for writes' : 'space for writes again',
      {},
    );
  }

  get draining(): boolean {
    return this.#drainer !== undefined;
  }

  /** Stops ordering, for one at a time; true when nothing is in flight. */
  drain(drainer: object): boolean {
    this.#drainer ??= drainer;
    if (this.#drainer !== drainer) return false;
    if (this.#internal.length > 0) return false;
    return this.#primary.flights.count === 0 && this.#committed === this.#primary.context.store.last.sequence;
  }

  resume(drainer: object): void {
    if (this.#drainer === drainer) this.#drainer = undefined;
  }

  /** The primary is no more: what was not ordered never will be. */
  stop(): void {
    this.#forSpace?.cancel();
    this.#internal.length = 0;
    for (const { batch } of this.#queue.splice(0)) release(batch);
  }

  tick(now: number): void {
    if (this.#enoughCopies) this.#shortSince = undefined;
    else this.#shortSince ??= now;
  }

  advance(): void {
    this.#commit();
    this.#admit();
    this.#finishDurable();
  }

  #admit(): void {
    const { settings, store } = this.#primary.context;
    const { flights, record } = this.#primary;
    this.#orderInternals();
    const group = new WriteGroup();
    let taken = 0;
    while (taken < this.#queue.length) {
      const next = this.#queue[taken]!;
      if (next.wanted()) {
        if (!this.#primary.established || this.draining) break;
        if (record.readOnly) {
          next.done('read-only');
        } else {
          if (flights.writes + group.count >= settings.maxInFlightWrites) break;
          if (flights.bytes + group.payloadBytes >= settings.maxInFlightBytes) break;
          if (this.#waitsForSpace(next)) break;
          if (next.changes === undefined) {
            // What is ahead of it has to be in the index by then.
            this.#order(group.take());
            this.#examine(next);
            break;
          }
          if (!next.changes) {
            // Takes no order; still only a primary with its leases may say so.
            this.#flushes.push({ sequence: 0 as Sequence, done: next.done });
          } else if (next.full) {
            next.done('no-space');
          } else {
            if (
              !group.fits(next) ||
              !store.hasRoom(group.entries + entryCount(next.batch), group.payloadBytes + next.batch.payload.length)
            ) {
              this.#order(group.take());
            }
            if (this.#lacksRoom(next)) break;
            group.add(next);
          }
        }
      }
      this.#queuedBytes -= next.batch.payload.length;
      taken++;
    }
    this.#order(group.take());
    if (taken === 0) return;
    // Those that were ordered are held by their flight.
    for (const { batch } of this.#queue.splice(0, taken)) release(batch);
    this.#commit();
  }

  /** While space is short, payload is ordered no faster than the store asks for. */
  #waitsForSpace({ batch }: Queued): boolean {
    const { context } = this.#primary;
    const delayMs = batch.payload.length > 0 ? context.store.appendDelayMs : 0;
    if (delayMs <= 0) return false;
    this.#forSpace ??= context.clock.after(delayMs, () => {
      this.#forSpace = undefined;
      context.guard(() => this.#primary.progress());
    });
    return true;
  }

  /** All of them as one batch of the log. */
  #order(group: readonly Orderable[]): void {
    const [oldest] = group;
    if (oldest === undefined) return;
    const { context, flights, epoch } = this.#primary;
    const { store } = context;
    const first = (store.last.sequence + 1) as Sequence;
    const batch = joinBatches(group.map((write) => write.batch));
    store.append({ epoch, firstSequence: first, batch });
    const last = (first + entryCount(batch) - 1) as Sequence;
    invariant(store.last.sequence === last, 'I7', () => `log ends at ${store.last.sequence} after ${first}–${last}`);
    const done = group.map((write) => write.done);
    flights.push({ first, last, epoch, orderedAt: context.clock.now(), batch, durable: oldest.durable, done });
    // Its own copy confirms like any other: when the end of this process would lose nothing of it.
    const written = store.written().then(() => {
      if (last > this.#written) this.#written = last;
      this.#primary.progress();
    });
    context.background(written);
    for (const stream of this.#primary.streams.values()) stream.pump();
  }

  /**
   * Trims and zeroes of blocks that were never written take no order. Only the head of the queue is examined, which
   * everything behind it waits for: nothing comes to be written between the answer and its turn.
   */
  #examine(head: Queued): void {
    if (this.#examined === head) return;
    this.#examined = head;
    const examined = writtenOf(this.#primary.context.store, head.batch).then((written) => {
      if (this.#examined === head) this.#examined = undefined;
      // Its session, or this primary, may be over.
      if (this.#queue[0] !== head) return;
      head.changes = written !== undefined;
      if (written !== undefined && written !== head.batch) {
        release(head.batch);
        head.batch = written;
      }
      this.#primary.progress();
    });
    this.#primary.context.background(examined);
  }

  #commit(): void {
    const { flights, members, context } = this.#primary;
    if (flights.count === 0 || !this.#primary.ready) return;
    let replicated = this.#written;
    for (const member of members) if (member.acked < replicated) replicated = member.acked;
    for (let flight = flights.oldest; flight !== undefined && flight.last <= replicated; flight = flights.oldest) {
      invariant(flight.first === this.#committed + 1, 'I1', () => `commits ${flight?.first} after ${this.#committed}`);
      flights.shift();
      this.#primary.pace.committed(context.clock.now() - flight.orderedAt);
      this.#committed = flight.last;
      if (flight.durable) this.#awaitingDurable.push(flight);
      else this.#acknowledge(flight);
    }
  }

  #acknowledge(flight: Flight): void {
    const { record, context } = this.#primary;
    context.nodeLoad.requests += flight.done.length;
    if (!record.readOnly) context.counters.writesAcknowledged += flight.done.length;
    for (const done of flight.done) done(record.readOnly ? 'read-only' : 'ok');
  }

  #finishDurable(): void {
    const { context } = this.#primary;
    // A read that waits for the disks has to ask for them: perhaps nobody writes or flushes any more.
    let wanted = this.#writeThrough ? Math.min(this.#primary.reads.newest, this.#committed) : 0;
    if (this.#awaitingDurable.length === 0 && this.#flushes.length === 0 && wanted === 0) return;
    wanted = Math.max(wanted, this.#awaitingDurable.at(-1)?.last ?? 0);
    for (const flush of this.#flushes) if (flush.sequence > wanted) wanted = flush.sequence;
    this.#wantDurable(wanted as Sequence);
    if (!this.#primary.ready) return;
    const durable = this.#durableEverywhere();
    while (this.#awaitingDurable.length > 0 && this.#awaitingDurable[0]!.last <= durable) {
      this.#acknowledge(this.#awaitingDurable.shift()!);
    }
    if (this.#flushes.length === 0) return;
    const done = this.#flushes.filter((flush) => flush.sequence <= durable);
    if (done.length === 0) return;
    this.#flushes = this.#flushes.filter((flush) => flush.sequence > durable);
    for (const flush of done) {
      context.counters.flushesServed++;
      flush.done('ok');
    }
  }

  #durableEverywhere(): Sequence {
    let durable = this.#primary.context.store.durable;
    for (const member of this.#primary.members) if (member.durable < durable) durable = member.durable;
    return durable;
  }

  #wantDurable(sequence: Sequence): void {
    const { context } = this.#primary;
    for (const member of this.#primary.members) member.wantDurable(sequence);
    if (sequence <= context.store.durable || this.#ownFlush) return;
    this.#ownFlush = true;
    const flushed = context.store.flush().then(() => {
      this.#ownFlush = false;
      this.#primary.progress();
    });
    context.background(flushed);
  }
}
