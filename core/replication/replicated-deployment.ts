/**
 * One copy of a volume, with its part in replication: member, or primary while the membership record names
 * this incarnation of it. Everything from outside comes in here; the host (node-agent/replication) and the
 * simulator drive it alike.
 */

import type { Membership, Placement } from '../domain.js';
import type {
  DeploymentStatus,
  FrontendMessage,
  MemberMessage,
  OpenSession,
  PeerEnvelope,
  PeerMessage,
  PrimaryRequest,
  SyncProgress,
} from '../messages.js';
import type {
  Clock,
  DeploymentStore,
  IndexedBlock,
  MembershipStore,
  PeerLinks,
  Random,
  SessionLink,
} from '../ports.js';
import type { Batch, Lender } from '../record.js';
import type { DeploymentId, Epoch, NodeId, Sequence, VolumeId } from '../types.js';
import {
  type Context,
  newCounters,
  type ReplicationCounters,
  ReplicationError,
  type ReplicationEvents,
  type VolumeSpec,
} from './context.js';
import { behindOf, EtcdGap, type Known } from './etcd-gap.js';
import { Member } from './member.js';
import { Mending } from './mending.js';
import { NodeLoad } from './node-load.js';
import { Primary, type PrimaryHost, type PrimaryLoad } from './primary.js';
import { PrimaryWatch } from './primary-watch.js';
import { reject } from './sessions.js';
import type { ReplicationSettings } from './settings.js';
import { ADMIT_ALL, type SyncAdmission } from './sync-admission.js';

export type { AttentionReason, ReplicationCounters, ReplicationEvents, VolumeSpec } from './context.js';
export { ReplicationError, type ReplicationErrorCode } from './context.js';
export { DEFAULT_SETTINGS, type ReplicationSettings } from './settings.js';

export interface ReplicatedDeploymentOptions {
  readonly self: Placement & { readonly volume: VolumeId };
  /** Just opened; its incarnation is new. Stays the host's: `stop` does not close it. */
  readonly store: DeploymentStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly links: PeerLinks;
  readonly memberships: MembershipStore;
  readonly settings: ReplicationSettings;
  readonly events: ReplicationEvents;
  /** Whether all payloads match their checksums; asked of what comes from other copies and from frontends. */
  readonly verify?: (batch: Batch) => boolean;
  /** Which syncs this node takes in; absent: all. */
  readonly admission?: SyncAdmission;
  /** Shared by all deployments of a node; absent: one of its own, whose event loop is never late. */
  readonly nodeLoad?: NodeLoad;
  /** Of the etcd that this process talks to. */
  readonly etcdClusterId: string;
  /** Where payloads that are read for a frontend may be put; absent: ordinary memory. */
  readonly lend?: Lender;
  /** The same for those of syncs, which take what is to spare; absent: as `lend`. */
  readonly lendSpare?: Lender;
}

/** Deployments whose nodes are remembered beyond the present placements. */
const MAX_KNOWN_NODES = 64;

const MEMBER_MESSAGES: Record<MemberMessage['type'], true> = {
  promised: true,
  appended: true,
  flushed: true,
  leased: true,
  'sync-ready': true,
  'sync-dead-blocks': true,
  backfilled: true,
  'sync-marked': true,
  'sync-finished': true,
  fetched: true,
  refused: true,
  mend: true,
};

function isMemberMessage(message: PeerMessage): message is MemberMessage {
  return message.type in MEMBER_MESSAGES;
}

