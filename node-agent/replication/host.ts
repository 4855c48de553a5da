import type { Membership, NodeRecord, Placement, Volume } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { HeldVolume } from '../../core/lost-volumes.js';
import type { DeploymentStatus, SyncProgress } from '../../core/messages.js';
import type {
  Clock,
  DeploymentStore,
  IndexedBlock,
  MembershipStore,
  PeerLinks,
  Random,
  SessionConnector,
} from '../../core/ports.js';
import type { Lender } from '../../core/record.js';
import type { NodeSurvey, RememberedVolume } from '../../core/recovery.js';
import type { AttentionReason } from '../../core/replication/context.js';
import { NodeLoad } from '../../core/replication/node-load.js';
import { DEFAULT_SETTINGS, type ReplicationSettings } from '../../core/replication/settings.js';
import { BoundedAdmission, type SyncAdmission } from '../../core/replication/sync-admission.js';
import type { BlockNumber, DeploymentId, NodeId, VolumeId } from '../../core/types.js';
import type { BlockChecksums } from '../codec/index.js';
import { type Endpoint, parseEndpoint } from '../config.js';
import type { Logger } from '../log.js';
import type { CopyState } from '../metrics/replication.js';
import type { TlsIdentity } from '../pki/index.js';
import type { NodeStores } from '../store/index.js';
import { AlignedClock } from './aligned-clock.js';
import { answer } from './answers.js';
import { Delivery } from './delivery.js';
import { HostedDeployment } from './hosted-deployment.js';
import { type InventoryPage, takeInventory } from './inventory.js';
import { LocalDeployments } from './local-deployments.js';
import { ReplicationNetwork } from './network.js';
import { REQUESTS, type RequestName } from './requests.js';
import { DEFAULT_TRANSPORT_SETTINGS, type TransportSettings } from './settings.js';
import { SyncSlots } from './sync-slots.js';
import { type Running, type SharedSlots, SyncTurns } from './sync-turns.js';
import { encodePeerMessage } from './wire-peer.js';

export interface ReplicationHostOptions {
  readonly self: NodeId;
  /** The cluster's id: nodes of other clusters are refused. */
  readonly cluster: string;
  readonly etcdClusterId: string;
  readonly identity: TlsIdentity;
  readonly bind: Endpoint;
  readonly stores: NodeStores;
  readonly memberships: MembershipStore;
  readonly checksums: (volume: VolumeId) => BlockChecksums;
  /** Where payloads that are read for frontends may be put; absent: ordinary memory. */
  readonly lend?: Lender;
  /** The same for what syncs read, and for all that arrives from other nodes: what the others can spare. */
  readonly lendSpare?: Lender;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Wakes the volume's workflow. Must not throw. */
  readonly attention: (volume: VolumeId, reason: AttentionReason) => void;
  readonly settings?: Partial<ReplicationSettings>;
  /** Syncs that copy from this node at a time, and as many to it. */
  readonly maxSyncs?: number;
  /** Slots for the syncs of the whole cluster; absent: no limit. */
  readonly clusterSlots?: SharedSlots;
  readonly transport?: Partial<TransportSettings>;
  /** Keeps what etcd says of the volumes of which copies are here; absent: nothing does. */
  readonly memory?: CopiesMemory;
}

/** See VolumeMemory. */
export interface CopiesMemory {
  of(volume: VolumeId): RememberedVolume | undefined;
  remember(volume: Volume): void;
  forget(volume: VolumeId): void;
}

const DEFAULT_REQUEST_TIMEOUT_MS = 5000;
const DEFAULT_MAX_SYNCS = 4;
/** Answers to `held` that are asked for at the most: far more volumes than a node has. */
const MAX_HELD_PAGES = 64;

/**
 * All deployments of this node, and what connects them to the other nodes and to frontends. It is told what etcd
 * says (`onVolume`, `onMembership`, `onNode`), before `start` and ever after; it opens what is on the disks and
 * placed here, and never makes or erases a deployment by itself.
 */
