/**
 * Delta syncs at their source, the primary: everything newer than the target's base and everything that is
 * dead there, as stored, while live writes go to the target from the first moment (design/replication.md,
 * "Delta sync"). The cost is in proportion to what changed.
 */

import {
  type Backfilled,
  type IoStatus,
  type SyncDeadBlocks,
  type SyncFinished,
  type SyncMarked,
  type SyncProgress,
  type SyncReady,
  VERSION_WITH_MENDING,
} from '../messages.js';
import type { StoredBlocks, SyncedRegion, Timer } from '../ports.js';
import { release } from '../record.js';
import type { BlockNumber, DeploymentId, Epoch, Order } from '../types.js';
import { generationBatch } from './batches.js';
import { Cancellation } from './cancellation.js';
import { ReplicationError } from './context.js';
import { type Intact, readIntact, withLost } from './damage.js';
import { PeerStream } from './peer-stream.js';
import type { Primary } from './primary.js';
import { SyncCopy } from './sync-copy.js';
import { addTarget } from './sync-join.js';
import { SyncMeter } from './sync-meter.js';

export type SyncAnswer = SyncReady | SyncDeadBlocks | Backfilled | SyncMarked | SyncFinished;

interface Waiting {
  readonly type: SyncAnswer['type'];
  readonly number: number | undefined;
  readonly since: number;
  readonly resolve: (answer: SyncAnswer) => void;
}

/** One sync. Rejects `done` with a ReplicationError; what was copied is not lost, a new sync goes on. */
export class SyncSource {
  readonly primary: Primary;
  readonly target: DeploymentId;
  readonly number: number;
  /** The epoch in which it began. */
  readonly epoch: Epoch;
  readonly stream: PeerStream;
  readonly done: Promise<SyncProgress>;
  #progress: SyncProgress;
  readonly #meter = new SyncMeter();
  readonly #cancellation = new Cancellation();
  #waiting: Waiting[] = [];
  /** What the target has of regions, from earlier syncs. */
  #kept: readonly SyncedRegion[] = [];
  readonly #report: (progress: SyncProgress) => void;
  /** The target has lacked space: it gets what gives it some before it gets what takes some. */
  readonly #zeroesFirst: boolean;

