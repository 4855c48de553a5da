/** The cluster's state in etcd: repositories, composite transactions, and a watch that all parts share. */

import type {
  Attachment,
  Cluster,
  Membership,
  Namespace,
  NodeLiveness,
  NodeRecord,
  Tombstone,
  User,
  Volume,
} from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { Clock, MembershipStore } from '../../core/ports.js';
import type { DeploymentId, NamespaceId, NodeId, UserId, VolumeId } from '../../core/types.js';
import { decodeValue, encodeValue, revisionOf, versionOf } from './encoding.js';
import { EtcdConnection, type EtcdOptions, type KeyValue, toDomainError } from './etcd.js';
import { CLUSTER_KEY, CLUSTER_SCOPE, KINDS, type Kind, nameScope, objectKey, parseKey } from './keys.js';
import { LivenessRegistration } from './liveness.js';
import { createMembershipStore } from './membership-store.js';
import { ObjectCache } from './object-cache.js';
import { Repository, type RepositoryOptions, type Versioned } from './repository.js';
import {
  attachmentSchema,
  clusterSchema,
  livenessSchema,
  membershipSchema,
  namespaceSchema,
  nodeSchema,
  tombstoneSchema,
  userSchema,
  volumeSchema,
} from './schemas.js';
import { PrefixWatch } from './watch.js';

export type { EtcdOptions } from './etcd.js';
export type { LivenessRegistration } from './liveness.js';
export type { Repository, Versioned } from './repository.js';

export interface ConnectOptions extends EtcdOptions {
  readonly clock: Clock;
  /**
   * Told what callers cannot be told: a lost watch, a malformed value that the watch met, a handler that threw,
   * a failed renewal of the lease.
   */
  readonly onTrouble: (error: unknown) => void;
}

/** Called in the order of the changes. `undefined`: the object was removed. */
export interface WatchHandlers {
  volume?(id: VolumeId, value: Volume | undefined): void;
  membership?(id: VolumeId, value: Membership | undefined): void;
  attachment?(id: VolumeId, value: Attachment | undefined): void;
  node?(id: NodeId, value: NodeRecord | undefined): void;
  liveness?(id: NodeId, value: NodeLiveness | undefined): void;
  namespace?(id: NamespaceId, value: Namespace | undefined): void;
  user?(id: UserId, value: User | undefined): void;
  tombstone?(id: DeploymentId, value: Tombstone | undefined): void;
  /** Everything that was there when `watch` was called has been told. */
  synced?(): void;
}

export interface Watch {
  close(): void;
}

const HANDLER: Readonly<Record<Kind, Exclude<keyof WatchHandlers, 'synced'>>> = {
  volumes: 'volume',
  memberships: 'membership',
  attachments: 'attachment',
  nodes: 'node',
  liveness: 'liveness',
  namespaces: 'namespace',
  users: 'user',
  tombstones: 'tombstone',
};

/** The order in which a listing is told: what a volume refers to comes before it. */
const TOLD_FIRST: readonly Kind[] = ['namespaces', 'users', 'nodes', 'liveness', 'tombstones'];
const TELLING_ORDER: readonly Kind[] = [...TOLD_FIRST, ...KINDS.filter((kind) => !TOLD_FIRST.includes(kind))];

export class ClusterState {
  /** Hex, from the header of etcd's answers. */
  readonly etcdClusterId: string;
  readonly volumes: Repository<Volume, VolumeId>;
  readonly memberships: Repository<Membership, VolumeId>;
  readonly attachments: Repository<Attachment, VolumeId>;
  readonly nodes: Repository<NodeRecord, NodeId>;
  readonly namespaces: Repository<Namespace, NamespaceId>;
  readonly users: Repository<User, UserId>;
  readonly tombstones: Repository<Tombstone, DeploymentId>;
  /** For reading; keys are written by `registerLiveness`. */
  readonly liveness: Repository<NodeLiveness, NodeId>;
  readonly membershipStore: MembershipStore;