export class ReplicationHost {
  readonly connector: SessionConnector;
  readonly #options: ReplicationHostOptions;
  readonly #settings: ReplicationSettings;
  readonly #syncs: SyncTurns;
  readonly #admission: SyncAdmission;
  readonly #nodeLoad: NodeLoad;
  /** The deployments' own. */
  readonly #clock: Clock;
  readonly #network: ReplicationNetwork;
  readonly #volumes = new Map<VolumeId, Volume>();
  readonly #memberships = new Map<VolumeId, Membership>();
  readonly #addresses = new Map<NodeId, Endpoint>();
  readonly #local: LocalDeployments;
  readonly #delivery: Delivery;
  #state: 'new' | 'running' | 'stopped' = 'new';

  constructor(options: ReplicationHostOptions) {
    this.#options = options;
    this.#settings = { ...DEFAULT_SETTINGS, ...options.settings };
    const maxSyncs = options.maxSyncs ?? DEFAULT_MAX_SYNCS;
    this.#syncs = new SyncTurns({
      local: new SyncSlots(maxSyncs),
      cluster: options.clusterSlots,
      random: () => options.random.next(),
    });
    this.#admission = new BoundedAdmission(options.clock, maxSyncs);
    this.#nodeLoad = new NodeLoad(() => options.clock.now());
    this.#clock = new AlignedClock(options.clock, (ms) => this.#nodeLoad.late(ms));
    this.#local = new LocalDeployments({
      self: options.self,
      stores: options.stores,
      clock: options.clock,
      logger: options.logger,
      attention: (volume, reason) => this.#attention(volume, reason),
      isKnown: (volume) => this.#volumes.has(volume),
      host: (...args) => this.#host(...args),
      opened: (hosted) => this.#opened(hosted),
      removed: () => this.#updateInterest(),
    });
    this.#delivery = new Delivery({
      deployments: this.#local,
      primaryNode: (volume) => this.#memberships.get(volume)?.primary.node,
      send: (node, frame) => this.#network.send(node, frame),
    });
    this.#network = new ReplicationNetwork({
      self: options.self,
      cluster: options.cluster,
      identity: options.identity,
      bind: options.bind,
      address: (node) => this.#addresses.get(node),
      clock: options.clock,
      random: options.random,
      settings: { ...DEFAULT_TRANSPORT_SETTINGS, ...options.transport },
      logger: options.logger,
      events: {
        peerUp: (node) => this.#local.each((hosted) => hosted.replicated.onPeerUp(node)),
        peerDown: (node) => this.#local.each((hosted) => hosted.replicated.onPeerDown(node)),
        message: (envelope) => this.#delivery.message(envelope),
        request: (_node, method, args) => this.#answer(method, args),
      },
      openSession: this.#delivery.openSession,
      lend: options.lendSpare,
    });
    this.connector = this.#network.sessions;
  }

  /**
   * Opens the deployments of this node that etcd has told of, then listens. Returns the address that it listens on.
   * A deployment that cannot be opened is logged and tried again; it does not keep the others from starting.
   * Errors: DomainError('in-use' | 'invalid') for the address.
   */
  async start(): Promise<Endpoint> {
    this.#state = 'running';
    await Promise.all([...this.#volumes.keys()].map((volume) => this.#local.openAll(volume)));
    const endpoint = await this.#network.start();
    this.#updateInterest();
    return endpoint;
  }

  /** Flushes and closes: `close` of the stores is the caller's. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    await this.#local.stop();
    await this.#network.stop();
  }

  /** For a renewed certificate: new connections use it, those that exist go on. */
  setIdentity(identity: TlsIdentity): void {
    this.#network.setIdentity(identity);
  }

  /* ---- what etcd says ---- */

  /** Undefined: the record is gone. Deployments stay open until they are removed. */
  onVolume(volume: Volume | undefined, id: VolumeId): void {
    if (volume === undefined) {
      this.#volumes.delete(id);
      this.#forgetUnlessHeld(id);
      this.#updateInterest();
      return;
    }
    this.#volumes.set(id, volume);
    if (this.#isPlacedHere(volume)) this.#options.memory?.remember(volume);
    else this.#forgetUnlessHeld(id);
    this.#local.each((hosted) => hosted.volume === id && hosted.onVolume(volume));
    this.#updateInterest();
    if (this.#state === 'running') void this.#local.openAll(id);
  }

  onMembership(record: Membership | undefined, id: VolumeId): void {
    if (record === undefined) this.#memberships.delete(id);
    else this.#memberships.set(id, record);
    this.#local.each((hosted) => hosted.volume === id && hosted.onMembership(record));
    this.#updateInterest();
  }

  onNode(node: NodeRecord | undefined, id: NodeId): void {
    if (node === undefined) {
      this.#addresses.delete(id);
      return;
    }
    try {
      this.#addresses.set(id, parseEndpoint(node.ioEndpoint));
    } catch (error) {
      this.#options.logger.error({ peer: id, reason: (error as Error).message }, 'node record without an I/O address');
    }
  }

  /* ---- deployments of this node ---- */

  /**
   * Makes the deployment, or opens it if it is there already. `read`: the volume's record, from etcd; asked for behind
   * everything that was being done to the deployment. Where it is placed then, its tombstone, if there will be one, is
   * still to come; where it is not, that may be buried already.
   * Errors: DomainError('invalid') if it is not placed here; those of `read` and of the store ('no-space' and others).
   */
  async createDeployment(
    id: VolumeId,
    deployment: DeploymentId,
    read: () => Promise<Volume>,
  ): Promise<DeploymentStatus> {
    const hosted = await this.#local.create(id, deployment, async () => {
      const volume = await read();
      const placement = volume.placements.find((candidate) => candidate.deployment === deployment);
      if (placement?.node !== this.#options.self) {
        throw new DomainError('invalid', `deployment ${deployment} of volume ${id} is not placed on this node`);
      }
      if (!this.#volumes.has(id)) this.#volumes.set(id, volume);
      return this.#options.stores.create({
        volume: id,
        deployment,
        blockSize: volume.blockSize,
        blocks: Math.ceil(volume.sizeBytes / volume.blockSize),
        etcdClusterId: this.#options.etcdClusterId,
      });
    });
    return hosted.status();
  }

  /** Stops and erases it. The caller has seen its tombstone. Idempotent. */
  async removeDeployment(deployment: DeploymentId): Promise<void> {
    const volume = await this.#local.remove(deployment);
    if (volume !== undefined) this.#forgetUnlessHeld(volume);
  }

  /** Undefined if it is not open here. */
  status(deployment: DeploymentId): DeploymentStatus | undefined {
    return this.#local.find(deployment)?.status();
  }

  /** All that are open here. */
  statuses(): { readonly volume: VolumeId; readonly status: DeploymentStatus }[] {
    return this.#local.all().map((hosted) => ({ volume: hosted.volume, status: hosted.status() }));
  }

  /** How many on the disks could not be opened the last time, and are tried again. */
  get unopened(): number {
    return this.#local.unopened;
  }

  /** Those in sync that are placed here and not open, in their order. */
  closed(): DeploymentId[] {
    const closed: DeploymentId[] = [];
    for (const [id, { inSync }] of this.#memberships) {
      for (const { deployment, node } of this.#volumes.get(id)?.placements ?? []) {
        const expected = node === this.#options.self && inSync.includes(deployment);
        if (expected && this.#local.find(deployment) === undefined) closed.push(deployment);
      }
    }
    return closed.sort();
  }

  /** All that are open here, as the metrics show them. */
  copies(): CopyState[] {
    return this.#local.all().map(({ volume, replicated }) => {
      const { counters, lag, record, spec } = replicated;
      const status = replicated.status();
      const known = status.role === 'primary' && record !== undefined && spec !== undefined;
      const replicas = known ? { ready: record.inSync.length - 1, wanted: spec.replicas } : undefined;
      return { volume, status, counters, lag, replicas };
    });
  }

  /** The open deployment itself. */
  get(deployment: DeploymentId): HostedDeployment | undefined {
    return this.#local.find(deployment);
  }

  /**
   * As the primary, brings `target` in sync, when it is its turn. `done` rejects with NoSuchDeploymentError, or as
   * `ReplicatedDeployment.startSync` does.
   */
  startSync(
    primary: DeploymentId,
    target: DeploymentId,
    report: (progress: SyncProgress) => void,
  ): Running<SyncProgress> {
    return this.#syncs.run(target, () => this.#local.get(primary).replicated.startSync(target, report));
  }

  /** As the primary, takes a member out of the in-sync set. Errors: NoSuchDeploymentError; those of the primary. */
  async removeMember(primary: DeploymentId, member: DeploymentId, reason: string): Promise<void> {
    await this.#local.get(primary).replicated.removeMember(member, reason);
  }

  /** Stored blocks of a local deployment were found bad while nobody was reading them. */
  heal(deployment: DeploymentId, blocks: readonly IndexedBlock[]): void {
    const hosted = this.#local.find(deployment);
    if (hosted !== undefined) this.#local.guard(hosted, () => hosted.replicated.heal(blocks));
  }

  /** A page of what a local deployment holds. Errors: NoSuchDeploymentError. */
  async inventory(deployment: DeploymentId, from: BlockNumber, limit: number): Promise<InventoryPage> {
    return takeInventory(this.#local.get(deployment).store, from, limit);
  }

  /* ---- deployments anywhere ---- */

  /** Errors: PeerUnreachableError; DomainError: 'not-found' if that node has no such deployment, 'invalid-state' if it is damaged. */
  remoteStatus(target: Placement, timeoutMs = DEFAULT_REQUEST_TIMEOUT_MS): Promise<DeploymentStatus> {
    return this.#ask(target.node, 'status', { deployment: target.deployment }, timeoutMs);
  }

  /** Errors: like `remoteStatus`. */
  remoteInventory(
    target: Placement,
    from: BlockNumber,
    limit: number,
    timeoutMs = DEFAULT_REQUEST_TIMEOUT_MS,
  ): Promise<InventoryPage> {
    return this.#ask(target.node, 'inventory', { deployment: target.deployment, from, limit }, timeoutMs);
  }

  /** What a node's copies of a volume know. Errors: like `remoteStatus`. */
  async survey(node: NodeId, volume: VolumeId, timeoutMs = DEFAULT_REQUEST_TIMEOUT_MS): Promise<NodeSurvey> {
    const { copies, ...told } = await this.#ask(node, 'survey', { volume }, timeoutMs);
    return { ...told, copies: copies.map((copy) => ({ ...copy, node })) };
  }

  /** The volumes of which a node has copies and sees no record in etcd. Errors: like `remoteStatus`. */
  async held(node: NodeId, timeoutMs = DEFAULT_REQUEST_TIMEOUT_MS): Promise<HeldVolume[]> {
    const all: HeldVolume[] = [];
    for (let page = 0; page < MAX_HELD_PAGES; page++) {
      const { volumes, more } = await this.#ask(node, 'held', { after: all.at(-1)?.volume }, timeoutMs);
      all.push(...volumes);
      if (!more || volumes.length === 0) break;
    }
    return all;
  }

  /** The copy belongs to the present etcd from now on. Errors: like `remoteStatus`; 'invalid-state' */
  async adoptCluster(target: Placement, etcdClusterId: string, timeoutMs = DEFAULT_REQUEST_TIMEOUT_MS): Promise<void> {
    await this.#ask(target.node, 'adopt', { deployment: target.deployment, etcdClusterId }, timeoutMs);
  }

  isPeerUp(node: NodeId): boolean {
    return this.#network.isUp(node);
  }

  /* ---- inside ---- */

  async #ask<N extends RequestName>(
    node: NodeId,
    method: N,
    args: unknown,
    timeoutMs: number,
  ): Promise<ReturnType<(typeof REQUESTS)[N]['result']['parse']>> {
    const local = node === this.#options.self;
    const answer = local
      ? await this.#answer(method, args)
      : await this.#network.request(node, method, args, timeoutMs);
    const parsed = REQUESTS[method].result.safeParse(answer);
    if (!parsed.success) throw new DomainError('internal', `node ${node} gave a malformed answer to ${method}`);
    return parsed.data as ReturnType<(typeof REQUESTS)[N]['result']['parse']>;
  }

  #answer(method: string, args: unknown): Promise<unknown> {
    const { self, etcdClusterId } = this.#options;
    const sources = {
      self,
      etcdClusterId,
      deployments: this.#local,
      membershipOf: (volume: VolumeId) => this.#memberships.get(volume),
      isKnown: (volume: VolumeId) => this.#volumes.has(volume),
      memoryOf: (volume: VolumeId) => this.#options.memory?.of(volume),
    };
    return answer(sources, method, args);
  }

  #isPlacedHere({ placements }: Volume): boolean {
    return placements.some(({ node }) => node === this.#options.self);
  }

  /**
   * A volume that is placed here is remembered although its copy is not made yet, or made anew; and any while there are
   * copies of which it is not known whose they are.
   */
  #forgetUnlessHeld(volume: VolumeId): void {
    const { stores, memory } = this.#options;
    const known = this.#volumes.get(volume);
    if (known !== undefined && this.#isPlacedHere(known)) return;
    if (stores.unreadable === 0 && stores.of(volume).length === 0) memory?.forget(volume);
  }

  /** There is no workflow for a volume without a record, and none is to be started. */
  #attention(volume: VolumeId, reason: AttentionReason): void {
    if (this.#volumes.has(volume)) this.#options.attention(volume, reason);
  }

  #host(
    volume: VolumeId,
    deployment: DeploymentId,
    store: DeploymentStore,
    attention: (reason: AttentionReason) => void,
  ): HostedDeployment {
    const { self, checksums, lend, lendSpare, memberships, random, etcdClusterId, logger } = this.#options;
    return new HostedDeployment({
      self,
      volume,
      deployment,
      store,
      checksums: checksums(volume),
      lend,
      lendSpare,
      links: this.#links(volume, deployment),
      memberships,
      clock: this.#clock,
      random,
      settings: this.#settings,
      admission: this.#admission,
      nodeLoad: this.#nodeLoad,
      etcdClusterId,
      logger,
      attention,
    });
  }

  #opened(hosted: HostedDeployment): void {
    this.#updateInterest();
    const volume = this.#volumes.get(hosted.volume);
    if (volume !== undefined) hosted.onVolume(volume);
    hosted.onMembership(this.#memberships.get(hosted.volume));
  }

  #links(volume: VolumeId, from: DeploymentId): PeerLinks {
    return {
      isUp: (node) => this.#network.isUp(node),
      version: (node) => this.#network.version(node),
      send: (to, message) => {
        if (this.#network.isUp(to.node)) {
          this.#network.send(to.node, encodePeerMessage({ volume, from, to: to.deployment }, message));
        }
      },
    };
  }

  /** Connections are kept with all nodes that share a volume with this one. */
  #updateInterest(): void {
    if (this.#state !== 'running') return;
    const nodes = new Set<NodeId>();
    for (const hosted of this.#local.all()) {
      for (const { node } of this.#volumes.get(hosted.volume)?.placements ?? []) nodes.add(node);
      const primary = this.#memberships.get(hosted.volume)?.primary.node;
      if (primary !== undefined) nodes.add(primary);
    }
    nodes.delete(this.#options.self);
    this.#network.setInterest(nodes);
  }
}