  constructor(
    primary: Primary,
    target: DeploymentId,
    number: number,
    zeroesFirst: boolean,
    report: (progress: SyncProgress) => void,
  ) {
    this.primary = primary;
    this.target = target;
    this.number = number;
    this.#zeroesFirst = zeroesFirst;
    this.epoch = primary.epoch;
    this.#report = report;
    this.stream = new PeerStream(primary, target, true);
    const startedAtMs = primary.context.clock.now();
    this.#progress = {
      target,
      kind: 'delta',
      blocksTotal: 0,
      blocksDone: 0,
      bytesCopied: 0,
      blocksPerSecond: 0,
      bytesPerSecond: 0,
      startedAtMs,
    };
    this.done = this.#run();
    // What still goes on beside it ends with it, however it ends.
    this.done.then(
      () => this.abort(new ReplicationError('cancelled', 'the sync is done')),
      (error: unknown) => this.abort(error),
    );
  }

  get progress(): SyncProgress {
    const { blocksDone, bytesCopied } = this.#progress;
    return { ...this.#progress, ...this.#meter.measure(this.primary.context.clock.now(), blocksDone, bytesCopied) };
  }

  /** Why it has ended; undefined while it goes on. */
  get error(): unknown {
    return this.#cancellation.error;
  }

  abort(error: unknown): void {
    if (this.error !== undefined) return;
    this.#waiting = [];
    this.#cancellation.cancel(error);
  }

  async #run(): Promise<SyncProgress> {
    const { context, record } = this.primary;
    const { store } = context;
    const streamAfter = store.last;
    context.send(this.target, {
      type: 'sync-begin',
      epoch: record.epoch,
      history: record.history,
      primaryIncarnation: store.incarnation,
      etcdClusterId: store.state.etcdClusterId,
      sync: this.number,
      streamAfter,
      generation: store.generation,
    });
    const ready = await this.#answer('sync-ready');
    if (this.error !== undefined) throw this.error;
    if (ready.base.sequence > streamAfter.sequence) {
      throw new ReplicationError('target-refused', 'the target is ahead of its primary: is etcd an older one?');
    }
    this.stream.onSyncReady(ready, streamAfter.sequence);
    // The generation counts from its place in the log, which the target may not have seen [13].
    if (store.generation > 0) await this.#orderGeneration();
    await new SyncCopy(this, ready, this.#kept, streamAfter.sequence).run(this.#zeroesFirst);
    await addTarget(this);
    return this.progress;
  }

  async #orderGeneration(): Promise<void> {
    const { writes, context } = this.primary;
    const order = (): Promise<IoStatus> =>
      new Promise((resolve) => {
        // It is durable on the target by the time that this joins, which flushes.
        writes.orderInternal(generationBatch(context.store.generation), { durable: false }, resolve);
        this.primary.progress();
      });
    const status = await this.untilNot(() => !this.primary.established || writes.draining, order);
    if (status === 'no-space') throw new ReplicationError('invalid-state', 'the primary has no space left');
  }

  askDead(from: BlockNumber): Promise<SyncDeadBlocks> {
    return this.untilNot(
      () => !this.stream.current,
      () => {
        const answer = this.#answer('sync-dead-blocks');
        this.primary.context.send(this.target, { type: 'sync-dead', ...this.#header(), from });
        return answer;
      },
    );
  }

  /** Leaves no timer behind when the sync ends meanwhile. */
  async pause(ms: number): Promise<void> {
    let timer: Timer | undefined;
    const over = new Promise<void>((resolve) => {
      timer = this.primary.context.clock.after(ms, resolve);
    });
    try {
      await this.orAborted(over);
    } finally {
      timer?.cancel();
    }
  }

  /** Sends blocks, after which they are the connection's; resolves when the target has written them. */
  async backfill(number: number, stored: StoredBlocks): Promise<void> {
    const answer = this.#answer('backfilled', number);
    this.primary.context.send(this.target, { type: 'backfill', ...this.#header(), number, ...stored });
    await answer;
  }

  /** Resolves when the target remembers durably that everything below is there. One at a time. */
  async mark(below: BlockNumber): Promise<void> {
    if (this.error !== undefined) throw this.error;
    const answer = this.#answer('sync-marked');
    this.primary.context.send(this.target, { type: 'sync-mark', ...this.#header(), below });
    await answer;
  }

  /** As stored; what neither a member nor the target can read, as lost. The caller releases the batch, but not after an error. */
  async read(blocks: readonly BlockNumber[]): Promise<StoredBlocks> {
    const reading = this.#readHealing(blocks);
    try {
      return await this.orAborted(reading);
    } catch (error) {
      reading.then(
        ({ batch }) => release(batch),
        () => {},
      );
      throw error;
    }
  }

  async #readHealing(blocks: readonly BlockNumber[]): Promise<StoredBlocks> {
    const { context, healing } = this.primary;
    const { store, lendSpare, settings } = context;
    let { last } = store;
    let found = await readIntact(store, blocks, lendSpare);
    for (let attempt = 0; found.bad.length > 0 && attempt < settings.healAttempts; attempt++) {
      release(found.stored.batch);
      const healed = await healing.heal(found.bad, this.stream);
      last = store.last;
      found = await readIntact(store, blocks, lendSpare);
      if (!healed) break;
    }
    if (found.bad.length === 0) return found.stored;
    try {
      return this.#giveUp(found, last);
    } finally {
      release(found.stored.batch);
    }
  }

  #giveUp(found: Intact, last: Order): StoredBlocks {
    const { context } = this.primary;
    const node = context.nodeOf(this.target);
    if (node === undefined || context.links.version(node) < VERSION_WITH_MENDING) {
      const block = found.bad[0]?.block;
      const what = `no copy can read block ${block}, and ${this.target} has no notion of lost blocks: update its node`;
      throw new ReplicationError('bad-block', what);
    }
    context.counters.blocksLost += found.bad.length;
    context.events.log('error', 'a copy is brought up to date without blocks that nobody can read', {
      target: this.target,
      blocksLost: found.bad.length,
      blocks: found.bad.slice(0, 10).map(({ block }) => block),
    });
    return withLost(found, last);
  }

  note(change: Partial<SyncProgress>): void {
    this.#progress = { ...this.#progress, ...change };
    this.#report(this.progress);
  }

  #header() {
    return { epoch: this.primary.epoch, incarnation: this.stream.incarnation!, sync: this.number };
  }

  /** The next answer of this kind. */
  #answer<T extends SyncAnswer['type']>(type: T, number?: number): Promise<Extract<SyncAnswer, { type: T }>> {
    return this.orAborted(
      new Promise((resolve) => {
        const since = this.primary.context.clock.now();
        this.#waiting.push({ type, number, since, resolve: resolve as (answer: SyncAnswer) => void });
      }),
    );
  }

  /** Everything up to the target's end is flushed there, its base forgotten. One at a time: answers have no number. */
  async finish(): Promise<void> {
    const { last } = this.primary.context.store;
    const answer = this.#answer('sync-finished');
    this.primary.context.send(this.target, { type: 'sync-finish', ...this.#header(), last });
    await answer;
    this.stream.onSyncFinished(last.sequence);
  }

  orAborted<T>(promise: Promise<T>): Promise<T> {
    return this.#cancellation.wait(promise);
  }

  /**
   * Waits while `busy`, for as long as a sync may go without an answer. `act` runs in the same turn as the last
   * look: whoever awaits comes later, and a swap or a deposition may have come in between. It looks again soon, as
   * most that is waited for takes a round trip or a flush, and then ever more rarely.
   */
  async untilNot<T>(busy: () => boolean, act: () => T | Promise<T>): Promise<T> {
    const { clock, settings } = this.primary.context;
    const until = clock.now() + settings.syncTimeoutMs;
    for (let pauseMs = 1; busy(); pauseMs = Math.min(2 * pauseMs, settings.tickMs)) {
      if (clock.now() > until) throw new ReplicationError('target-lost', 'the sync made no progress');
      await this.pause(pauseMs);
    }
    if (this.error !== undefined) throw this.error;
    return this.orAborted(Promise.resolve(act()));
  }

  onAnswer(message: SyncAnswer): void {
    const i = this.#waiting.findIndex(
      (waiting) =>
        waiting.type === message.type &&
        (waiting.number === undefined || (message.type === 'backfilled' && waiting.number === message.number)),
    );
    const [waiting] = i < 0 ? [] : this.#waiting.splice(i, 1);
    if (waiting !== undefined) waiting.resolve(message);
    else if (message.type === 'sync-marked') this.#kept = message.regions;
  }

  tick(now: number): void {
    // A mark takes as long as the target's disk takes to flush, and nothing waits for it.
    const oldest = this.#waiting.find(({ type }) => type !== 'sync-marked');
    if (oldest !== undefined && now - oldest.since > this.primary.context.settings.syncTimeoutMs) {
      this.abort(new ReplicationError('target-lost', `no answer to ${oldest.type} in time`));
    }
  }
}
