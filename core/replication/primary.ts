/**
 * The primary of a volume, from the record that names it to the moment that it is deposed.
 *
 * I1 A write is acknowledged only when all of `members` have it: everybody in the record's `inSync`, and a
 *    target from the moment its swap is issued [7]; somebody who is being removed until the swap has succeeded.
 * I3 Nothing is acknowledged in an epoch that this deployment and all members have not made durable.
 * [2] Only the incarnation that the record names gets here.
 */

import type { Membership, OutOfSync } from '../domain.js';
import { releaseMember, removeMembers, sameMembership, setReadOnly } from '../membership.js';
import type { DeploymentStatus, MemberMessage, PromiseEpoch } from '../messages.js';
import { invariant, type Timer } from '../ports.js';
import type { DeploymentId, Epoch, NodeId } from '../types.js';
import { type Context, ReplicationError } from './context.js';
import { Healing } from './healing.js';
import { InFlight } from './in-flight.js';
import { Opening } from './opening.js';
import { PeerStream, type StreamOwner } from './peer-stream.js';
import { Reads } from './reads.js';
import { Sessions } from './sessions.js';
import { SyncPace } from './sync-pace.js';
import { SyncSources } from './sync-sources.js';
import { Writes } from './writes.js';

interface Change {
  readonly expected: Membership;
  readonly next: Membership;
  readonly settled: (applied: boolean) => void;
}

/** What is under way, bounded by `maxInFlightWrites`, `maxInFlightBytes` and `maxUnconfirmedBytes`. */
export interface PrimaryLoad {
  readonly inFlightWrites: number;
  readonly inFlightBytes: number;
  /** To the copy that has most. */
  readonly unconfirmedBytes: number;
}

export interface PrimaryHost {
  /** A record was read, or a swap of this primary has taken effect. */
  observe(record: Membership | undefined): void;
  /** Nothing older than this epoch is accepted from now on [I3]. */
  promising(epoch: Epoch): void;
  /** This primary is no more; it has stopped already. */
  steppedDown(): void;
}

export class Primary implements StreamOwner {
  readonly context: Context;
  readonly flights = new InFlight();
  readonly writes: Writes;
  readonly reads: Reads;
  readonly healing: Healing;
  readonly sessions: Sessions;
  readonly syncs: SyncSources;
  readonly pace: SyncPace;
  readonly #opening: Opening;
  readonly #host: PrimaryHost;
  /** The record that it acts under; known to be committed in etcd. */
  record: Membership;
  /** The other copies: members and targets of syncs. */
  readonly streams = new Map<DeploymentId, PeerStream>();
  /** Those among them whose confirmation every write needs. */
  members: PeerStream[] = [];
  #ownEpoch = 0 as Epoch;
  #change: Change | undefined;
  #timer: Timer | undefined;
  #stopped = false;
  #inProgress = false;
  #again = false;
  #progressDue = false;

  /** `oldLeasesEnd`: until then an earlier primary may hold leases that this deployment granted. */
  constructor(context: Context, host: PrimaryHost, record: Membership, oldLeasesEnd: number) {
    this.context = context;
    this.#host = host;
    this.record = record;
    this.writes = new Writes(this);
    this.reads = new Reads(this);
    this.healing = new Healing(this);
    this.sessions = new Sessions(this);
    this.syncs = new SyncSources(this);
    this.pace = new SyncPace(() => context.clock.now(), context.settings, context.nodeLoad);
    this.#opening = new Opening(this, oldLeasesEnd);
  }

  start(): void {
    const { self, store } = this.context;
    invariant(!this.record.active, 'I2', () => `epoch ${this.record.epoch} is active already`);
    invariant(this.record.inSync.includes(self.deployment), 'I2', () => 'named, but not in sync');
    invariant(store.incarnation === this.record.primary.incarnation, 'R2', () => 'another incarnation is named');
    this.#adopt(this.record);
    this.#tick();
  }

  get epoch(): Epoch {
    return this.record.epoch;
  }

  get stopped(): boolean {
    return this.#stopped || this.context.halted;
  }

  /** Its own promise of the present epoch is durable. */
  get established(): boolean {
    return this.#ownEpoch === this.record.epoch;
  }

