/**
 * Delta syncs at their source, the primary: everything newer than the target's base and everything that is
 * dead there, as stored, while live writes go to the target from the first moment (design/replication.md,
 * "Delta sync"). The cost is in proportion to what changed.
 */

import {
  type Backfilled,
  type IoStatus,
  type MemberMessage,
  type SyncDeadBlocks,
  type SyncFinished,
  type SyncProgress,
  type SyncReady,
  VERSION_WITH_MENDING,
} from '../messages.js';
import type { StoredBlocks } from '../ports.js';
import { KIND_ZERO } from '../record.js';
import type { BlockNumber, DeploymentId, Epoch, Sequence } from '../types.js';
import { blocksPerBatch, generationBatch } from './batches.js';
import { ReplicationError } from './context.js';
import { type Intact, readIntact, withLost } from './damage.js';
import { PeerStream } from './peer-stream.js';
import type { Primary } from './primary.js';
import { addTarget } from './sync-join.js';

type Answer = SyncReady | SyncDeadBlocks | Backfilled | SyncFinished;

interface Waiting {
  readonly type: Answer['type'];
  readonly number: number | undefined;
  readonly since: number;
  readonly resolve: (answer: Answer) => void;
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
  progress: SyncProgress;
  error: ReplicationError | undefined;
  #abort: (error: ReplicationError) => void = () => {};
  readonly #aborted: Promise<never>;
  #waiting: Waiting[] = [];
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
    this.#aborted = new Promise((_, reject) => {
      this.#abort = reject;
    });
    this.#aborted.catch(() => {});
    const startedAtMs = primary.context.clock.now();
    this.progress = { target, kind: 'delta', blocksTotal: 0, blocksDone: 0, bytesCopied: 0, startedAtMs };
    this.done = this.#run();
    this.done.catch(() => {});
  }

  abort(error: ReplicationError): void {
    if (this.error !== undefined) return;
    this.error = error;
    this.#waiting = [];
    this.#abort(error);
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
    await this.#copy(ready, streamAfter.sequence);
    await addTarget(this);
    return this.progress;
  }

  async #orderGeneration(): Promise<void> {
    const { writes, context } = this.primary;
    const order = (): Promise<IoStatus> =>
      new Promise((resolve) => {
        writes.orderInternal(generationBatch(context.store.generation), resolve);
        this.primary.progress();
      });
    const status = await this.untilNot(() => !this.primary.established || writes.draining, order);
    if (status === 'no-space') throw new ReplicationError('invalid-state', 'the primary has no space left');
  }

  async #copy(ready: SyncReady, streamAfter: Sequence): Promise<void> {
    const { store } = this.primary.context;
    const after = ready.base.sequence;
    const full = after === 0;
    this.#note({ kind: full ? 'full' : 'delta', blocksTotal: (await this.#count(after)) + ready.dead.length });
    if (this.#zeroesFirst) await this.#eachNewer(after, (blocks) => this.#sendZeroes(blocks, streamAfter));
    let dead: { readonly dead: readonly BlockNumber[]; readonly nextDead?: BlockNumber } = ready;
    for (;;) {
      const known = dead.dead.filter((block) => block < store.state.blocks);
      await this.#send(known, Number.POSITIVE_INFINITY);
      if (dead.nextDead === undefined) break;
      const from = dead.nextDead;
      dead = await this.untilNot(
        () => !this.stream.current,
        () => this.#askDead(from),
      );
      this.#note({ blocksTotal: this.progress.blocksTotal + dead.dead.length });
    }
    await this.#eachNewer(after, (blocks) => this.#send(blocks, streamAfter));
  }

  async #eachNewer(after: Sequence, use: (blocks: readonly BlockNumber[]) => Promise<void>): Promise<void> {
    const { store } = this.primary.context;
    const chunk = 4 * blocksPerBatch(store.state.blockSize);
    for (let from = 0 as BlockNumber; ; ) {
      const blocks = await this.orAborted(store.newerThan(after, from, chunk));
      await use(blocks);
      const last = blocks[blocks.length - 1];
      if (last === undefined || blocks.length < chunk) break;
      from = (last + 1) as BlockNumber;
    }
  }

  /** Of these blocks, those that are zeroes; they are sent once more among all, which changes nothing then. */
  async #sendZeroes(blocks: readonly BlockNumber[], liveAfter: number): Promise<void> {
    const { store } = this.primary.context;
    const zeroes = await this.orAborted(
      store.look(blocks, (lookup) => blocks.filter((block) => lookup(block)?.kind === KIND_ZERO)),
    );
    const { blocksDone } = this.progress;
    await this.#send(zeroes, liveAfter);
    this.#note({ blocksDone });
  }

  #askDead(from: BlockNumber): Promise<SyncDeadBlocks> {
    const answer = this.#answer('sync-dead-blocks');
    this.primary.context.send(this.target, { type: 'sync-dead', ...this.#header(), from });
    return answer;
  }

  async #count(after: Sequence): Promise<number> {
    const { store } = this.primary.context;
    const chunk = 65_536;
    let count = 0;
    for (let from = 0 as BlockNumber; ; ) {
      const blocks = await this.orAborted(store.newerThan(after, from, chunk));
      count += blocks.length;
      const last = blocks[blocks.length - 1];
      if (last === undefined || blocks.length < chunk) return count;
      from = (last + 1) as BlockNumber;
      // Other work goes on in between.
      await this.#pause(0);
    }
  }

  #pause(ms: number): Promise<void> {
    return this.orAborted(
      new Promise((resolve) => {
        this.primary.context.clock.after(ms, resolve);
      }),
    );
  }

  #outstanding: Promise<void>[] = [];
  #backfills = 0;

  /** Sends these blocks; those that changed behind `liveAfter` come with the stream anyway. */
  async #send(blocks: readonly BlockNumber[], liveAfter: number): Promise<void> {
    const { context } = this.primary;
    const { store, settings } = context;
    const chunk = blocksPerBatch(store.state.blockSize);
    for (let at = 0; at < blocks.length; at += chunk) {
      const part = blocks.slice(at, at + chunk);
      const wanted = await this.orAborted(
        store.look(part, (lookup) => part.filter((block) => (lookup(block)?.order.sequence ?? 0) <= liveAfter)),
      );
      if (wanted.length > 0) {
        const stored = await this.orAborted(this.#read(wanted));
        const waitMs = this.primary.pace.take(stored.batch.entries.length + stored.batch.payload.length);
        if (waitMs > 0) await this.#pause(waitMs);
        await this.untilNot(
          () => !this.stream.current,
          () => this.#backfill(stored),
        );
        if (this.#outstanding.length >= settings.backfillWindow) await this.#outstanding.shift();
      }
      this.#note({ blocksDone: this.progress.blocksDone + part.length });
    }
    for (const answered of this.#outstanding.splice(0)) await answered;
  }

  #backfill(stored: StoredBlocks): void {
    const { context } = this.primary;
    const bytes = stored.batch.payload.length;
    const number = ++this.#backfills;
    const answered = this.#answer('backfilled', number).then(() => {
      this.#note({ bytesCopied: this.progress.bytesCopied + bytes });
    });
    answered.catch(() => {});
    this.#outstanding.push(answered);
    context.send(this.target, { type: 'backfill', ...this.#header(), number, ...stored });
    context.counters.backfilledBytes += bytes;
  }

  /** As stored; what neither a member nor the target can read, as lost. */
  async #read(blocks: readonly BlockNumber[]): Promise<StoredBlocks> {
    const { context, healing } = this.primary;
    let found = await readIntact(context.store, blocks);
    for (let attempt = 0; found.bad.length > 0 && attempt < context.settings.healAttempts; attempt++) {
      const healed = await healing.heal(found.bad, this.stream);
      found = await readIntact(context.store, blocks);
      if (!healed) break;
    }
    return found.bad.length > 0 ? this.#giveUp(found) : found.stored;
  }

  #giveUp(found: Intact): StoredBlocks {
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
    return withLost(found);
  }

  #note(change: Partial<SyncProgress>): void {
    this.progress = { ...this.progress, ...change };
    this.#report(this.progress);
  }

  #header() {
    return { epoch: this.primary.epoch, incarnation: this.stream.incarnation!, sync: this.number };
  }

  /** The next answer of this kind. */
  #answer<T extends Answer['type']>(type: T, number?: number): Promise<Extract<Answer, { type: T }>> {
    return this.orAborted(
      new Promise((resolve) => {
        const since = this.primary.context.clock.now();
        this.#waiting.push({ type, number, since, resolve: resolve as (answer: Answer) => void });
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
    promise.catch(() => {});
    return Promise.race([promise, this.#aborted]);
  }

  /**
   * Waits while `busy`, for as long as a sync may go without an answer. `act` runs in the same turn as the last
   * look: whoever awaits comes later, and a swap or a deposition may have come in between.
   */
  async untilNot<T>(busy: () => boolean, act: () => T | Promise<T>): Promise<T> {
    const { clock, settings } = this.primary.context;
    const until = clock.now() + settings.syncTimeoutMs;
    while (busy()) {
      if (clock.now() > until) throw new ReplicationError('target-lost', 'the sync made no progress');
      await this.#pause(settings.tickMs);
    }
    if (this.error !== undefined) throw this.error;
    return this.orAborted(Promise.resolve(act()));
  }

  onAnswer(message: Answer): void {
    const i = this.#waiting.findIndex(
      (waiting) =>
        waiting.type === message.type &&
        (waiting.number === undefined || (message.type === 'backfilled' && waiting.number === message.number)),
    );
    const [waiting] = i < 0 ? [] : this.#waiting.splice(i, 1);
    waiting?.resolve(message);
  }

  tick(now: number): void {
    const oldest = this.#waiting[0];
    if (oldest !== undefined && now - oldest.since > this.primary.context.settings.syncTimeoutMs) {
      this.abort(new ReplicationError('target-lost', `no answer to ${oldest.type} in time`));
    }
  }
}

export class SyncSources {
  readonly #primary: Primary;
  readonly #syncs = new Map<DeploymentId, SyncSource>();
  #number = 0;
  /** Targets whose last sync ended as they had no space. */
  readonly #short = new Set<DeploymentId>();

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  start(target: DeploymentId, report: (progress: SyncProgress) => void): SyncSource {
    const { context, record, streams } = this.#primary;
    if (!this.#primary.ready)
      throw new ReplicationError('not-primary', 'this deployment does not serve the volume now');
    if (record.inSync.includes(target)) throw new ReplicationError('invalid-state', `${target} is in sync already`);
    if (this.#syncs.has(target) || streams.has(target)) {
      throw new ReplicationError('invalid-state', `a sync of ${target} is under way`);
    }
    const node = context.nodeOf(target);
    if (node === undefined || !context.links.isUp(node)) {
      throw new ReplicationError('target-lost', `no connection to the node of ${target}`);
    }
    const sync = new SyncSource(this.#primary, target, ++this.#number, this.#short.has(target), report);
    this.#syncs.set(target, sync);
    streams.set(target, sync.stream);
    const end = (): void => {
      this.#syncs.delete(target);
      // A target that has become a member stays; so does one whose swap is under way [7].
      if (sync.stream.target && streams.get(target) === sync.stream) streams.delete(target);
    };
    sync.done.then(
      () => {
        end();
        this.#short.delete(target);
        context.counters.syncsCompleted++;
        this.#primary.healing.memberJoined();
        context.events.attention('in-sync');
      },
      (error: unknown) => {
        end();
        if (sync.stream.failure === 'no-space') this.#short.add(target);
        if (!(error instanceof ReplicationError)) context.fail(error);
      },
    );
    return sync;
  }

  progress(): SyncProgress | undefined {
    for (const sync of this.#syncs.values()) return sync.progress;
    return undefined;
  }

  abort(target: DeploymentId, error: ReplicationError): void {
    this.#syncs.get(target)?.abort(error);
  }

  abortAll(error: ReplicationError): void {
    for (const sync of [...this.#syncs.values()]) sync.abort(error);
  }

  onMessage(from: DeploymentId, message: Extract<MemberMessage, Answer>): void {
    const sync = this.#syncs.get(from);
    // Every primary counts its syncs from 1: an answer to a former one has an older epoch.
    if (sync === undefined || sync.number !== message.sync || message.epoch < sync.epoch) return;
    if (sync.stream.incarnation !== undefined && sync.stream.incarnation !== message.incarnation) return;
    sync.onAnswer(message);
  }

  /** The targets' streams have failed: so have their syncs. */
  advance(): void {
    for (const sync of [...this.#syncs.values()]) {
      if (sync.stream.target && sync.stream.state === 'failed') {
        const lost = sync.stream.failure === 'link-down' || sync.stream.failure === 'no-answer';
        const code = lost || sync.stream.failure === 'unreachable' ? 'target-lost' : 'target-refused';
        sync.abort(new ReplicationError(code, `the target's stream failed: ${sync.stream.failure}`));
      }
    }
  }

  tick(now: number): void {
    for (const sync of [...this.#syncs.values()]) sync.tick(now);
  }
}