export class ReplicatedDeployment implements Context, PrimaryHost {
  readonly self: Placement & { readonly volume: VolumeId };
  readonly store: DeploymentStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly links: PeerLinks;
  readonly memberships: MembershipStore;
  readonly settings: ReplicationSettings;
  readonly events: ReplicationEvents;
  readonly verify: (batch: Batch) => boolean;
  readonly lend: Lender;
  readonly lendSpare: Lender;
  readonly admission: SyncAdmission;
  readonly nodeLoad: NodeLoad;
  readonly counters: ReplicationCounters = newCounters();
  spec: VolumeSpec | undefined;
  record: Membership | undefined;
  readonly #member: Member;
  readonly #mending: Mending;
  readonly #watch: PrimaryWatch;
  readonly #etcdGap: EtcdGap;
  readonly #etcdClusterId: string;
  #primary: Primary | undefined;
  #state: 'running' | 'failed' | 'stopped' = 'running';
  readonly #nodes = new Map<DeploymentId, NodeId>();
  /** The record before the newest one, if it was seen: says whose leases may still run. */
  #previous: Membership | undefined;

  constructor(options: ReplicatedDeploymentOptions) {
    this.self = options.self;
    this.store = options.store;
    this.clock = options.clock;
    this.random = options.random;
    this.links = options.links;
    this.memberships = options.memberships;
    this.settings = options.settings;
    this.events = options.events;
    this.verify = options.verify ?? (() => true);
    this.lend = options.lend ?? (() => undefined);
    this.lendSpare = options.lendSpare ?? this.lend;
    this.admission = options.admission ?? ADMIT_ALL;
    this.nodeLoad = options.nodeLoad ?? new NodeLoad(() => options.clock.now());
    this.#etcdClusterId = options.etcdClusterId;
    this.#etcdGap = new EtcdGap(() => this.clock.now(), this.settings.etcdBehindMs);
    this.#mending = new Mending(this);
    this.#watch = new PrimaryWatch(this, () => this.#primary !== undefined);
    this.#member = new Member(this, (blocks) => this.heal(blocks));
  }

  get halted(): boolean {
    return this.#state !== 'running';
  }

  /** Writes that the slowest copy in sync has not confirmed yet; undefined unless this one is the primary. */
  get lag(): number | undefined {
    const primary = this.#primary;
    if (primary === undefined) return undefined;
    const members = [...primary.streams.values()].filter(({ target, current }) => !target && current);
    const slowest = Math.min(this.store.last.sequence, ...members.map(({ acked }) => acked));
    return this.store.last.sequence - slowest;
  }

  /** Up to where writes count, and reads may show them [12]; undefined unless this one is the primary and has opened. */
  get committed(): Sequence | undefined {
    return this.#primary?.record.active === true ? this.#primary.writes.committed : undefined;
  }

  /** Undefined unless this one is the primary. */
  get load(): PrimaryLoad | undefined {
    return this.#primary?.load;
  }

  nodeOf(deployment: DeploymentId): NodeId | undefined {
    return this.#nodes.get(deployment);
  }

  send(to: DeploymentId, message: PeerMessage): void {
    const node = this.#nodes.get(to);
    if (node !== undefined) this.links.send({ deployment: to, node }, message);
  }

  guard(run: () => void): void {
    if (this.halted) return;
    try {
      run();
    } catch (error) {
      this.fail(error);
    }
  }

  background(promise: Promise<unknown>): void {
    promise.catch((error: unknown) => {
      if (!this.halted) this.fail(error);
    });
  }

  /** Final for this object: the host closes the store and opens it anew. */
  fail(error: unknown): void {
    if (this.halted) return;
    this.#state = 'failed';
    this.events.log('error', 'the deployment has failed and stops serving', { error });
    this.#end();
    this.events.attention('store-failed');
  }

  /** No more I/O, no more messages. Does not close the store. */
  async stop(): Promise<void> {
    if (this.#state === 'running') {
      this.#state = 'stopped';
      this.#end();
    }
  }