  /** Whether a swap is under way whose outcome is not known yet. */
  get changing(): boolean {
    return this.#change !== undefined;
  }

  /**
   * Whether reads may be answered and writes acknowledged: activated, the epoch durable on every member, and
   * a lease of each [16].
   */
  get ready(): boolean {
    if (this.stopped || !this.record.active || !this.established) return false;
    const now = this.context.clock.now();
    for (const member of this.members) if (!member.current || member.leaseUntil <= now) return false;
    return true;
  }

  status(): Pick<DeploymentStatus, 'role' | 'serving' | 'sync'> {
    const sync = this.syncs.progress();
    return {
      role: this.record.active ? 'primary' : 'opening',
      serving: this.ready,
      ...(sync === undefined ? {} : { sync }),
    };
  }

  get load(): PrimaryLoad {
    const { writes, bytes } = this.flights;
    const unconfirmed = [...this.streams.values()].map((stream) => stream.unconfirmedBytes);
    return { inFlightWrites: writes, inFlightBytes: bytes, unconfirmedBytes: Math.max(0, ...unconfirmed) };
  }

  greeting(): PromiseEpoch {
    const { store } = this.context;
    return {
      type: 'promise',
      epoch: this.record.epoch,
      history: this.record.history,
      primaryIncarnation: store.incarnation,
      etcdClusterId: store.state.etcdClusterId,
    };
  }

