/** The cluster's state in etcd: repositories, composite transactions, and a watch that all parts share. */

import type {
  Attachment,
  ChooseCopies,
  ClosedCopies,
  Cluster,
  Membership,
  Namespace,
  NodeDisks,
  NodeLiveness,
  NodeRecord,
  PolicyGroup,
  Tombstone,
  User,
  Volume,
} from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { Clock, MembershipStore } from '../../core/ports.js';
import type { RecoveredVolume } from '../../core/recovery.js';
import type {
  DeploymentId,
  Generation,
  NamespaceId,
  NodeId,
  PolicyGroupId,
  UserId,
  VolumeId,
} from '../../core/types.js';
import { Accounts } from './accounts.js';
import { ClusterSlots } from './cluster-slots.js';
import { encodeValue, revisionOf, versionOf } from './encoding.js';
import { EtcdConnection, type EtcdOptions, toDomainError } from './etcd.js';
import { decodeCluster, StateFeed, type Watch, type WatchHandlers } from './feed.js';
import { CLUSTER_KEY, CLUSTER_SCOPE, nameScope, objectKey, SYNC_SLOTS_PREFIX } from './keys.js';
import { LeasedKey } from './leased-key.js';
import { createMembershipStore } from './membership-store.js';
import { NodeRecords } from './node-records.js';
import { Repository, type RepositoryOptions, staleWrite, UPDATE_ATTEMPTS, type Versioned } from './repository.js';
import {
  attachmentSchema,
  closedCopiesSchema,
  disksSchema,
  livenessSchema,
  membershipSchema,
  namespaceSchema,
  nodeSchema,
  policySchema,
  tombstoneSchema,
  userSchema,
  volumeSchema,
} from './schemas.js';
import { type Admission, VolumeRecords } from './volume-records.js';
import { PrefixWatch } from './watch.js';

export type { EtcdOptions } from './etcd.js';
export type { Watch, WatchHandlers } from './feed.js';
export type { LeasedKey } from './leased-key.js';
export { type Repository, staleWrite, type Versioned } from './repository.js';

export interface ConnectOptions extends EtcdOptions {
  readonly clock: Clock;
  /**
   * Told what callers cannot be told: a lost watch, a malformed value that the watch met, a handler that threw,
   * a failed renewal of the lease.
   */
  readonly onTrouble: (error: unknown) => void;
}

export class ClusterState {
  /** Hex, from the header of etcd's answers. */
  readonly etcdClusterId: string;
  readonly volumes: Repository<Volume, VolumeId>;
  readonly memberships: Repository<Membership, VolumeId>;
  readonly attachments: Repository<Attachment, VolumeId>;
  readonly nodes: Repository<NodeRecord, NodeId>;
  /** For changing nodes. */
  readonly nodeRecords: NodeRecords;
  readonly namespaces: Repository<Namespace, NamespaceId>;
  readonly users: Repository<User, UserId>;
  readonly policies: Repository<PolicyGroup, PolicyGroupId>;
  /** For writing users, and for deleting policy groups. */
  readonly accounts: Accounts;
  readonly tombstones: Repository<Tombstone, DeploymentId>;
  /** For reading; written by `nodeRecords`. */
  readonly disks: Repository<NodeDisks, NodeId>;
  readonly closed: Repository<ClosedCopies, NodeId>;
  /** For reading; keys are written by `registerLiveness`. */
  readonly liveness: Repository<NodeLiveness, NodeId>;
  readonly membershipStore: MembershipStore;

  readonly #etcd: EtcdConnection;
  readonly #feed: StateFeed;
  readonly #options: ConnectOptions;
  readonly #watch: PrefixWatch;
  readonly #volumeRecords: VolumeRecords;