  #end(): void {
    this.#watch.stop();
    this.#mending.stop();
    this.admission.release(this.self.deployment);
    this.#primary?.stepDown();
  }

  /* ---- from the host ---- */

  onVolume(spec: VolumeSpec): void {
    this.spec = spec;
    for (const placement of spec.placements) this.#learn(placement);
    this.guard(() => this.#primary?.progress());
  }

  #learn(placement: Placement): void {
    if (this.#nodes.get(placement.deployment) === placement.node) return;
    this.#nodes.delete(placement.deployment);
    this.#nodes.set(placement.deployment, placement.node);
    if (this.#nodes.size > MAX_KNOWN_NODES) this.#nodes.delete(this.#nodes.keys().next().value!);
  }

  /** Every change seen by the watch, and the present record at start. Undefined: the record was deleted. */
  onMembership(record: Membership | undefined): void {
    this.guard(() => {
      this.#etcdGap.watched(record, this.#known);
      this.observe(record);
    });
  }

  get #known(): Known {
    const { state } = this.store;
    return {
      // What is on its way to the disk counts: an older record must not be acted upon behind it.
      promised: Math.max(state.promised, this.#member.floor) as Epoch,
      ownCluster: state.etcdClusterId,
      presentCluster: this.#etcdClusterId,
    };
  }

  /** An operator's word: the present etcd, whose records were made anew from the copies, takes the old one's place. */
  async adoptCluster(): Promise<void> {
    if (this.halted) throw new ReplicationError('busy', 'this copy is being opened anew');
    await this.store.update({ etcdClusterId: this.#etcdClusterId });
  }

  observe(record: Membership | undefined): void {
    if (record === undefined) {
      this.record = undefined;
      this.#primary?.stepDown();
      return;
    }
    if (this.record !== undefined && record.epoch <= this.record.epoch) return;
    const behind = behindOf(record, this.#known);
    if (behind !== undefined) {
      const { promised } = this.#known;
      this.events.log('warn', 'etcd is behind this copy, or another one', { behind, epoch: record.epoch, promised });
      return;
    }
    this.#previous = this.record;
    this.record = record;
    this.#learn(record.primary);
    this.#primary?.onRecord(record);
    this.#takeUp(record);
    this.#watch.look();
    this.#mending.advance();
  }

  /** Opens, if the record names this incarnation and nobody has activated it yet [2]. */
  #takeUp(record: Membership): void {
    const { deployment, incarnation } = record.primary;
    if (this.halted || this.#primary !== undefined || record.active) return;
    if (deployment !== this.self.deployment || incarnation !== this.store.incarnation) return;
    this.events.log('info', 'opening as primary', { epoch: record.epoch });
    this.#watch.stop();
    const oldLeasesEnd = this.#soleMember(record) ? 0 : this.#member.leasesEnd(!this.#servedItself(record));
    this.#primary = new Primary(this, this, record, oldLeasesEnd);
    this.#primary.start();
    const damaged = this.#mending.take();
    if (damaged.length > 0) this.heal(damaged);
  }

  /** Without other copies, nobody else can have been the primary. */
  #soleMember(record: Membership): boolean {
    return record.inSync.length === 1;
  }

  /**
   * Whether an earlier life of this deployment was the active primary in the record right before: then it had
   * waited out all leases that it had granted, and granted none since. The same for a volume's first record.
   */
  #servedItself(record: Membership): boolean {
    if (record.epoch === 1) return true;
    const previous = this.#previous;
    if (previous === undefined || previous.epoch + 1 !== record.epoch || !previous.active) return false;
    return previous.primary.deployment === this.self.deployment;
  }

  promising(epoch: Epoch): void {
    this.#member.raise(epoch);
  }

  steppedDown(): void {
    const was = this.#primary?.epoch;
    this.#primary = undefined;
    if (this.halted) return;
    this.events.log('info', 'stepped down', { epoch: was });
    this.events.attention('stepped-down');
    this.#watch.look();
  }

  onMessage(envelope: PeerEnvelope): void {
    this.guard(() => {
      const { from, fromNode, message } = envelope;
      this.#learn({ deployment: from, node: fromNode });
      if (isMemberMessage(message)) {
        this.#primary?.onMessage(from, message);
        return;
      }
      if (message.type === 'mended') this.#mending.onMended(from, message);
      else this.#onRequest(from, message);
    });
  }

  #onRequest(from: DeploymentId, message: PrimaryRequest): void {
    const primary = this.#primary;
    if (primary !== undefined) {
      if (message.epoch <= primary.epoch) {
        this.#member.refuse(from, message, 'stale-epoch');
        return;
      }
      if (message.type === 'promise' || message.type === 'sync-begin') primary.superseded(message.epoch);
    }
    this.#member.onMessage(from, message);
  }

  onPeerUp(node: NodeId): void {
    this.guard(() => {
      this.#primary?.onPeerUp(node);
      this.#mending.advance();
    });
  }

  onPeerDown(node: NodeId): void {
    this.guard(() => {
      this.#primary?.onPeerDown(node);
      if (this.#primary === undefined && this.record?.primary.node === node) this.#watch.look();
    });
  }

  /* ---- frontends ---- */

  openSession(link: SessionLink, message: OpenSession): void {
    this.guard(() => {
      if (message.generation < this.store.generation) reject(link, message.session, 'fenced');
      else if (this.#primary === undefined) reject(link, message.session, 'not-primary', this.#otherPrimary());
      else this.#primary.sessions.openSession(link, message);
    });
    if (this.halted) reject(link, message.session, 'not-primary');
  }

  onFrontend(link: SessionLink, message: Exclude<FrontendMessage, OpenSession>): void {
    this.guard(() => {
      if (this.#primary === undefined) reject(link, message.session, 'not-primary', this.#otherPrimary());
      else this.#primary.sessions.onMessage(link, message);
    });
  }

  onSessionClosed(link: SessionLink): void {
    this.guard(() => {
      this.#primary?.sessions.onClosed(link);
    });
  }

  #otherPrimary(): NodeId | undefined {
    const primary = this.record?.primary;
    return primary === undefined || primary.deployment === this.self.deployment ? undefined : primary.node;
  }

  /* ---- the controller ---- */

  status(): DeploymentStatus {
    const { store } = this;
    const etcdBehind = this.#etcdGap.lasting(this.#known);
    return {
      deployment: this.self.deployment,
      incarnation: store.incarnation,
      promised: Math.max(store.state.promised, this.#member.floor) as Epoch,
      last: store.last,
      // What a failed store last took in may not be on its disk.
      unclean: store.state.unclean || this.#state === 'failed',
      generation: store.generation,
      etcdClusterId: store.state.etcdClusterId,
      usedBytes: store.usedBytes,
      badBlocks: store.badBlocks,
      scrub: store.scrubProgress,
      ...(etcdBehind !== undefined && { etcdBehind }),
      ...(this.#primary?.status() ?? { role: 'member', serving: false }),
    };
  }

  /**
   * Brings a copy that is not in sync up to date and adds it. `done` resolves when it is a member; it rejects
   * with a ReplicationError. A new sync goes on where an interrupted one ended.
   */
  startSync(
    target: DeploymentId,
    report: (progress: SyncProgress) => void,
  ): { done: Promise<SyncProgress>; cancel(): void } {
    const primary = this.#primary;
    if (primary === undefined || this.halted) {
      return { done: Promise.reject(new ReplicationError('not-primary', 'this is not the primary')), cancel: () => {} };
    }
    try {
      const sync = primary.syncs.start(target, report);
      return {
        done: sync.done,
        cancel: () => sync.abort(new ReplicationError('cancelled', 'the sync was cancelled')),
      };
    } catch (error) {
      return { done: Promise.reject(error), cancel: () => {} };
    }
  }

  /**
   * The store has found blocks whose bytes are not what was written: the primary mends them from other copies, a
   * member from its primary.
   */
  heal(blocks: readonly IndexedBlock[]): void {
    this.guard(() => {
      if (this.#primary === undefined) this.#mending.add(blocks);
      else this.background(this.#primary.healing.heal(blocks));
    });
  }

  /** Takes a copy out of the set; resolves when it is not in sync (any more). */
  async removeMember(deployment: DeploymentId, reason: string): Promise<void> {
    if (this.#primary === undefined || this.halted) {
      throw new ReplicationError('not-primary', 'this is not the primary');
    }
    await this.#primary.removeMember(deployment, reason);
  }
}