  /** Acts under `record` from now on. */
  #adopt(record: Membership): void {
    const { self, store } = this.context;
    const { unclean, syncBase } = store.state;
    const chosenFlawed = record.active && !this.record.active && (unclean || syncBase !== null);
    const begun = record.history.at(-1);
    const { last } = store;
    invariant(
      !record.active || begun === undefined || begun.epoch <= last.epoch || begun.startsAfter >= last.sequence,
      'R3',
      () =>
        `writes behind ${begun?.startsAfter} are dead by epoch ${begun?.epoch}, though its primary has ordered them`,
    );
    this.record = record;
    for (const [deployment, stream] of this.streams) {
      if (!stream.target && !record.inSync.includes(deployment)) this.streams.delete(deployment);
    }
    for (const deployment of record.inSync) {
      if (deployment === self.deployment) continue;
      if (!this.streams.has(deployment)) this.streams.set(deployment, new PeerStream(this, deployment));
    }
    this.#listMembers();
    const { epoch, history } = record;
    this.#host.promising(epoch);
    // The mark goes when the deployment was activated as the chosen unclean primary [9], [11]; so does the base of an
    // incomplete one, which an operator has chosen: what it lacks, nobody has any more.
    const patch = chosenFlawed
      ? { promised: epoch, history, unclean: false, syncBase: null, syncRegions: [] }
      : { promised: epoch, history };
    const durable = store.update(patch).then(() => {
      if (this.stopped || this.record !== record) return;
      this.#ownEpoch = epoch;
      this.progress();
    });
    this.context.background(durable);
    for (const stream of this.streams.values()) stream.greet();
    this.progress();
  }

  #listMembers(): void {
    this.members = [...this.streams.values()].filter((stream) => !stream.target);
  }

  /** From the issue of the swap that adds it, every write needs the target too [7]. */
  countAsMember(stream: PeerStream): void {
    stream.target = false;
    this.#listMembers();
  }

  /**
   * Puts `next` in place of the present record. Resolves when the outcome is definite: true, it is in place;
   * false, this primary is deposed. An unknown outcome leaves things as both outcomes demand, and the same
   * swap is tried again.
   */
  swap(next: Membership): Promise<boolean> {
    invariant(this.#change === undefined, 'I1', () => 'two swaps at the same time');
    invariant(next.inSync.includes(this.context.self.deployment), 'I4', () => 'a primary that leaves itself');
    return new Promise((settled) => {
      const change: Change = { expected: this.record, next, settled };
      this.#change = change;
      this.context.background(this.#swapUntilDefinite(change));
    });
  }

  async #swapUntilDefinite(change: Change): Promise<void> {
    const { memberships, settings, clock, self, events } = this.context;
    while (!this.stopped && this.#change === change) {
      const outcome = await memberships.swap(change.expected, change.next).catch(() => 'unknown' as const);
      if (this.stopped || this.#change !== change) return;
      if (outcome === 'applied') {
        this.#host.observe(change.next);
        return;
      }
      if (outcome === 'conflict') {
        const record = await memberships.read(self.volume).catch(() => null);
        if (this.stopped || this.#change !== change) return;
        if (record === undefined || (record !== null && record.epoch > change.expected.epoch)) {
          this.#host.observe(record);
          return;
        }
        if (record !== null) {
          events.log('error', 'etcd holds an older membership record than this primary acts under', {
            epoch: change.expected.epoch,
            found: record.epoch,
          });
        }
      }
      await new Promise<void>((resolve) => {
        clock.after(settings.swapRetryMs, resolve);
      });
    }
  }

  /** The newest record; also the outcome of its own swap. Called only with epochs above the present one. */
  onRecord(record: Membership): void {
    if (this.stopped) return;
    const change = this.#change;
    if (change === undefined || !sameMembership(record, change.next)) {
      this.stepDown();
      return;
    }
    this.#change = undefined;
    const opened = !this.record.active && record.active;
    if (opened) this.#opening.check(record);
    this.#tellOfWrites(this.record, record);
    this.#adopt(record);
    change.settled(true);
    if (opened) {
      this.context.counters.activations++;
      this.context.events.attention('activated');
    }
    this.progress();
  }

  /** Without this, all that anybody sees of it are I/O errors. */
  #tellOfWrites(before: Membership, { readOnly, inSync }: Membership): void {
    if (before.readOnly === readOnly) return;
    const { spec, events } = this.context;
    const copies = { failureMode: spec?.failureMode, replicas: spec?.replicas, ready: inSync.length - 1 };
    if (readOnly) events.log('warn', 'writes are refused: too few copies for the failure mode', copies);
    else events.log('info', 'writes are taken again: enough copies for the failure mode', copies);
  }

  superseded(epoch: Epoch): void {
    this.context.events.log('info', 'deposed: a member has promised a higher epoch', {
      epoch: this.record.epoch,
      higher: epoch,
    });
    this.stepDown();
  }

  /** No more of it: unanswered requests stay unanswered, frontends look for the new primary. */
  stepDown(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#timer?.cancel();
    this.sessions.rejectAll();
    this.syncs.abortAll(new ReplicationError('not-primary', 'this deployment is no longer the primary'));
    this.healing.stop();
    this.writes.stop();
    this.reads.stop();
    this.flights.clear();
    this.#change?.settled(false);
    this.#change = undefined;
    this.#host.steppedDown();
  }

  onMessage(from: DeploymentId, message: MemberMessage): void {
    const stream = this.streams.get(from);
    switch (message.type) {
      case 'fetched':
        this.healing.onFetched(from, message);
        return;
      case 'mend':
        this.context.background(this.healing.mend(from, message));
        return;
      case 'sync-ready':
      case 'sync-dead-blocks':
      case 'backfilled':
      case 'sync-marked':
      case 'sync-finished':
        this.syncs.onMessage(from, message);
        return;
      case 'promised':
        stream?.onPromised(message);
        return;
      case 'appended':
        stream?.onAppended(message);
        return;
      case 'flushed':
        stream?.onFlushed(message);
        return;
      case 'leased':
        stream?.onLeased(message);
        return;
      case 'refused':
        stream?.onRefused(message);
        return;
    }
  }

  onPeerUp(node: NodeId): void {
    for (const stream of this.#on(node)) stream.onLinkUp();
    const { spec, events } = this.context;
    const returned = spec?.placements.some(
      (placement) => placement.node === node && !this.record.inSync.includes(placement.deployment),
    );
    if (returned && this.record.active) events.attention('target-needed');
    this.progress();
  }

  onPeerDown(node: NodeId): void {
    for (const stream of this.#on(node)) {
      stream.onLinkDown();
      this.healing.onLinkDown(stream.deployment);
    }
    this.progress();
  }

  #on(node: NodeId): PeerStream[] {
    return [...this.streams.values()].filter((stream) => this.context.nodeOf(stream.deployment) === node);
  }

  #tick(): void {
    this.context.guard(() => {
      if (this.stopped) return;
      const now = this.context.clock.now();
      for (const stream of [...this.streams.values()]) stream.tick(now);
      this.syncs.tick(now);
      this.writes.tick(now);
      this.progress();
      if (!this.stopped) this.#timer = this.context.clock.after(this.context.settings.tickMs, () => this.#tick());
    });
  }

  /** Something was confirmed, has failed, or has changed: everything that this makes possible is done. */
  progress(): void {
    this.#again = true;
    if (this.#inProgress) return;
    this.#inProgress = true;
    try {
      while (this.#again && !this.stopped) {
        this.#again = false;
        if (!this.record.active) {
          this.#opening.advance();
        } else {
          this.writes.advance();
          this.reads.advance();
          this.healing.advance();
          this.sessions.advance();
          this.syncs.advance();
          this.#reviewMembers();
        }
      }
    } finally {
      this.#inProgress = false;
    }
  }

  /** `progress`, once for everything that comes in the same turn: what comes together is done together. */
  progressSoon(): void {
    if (this.#progressDue) return;
    this.#progressDue = true;
    queueMicrotask(() => {
      this.#progressDue = false;
      this.context.guard(() => this.progress());
    });
  }

  #reviewMembers(): void {
    if (this.#change !== undefined || !this.established) return;
    if (this.members.some((member) => member.failure === 'wrong-cluster')) return;
    if (this.members.some((member) => member.failure !== undefined)) {
      const since = this.context.clock.timestamp();
      const failed = this.members.flatMap((member): OutOfSync[] =>
        member.failure === undefined ? [] : [{ deployment: member.deployment, reason: member.failure, since }],
      );
      this.context.background(this.#remove(failed));
    } else if (this.writes.readOnlyDue !== this.record.readOnly) {
      const { readOnlyDue } = this.writes;
      const swapped = this.swap(setReadOnly(this.record, readOnlyDue)).then((applied) => {
        if (applied && readOnlyDue) this.context.events.attention('read-only');
      });
      this.context.background(swapped);
    }
  }

  async #remove(left: readonly OutOfSync[]): Promise<void> {
    const { events, counters } = this.context;
    events.log('warn', 'removing members', { epoch: this.record.epoch, members: left });
    if (!(await this.swap(removeMembers(this.record, left)))) return;
    counters.membersRemoved += left.length;
    events.attention('member-removed');
  }

  async #release(deployment: DeploymentId, complete: boolean): Promise<void> {
    if (await this.swap(releaseMember(this.record, deployment, complete))) this.context.counters.membersRemoved++;
  }

  /**
   * The workflow gives a copy up: a surplus one, or one on a node that is drained. Resolves when the copy is
   * neither in the set nor on its way into it [7]; then it may be erased. ReplicationError 'busy' if that takes
   * longer than `removalTimeoutMs`; what was begun goes on.
   */
  async removeMember(deployment: DeploymentId, reason: string): Promise<void> {
    const { clock, settings, self, events } = this.context;
    if (deployment === self.deployment) {
      throw new ReplicationError('invalid-state', 'the primary cannot be removed: fail over first');
    }
    const until = clock.now() + settings.removalTimeoutMs;
    while (!this.stopped) {
      const stream = this.streams.get(deployment);
      if (stream?.target) this.syncs.abort(deployment, new ReplicationError('cancelled', reason));
      const { record, context } = this;
      const staying = record.inSync.filter((member) => member !== deployment).length;
      const complete = context.spec !== undefined && staying > context.spec.replicas;
      const missed = complete && record.outOfSync.some((entry) => entry.deployment === deployment);
      // Also there: a target whose swap is under way.
      if (stream === undefined && !missed) return;
      if (clock.now() >= until) throw new ReplicationError('busy', `${deployment} cannot be removed at present`);
      if (record.active && this.established && !this.changing && (missed || record.inSync.includes(deployment))) {
        events.log('info', 'giving a copy up', { epoch: record.epoch, deployment, reason });
        context.background(this.#release(deployment, complete));
      }
      await new Promise<void>((resolve) => {
        clock.after(settings.tickMs, resolve);
      });
    }
    throw new ReplicationError('not-primary', 'this deployment is no longer the primary');
  }
}