  /**
   * Resolves when everything there is has been read once. The value of `endpoints`, `namespace`, `tls` and
   * `auth`: see EtcdOptions. Errors: 'store-unavailable'.
   */
  static async connect(options: ConnectOptions): Promise<ClusterState> {
    const etcd = new EtcdConnection(options);
    try {
      const first = await etcd.list(CLUSTER_KEY);
      const state = new ClusterState(options, etcd, first.header.cluster_id);
      await state.#watch.start();
      return state;
    } catch (error) {
      etcd.close();
      throw toDomainError(error, `connecting to ${options.endpoints.join(',')}`);
    }
  }

  private constructor(options: ConnectOptions, etcd: EtcdConnection, clusterId: string) {
    this.#options = options;
    this.#etcd = etcd;
    this.etcdClusterId = BigInt(clusterId).toString(16);
    this.#feed = new StateFeed({ etcdClusterId: this.etcdClusterId, onTrouble: options.onTrouble });
    const idIsVolume = (value: { volume: VolumeId }) => value.volume;
    const named = (value: { id: string; name: string }) => ({ scope: CLUSTER_SCOPE, name: value.name });
    this.volumes = this.#repository({
      kind: 'volumes',
      noun: 'volume',
      schema: volumeSchema,
      idOf: (volume: Volume) => volume.id,
      uniqueName: (volume) => ({ kind: 'volumes', scope: volume.namespace, name: volume.name }),
    });
    this.memberships = this.#repository({
      kind: 'memberships',
      noun: 'membership',
      schema: membershipSchema,
      idOf: idIsVolume,
    });
    this.attachments = this.#repository({
      kind: 'attachments',
      noun: 'attachment',
      schema: attachmentSchema,
      idOf: idIsVolume,
    });
    this.nodes = this.#repository({
      kind: 'nodes',
      noun: 'node',
      schema: nodeSchema,
      idOf: (node: NodeRecord) => node.id,
      uniqueName: (node) => ({ kind: 'nodes', ...named(node) }),
    });
    this.namespaces = this.#repository({
      kind: 'namespaces',
      noun: 'namespace',
      schema: namespaceSchema,
      idOf: (namespace: Namespace) => namespace.id,
      uniqueName: (namespace) => ({ kind: 'namespaces', ...named(namespace) }),
    });
    this.users = this.#repository({
      kind: 'users',
      noun: 'user',
      schema: userSchema,
      idOf: (user: User) => user.id,
      uniqueName: (user) => ({ kind: 'users', scope: CLUSTER_SCOPE, name: user.username }),
    });
    this.policies = this.#repository({
      kind: 'policies',
      noun: 'policy group',
      schema: policySchema,
      idOf: (group: PolicyGroup) => group.id,
      uniqueName: (group) => ({ kind: 'policies', ...named(group) }),
    });
    this.disks = this.#repository({
      kind: 'disks',
      noun: 'state of the disks of node',
      schema: disksSchema,
      idOf: (disks: NodeDisks) => disks.node,
    });
    this.closed = this.#repository({
      kind: 'closed',
      noun: 'closed copies of node',
      schema: closedCopiesSchema,
      idOf: (closed: ClosedCopies) => closed.node,
    });
    this.nodeRecords = new NodeRecords(this);
    this.accounts = new Accounts({ etcd, users: this.users, policies: this.policies });
    this.tombstones = this.#repository({
      kind: 'tombstones',
      noun: 'tombstone',
      schema: tombstoneSchema,
      idOf: (tombstone: Tombstone) => tombstone.deployment,
    });
    this.liveness = this.#repository({
      kind: 'liveness',
      noun: 'liveness of node',
      schema: livenessSchema,
      idOf: (liveness: NodeLiveness) => liveness.node,
    });
    this.#volumeRecords = new VolumeRecords({ etcd, volumes: this.volumes, memberships: this.memberships });
    this.membershipStore = createMembershipStore(etcd, this.memberships, this.etcdClusterId);
    this.#watch = new PrefixWatch(etcd, this.#feed);
  }

  /** Whether the watch has a connection to etcd at the moment. */
  get reachable(): boolean {
    return this.#feed.reachable;
  }

  /** The same, now or within so long. */
  whenReachable(timeoutMs: number): Promise<boolean> {
    return this.#feed.whenReachable(timeoutMs);
  }

  /** Calls of etcd, for the metrics. */
  get queries(): EtcdConnection['queries'] {
    return this.#etcd.queries;
  }

  close(): void {
    this.#watch.stop();
    this.#feed.close();
    this.#etcd.close();
  }

  /** Tells what there is now, before it returns, and every change from then on. */
  watch(handlers: WatchHandlers): Watch {
    return this.#feed.watch(handlers);
  }

  /** Keeps this node's sign of life in etcd until it is stopped. `ttlSeconds` is at least 2. */
  async registerLiveness(info: NodeLiveness, ttlSeconds: number): Promise<LeasedKey> {
    const { clock, onTrouble } = this.#options;
    const key = objectKey('liveness', info.node);
    const value = encodeValue(key, info);
    const what = 'the sign of life of this node';
    const registration = new LeasedKey({ etcd: this.#etcd, clock, key, value, what, ttlSeconds, onTrouble });
    await registration.start();
    return registration;
  }

  /** Slots for the cluster's syncs, `limit` in all. */
  syncSlots(limit: number): ClusterSlots {
    const { clock, onTrouble } = this.#options;
    return new ClusterSlots({ etcd: this.#etcd, clock, onTrouble, prefix: SYNC_SLOTS_PREFIX, limit });
  }

  /* ---- cluster ---- */

  /** Errors: 'not-found' before `ensureCluster`. What was last seen while etcd does not answer. */
  async cluster(): Promise<Versioned<Cluster>> {
    try {
      const found = this.reachable ? await this.#etcd.get(CLUSTER_KEY) : undefined;
      if (found !== undefined) return decodeCluster(found);
    } catch (error) {
      if (!(error instanceof DomainError) || error.code !== 'store-unavailable') throw error;
    }
    const { cluster } = this.#feed;
    if (cluster === undefined) throw new DomainError('not-found', 'the cluster has no settings yet');
    return cluster;
  }

  /** Makes the cluster's record if there is none; returns the one that is there. */
  async ensureCluster(initial: Cluster): Promise<Versioned<Cluster>> {
    const value = encodeValue(CLUSTER_KEY, initial);
    const outcome = await this.#transaction(
      'making the cluster',
      [{ key: CLUSTER_KEY, is: 'absent' }],
      [{ put: CLUSTER_KEY, value }],
      [CLUSTER_KEY],
    );
    const found = outcome.found[0];
    return found === undefined ? { value: initial, version: versionOf(outcome.revision) } : decodeCluster(found);
  }

  /**
   * `change` may throw, and is called again if somebody else was faster and `expectedVersion` is not given.
   * Errors: 'stale-write', 'store-unavailable'.
   */
  async updateCluster(change: (current: Cluster) => Cluster, expectedVersion?: string): Promise<Versioned<Cluster>> {
    for (let attempt = 0; attempt < UPDATE_ATTEMPTS; attempt++) {
      const current = await this.cluster();
      if (expectedVersion !== undefined && expectedVersion !== current.version) break;
      const value = change(current.value);
      const outcome = await this.#transaction(
        'writing the cluster',
        [{ key: CLUSTER_KEY, revision: revisionOf(current.version) ?? '0' }],
        [{ put: CLUSTER_KEY, value: encodeValue(CLUSTER_KEY, value) }],
      );
      if (outcome.succeeded) return { value, version: versionOf(outcome.revision) };
    }
    throw staleWrite('cluster');
  }

  /* ---- transactions over several objects ---- */

  /**
   * Makes a volume and its attachment record (detached, generation 0) in an existing namespace. `admit` is asked
   * whether another volume may be made beside what there is, maybe several times.
   * Errors: 'already-exists' (name or id), 'not-found' (namespace), those of `admit`.
   */
  createVolume(volume: Volume, admit: Admission = () => {}): Promise<Versioned<Volume>> {
    return this.#volumeRecords.create(volume, admit);
  }

  /**
   * Writes the records of a volume that etcd has lost, all at once: no workflow meets one without the others.
   * `abandoned`: of copies that it goes on without, whose nodes may erase them.
   * Errors: 'already-exists' (name or id), 'not-found' (namespace), 'conflict' if there is a membership, or a tombstone
   * of one of its copies.
   */
  restoreVolume(
    volume: Volume,
    membership: Membership,
    generation: Generation,
    abandoned: readonly Tombstone[],
  ): Promise<Versioned<Volume>> {
    return this.#volumeRecords.restore(volume, membership, generation, abandoned);
  }

  /**
   * Puts a membership that was made anew in the place of `expected`, with the volume's placements and tombstones of
   * copies that it goes on without, all at once: none of these is lost if the caller ends behind it.
   * Errors: 'not-found' (volume), 'stale-write' if membership or volume have changed, or a copy has a tombstone.
   */
  recoverVolume(recovered: RecoveredVolume): Promise<void> {
    return this.#volumeRecords.recover(recovered);
  }

  /**
   * Copies leave a volume's record, and each has a tombstone from then on, so that its node may erase it: at once, so
   * that a node that still reads of the placement can know that the tombstone is to come. `choose` is called again if
   * volume or membership have changed meanwhile, and may throw; without tombstones nothing is written.
   * Errors: 'not-found' (volume), 'stale-write', those of `choose`.
   */
  dropCopies(id: VolumeId, choose: ChooseCopies): Promise<void> {
    return this.#volumeRecords.dropCopies(id, choose);
  }

  /**
   * Removes a volume with its attachment and membership and leaves a tombstone for each deployment, so that
   * its nodes may erase it. Errors: 'not-found', 'stale-write'.
   */
  deleteVolume(id: VolumeId, tombstones: readonly Tombstone[], expectedVersion?: string): Promise<void> {
    return this.#volumeRecords.remove(id, tombstones, expectedVersion);
  }

  /** Errors: 'already-exists'. */
  createNamespace(namespace: Namespace): Promise<Versioned<Namespace>> {
    return this.namespaces.create(namespace);
  }

  /** Errors: 'not-found', 'stale-write', 'in-use' while it has volumes. */
  async deleteNamespace(id: NamespaceId, expectedVersion?: string): Promise<void> {
    await this.namespaces.remove(id, expectedVersion, [{ empty: nameScope('volumes', id) }]);
  }

  /**
   * Writes the record of a node that starts: labels, cordon and compute-only of an older record stay.
   * `admit` is asked before a node is added. Errors: 'invalid-state' if the id belongs to another name,
   * 'already-exists' if the name to another id; those of `admit`.
   */
  registerNode(
    node: Omit<NodeRecord, 'revision'>,
    admit: () => Promise<void> = () => Promise.resolve(),
  ): Promise<Versioned<NodeRecord>> {
    return this.nodeRecords.register(node, admit);
  }

  /* ---- inside ---- */

  #repository<T extends object, Id extends string>(
    options: Omit<RepositoryOptions<T, Id>, 'etcd' | 'cache' | 'reachable'>,
  ): Repository<T, Id> {
    const feed = this.#feed;
    const repository: Repository<T, Id> = new Repository({
      ...options,
      etcd: this.#etcd,
      reachable: () => feed.reachable,
      cache: feed.cache<T, Id>(options.kind, (item): Versioned<T> => repository.decode(item)),
    });
    return repository;
  }

  async #transaction(what: string, ...parameters: Parameters<EtcdConnection['transaction']>) {
    try {
      return await this.#etcd.transaction(...parameters);
    } catch (error) {
      throw toDomainError(error, what);
    }
  }
}