  readonly #etcd: EtcdConnection;
  readonly #cache = new ObjectCache();
  readonly #repositories: Readonly<Record<Kind, Repository<object, string>>>;
  readonly #subscribers = new Set<WatchHandlers>();
  readonly #options: ConnectOptions;
  readonly #watch: PrefixWatch;
  #cluster: Versioned<Cluster> | undefined;
  #reachable = false;
  /** The last loss of the connection that was told, so that an outage is told once and not at every retry. */
  #toldTrouble: string | undefined;

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
    this.#repositories = {
      volumes: this.volumes,
      memberships: this.memberships,
      attachments: this.attachments,
      nodes: this.nodes,
      namespaces: this.namespaces,
      users: this.users,
      tombstones: this.tombstones,
      liveness: this.liveness,
    } as unknown as Readonly<Record<Kind, Repository<object, string>>>;
    this.membershipStore = createMembershipStore(etcd, this.memberships);
    this.#watch = new PrefixWatch(etcd, {
      snapshot: (items, id) => this.#onSnapshot(items, id),
      events: (events) => {
        for (const { key, item } of events) this.#apply(key, item);
      },
      lost: (error) => {
        this.#reachable = false;
        const trouble = toDomainError(error, 'watching');
        if (trouble.message !== this.#toldTrouble) options.onTrouble(trouble);
        this.#toldTrouble = trouble.message;
      },
    });
  }

  /** Whether the watch has a connection to etcd at the moment. */
  get reachable(): boolean {
    return this.#reachable;
  }

  close(): void {
    this.#watch.stop();
    this.#subscribers.clear();
    this.#etcd.close();
  }

  /** Tells what there is now, before it returns, and every change from then on. */
  watch(handlers: WatchHandlers): Watch {
    for (const kind of TELLING_ORDER) {
      for (const [id, { value }] of this.#cache.of(kind)) this.#tell(handlers, kind, id, value);
    }
    this.#subscribers.add(handlers);
    this.#guard(() => handlers.synced?.());
    return { close: () => this.#subscribers.delete(handlers) };
  }

  /** Keeps this node's sign of life in etcd until it is stopped. `ttlSeconds` is at least 2. */
  async registerLiveness(info: NodeLiveness, ttlSeconds: number): Promise<LivenessRegistration> {
    const { clock, onTrouble } = this.#options;
    const registration = new LivenessRegistration({ etcd: this.#etcd, clock, info, ttlSeconds, onTrouble });
    await registration.start();
    return registration;
  }

  /* ---- cluster ---- */

  /** Errors: 'not-found' before `ensureCluster`. What was last seen while etcd does not answer. */
  async cluster(): Promise<Versioned<Cluster>> {
    try {
      const found = this.#reachable ? await this.#etcd.get(CLUSTER_KEY) : undefined;
      if (found !== undefined) return this.#decodeCluster(found);
    } catch (error) {
      if (!(error instanceof DomainError) || error.code !== 'store-unavailable') throw error;
    }
    if (this.#cluster === undefined) throw new DomainError('not-found', 'the cluster has no settings yet');
    return this.#cluster;
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
    return found === undefined ? { value: initial, version: versionOf(outcome.revision) } : this.#decodeCluster(found);
  }

  /** Errors: 'stale-write', 'store-unavailable'. */
  async updateCluster(change: (current: Cluster) => Cluster, expectedVersion?: string): Promise<Versioned<Cluster>> {
    const current = await this.cluster();
    const value = change(current.value);
    if (expectedVersion === undefined || expectedVersion === current.version) {
      const outcome = await this.#transaction(
        'writing the cluster',
        [{ key: CLUSTER_KEY, revision: revisionOf(current.version) ?? '0' }],
        [{ put: CLUSTER_KEY, value: encodeValue(CLUSTER_KEY, value) }],
      );
      if (outcome.succeeded) return { value, version: versionOf(outcome.revision) };
    }
    throw new DomainError('stale-write', 'cluster: attempting to write stale object');
  }

  /* ---- transactions over several objects ---- */

  /**
   * Makes a volume and its attachment record (detached, generation 0) in an existing namespace.
   * Errors: 'already-exists' (name or id), 'not-found' (namespace).
   */
  async createVolume(volume: Volume): Promise<Versioned<Volume>> {
    const namespaceKey = objectKey('namespaces', volume.namespace);
    const attachment: Attachment = {
      volume: volume.id,
      generation: 0 as Attachment['generation'],
      mode: 'rw',
      updatedAt: volume.createdAt,
    };
    const attachmentKey = objectKey('attachments', volume.id);
    try {
      return await this.volumes.create(
        volume,
        [{ key: namespaceKey, is: 'present' }],
        [{ put: attachmentKey, value: encodeValue(attachmentKey, attachment) }],
      );
    } catch (error) {
      if (error instanceof DomainError && error.code === 'invalid-state') {
        throw new DomainError('not-found', `namespace ${volume.namespace} not found`, { cause: error });
      }
      throw error;
    }
  }

  /**
   * Removes a volume with its attachment and membership and leaves a tombstone for each deployment, so that
   * its nodes may erase it. Errors: 'not-found', 'stale-write'.
   */
  async deleteVolume(id: VolumeId, tombstones: readonly Tombstone[], expectedVersion?: string): Promise<void> {
    await this.volumes.remove(
      id,
      expectedVersion,
      [],
      [
        { remove: objectKey('attachments', id) },
        { remove: objectKey('memberships', id) },
        ...tombstones.map((tombstone) => {
          const key = objectKey('tombstones', tombstone.deployment);
          return { put: key, value: encodeValue(key, tombstone) };
        }),
      ],
    );
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
   * Errors: 'invalid-state' if the id belongs to another name, 'already-exists' if the name to another id.
   */
  async registerNode(node: NodeRecord): Promise<Versioned<NodeRecord>> {
    const existing = await this.nodes.get(node.id);
    if (existing === undefined) return this.nodes.create(node);
    if (existing.value.name !== node.name) {
      throw new DomainError(
        'invalid-state',
        `node id ${node.id} is registered under the host name "${existing.value.name}", this host is "${node.name}"`,
      );
    }
    return this.nodes.update(node.id, (current) => ({
      ...current,
      ioEndpoint: node.ioEndpoint,
      apiEndpoint: node.apiEndpoint,
      gossipEndpoint: node.gossipEndpoint,
      capacity: node.capacity,
      updatedAt: node.updatedAt,
    }));
  }

  /* ---- inside ---- */

  #repository<T extends object, Id extends string>(
    options: Omit<RepositoryOptions<T, Id>, 'etcd' | 'cache' | 'reachable'>,
  ): Repository<T, Id> {
    const objects = this.#cache.of(options.kind) as Map<Id, Versioned<T>>;
    const cache = this.#cache;
    return new Repository({
      ...options,
      etcd: this.#etcd,
      reachable: () => this.#reachable,
      cache: {
        get: (id: Id) => objects.get(id),
        values: () => objects.values(),
        get size() {
          return objects.size;
        },
        get synced() {
          return cache.synced;
        },
      },
    });
  }

  async #transaction(what: string, ...parameters: Parameters<EtcdConnection['transaction']>) {
    try {
      return await this.#etcd.transaction(...parameters);
    } catch (error) {
      throw toDomainError(error, what);
    }
  }

  #decodeCluster(item: KeyValue): Versioned<Cluster> {
    return { value: decodeValue(CLUSTER_KEY, item.value, clusterSchema), version: versionOf(item.revision) };
  }

  #onSnapshot(items: readonly KeyValue[], clusterId: string): void {
    const id = BigInt(clusterId).toString(16);
    if (id !== this.etcdClusterId) {
      // What another etcd does not hold must not look removed.
      throw new DomainError('invalid-state', `etcd was replaced: cluster ${this.etcdClusterId} is now ${id}`);
    }
    const byKey = new Map(items.map((item) => [item.key, item]));
    for (const kind of [...TELLING_ORDER].reverse()) {
      for (const id of [...this.#cache.of(kind).keys()]) {
        const key = objectKey(kind, id);
        if (!byKey.has(key)) this.#apply(key, undefined);
      }
    }
    const rank = (item: KeyValue) => TELLING_ORDER.indexOf(parseKey(item.key)?.kind ?? 'volumes');
    for (const item of [...items].sort((a, b) => rank(a) - rank(b))) this.#apply(item.key, item);
    this.#cache.synced = true;
    this.#reachable = true;
    this.#toldTrouble = undefined;
  }

  #apply(key: string, item: KeyValue | undefined): void {
    if (key === CLUSTER_KEY) {
      this.#guard(() => {
        this.#cluster = item === undefined ? undefined : this.#decodeCluster(item);
      });
      return;
    }
    const parsed = parseKey(key);
    if (parsed === undefined) return;
    const { kind, id } = parsed;
    const objects = this.#cache.of(kind);
    const known = objects.get(id);
    if (item === undefined) {
      if (objects.delete(id)) this.#tellAll(kind, id, undefined);
      return;
    }
    let next: Versioned<object>;
    try {
      next = this.#repositories[kind].decode(item);
    } catch (error) {
      // The last sound value stays: a malformed one must not look like a removal.
      this.#options.onTrouble(error);
      return;
    }
    if (known?.version === next.version && JSON.stringify(known.value) === JSON.stringify(next.value)) return;
    objects.set(id, next);
    this.#tellAll(kind, id, next.value);
  }

  #tellAll(kind: Kind, id: string, value: object | undefined): void {
    for (const handlers of this.#subscribers) this.#tell(handlers, kind, id, value);
  }

  #tell(handlers: WatchHandlers, kind: Kind, id: string, value: object | undefined): void {
    // The table HANDLER pairs each kind with the handler of its type.
    const tell = handlers[HANDLER[kind]] as ((id: string, value: object | undefined) => void) | undefined;
    this.#guard(() => tell?.call(handlers, id, value));
  }

  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#options.onTrouble(error);
    }
  }
}
