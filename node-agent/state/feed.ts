/** What the watch last saw of the cluster's state, and everybody who wants to be told of its changes. */

import type {
  Attachment,
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
import type { DeploymentId, NamespaceId, NodeId, PolicyGroupId, UserId, VolumeId } from '../../core/types.js';
import { decodeValue, versionOf } from './encoding.js';
import { type KeyValue, toDomainError } from './etcd.js';
import { CLUSTER_KEY, KINDS, type Kind, objectKey, parseKey } from './keys.js';
import type { FedCache, Versioned } from './repository.js';
import { clusterSchema } from './schemas.js';
import type { PrefixWatchHandlers, WatchEvent } from './watch.js';

/** Called in the order of the changes. `undefined`: the object was removed. */
export interface WatchHandlers {
  volume?(id: VolumeId, value: Volume | undefined): void;
  membership?(id: VolumeId, value: Membership | undefined): void;
  attachment?(id: VolumeId, value: Attachment | undefined): void;
  node?(id: NodeId, value: NodeRecord | undefined): void;
  liveness?(id: NodeId, value: NodeLiveness | undefined): void;
  namespace?(id: NamespaceId, value: Namespace | undefined): void;
  user?(id: UserId, value: User | undefined): void;
  policy?(id: PolicyGroupId, value: PolicyGroup | undefined): void;
  tombstone?(id: DeploymentId, value: Tombstone | undefined): void;
  disks?(id: NodeId, value: NodeDisks | undefined): void;
  closed?(id: NodeId, value: ClosedCopies | undefined): void;
  cluster?(value: Cluster): void;
  /** Everything that was there when `watch` was called has been told. */
  synced?(): void;
}

export interface Watch {
  close(): void;
}

const HANDLER: Readonly<Record<Kind, Exclude<keyof WatchHandlers, 'synced' | 'cluster'>>> = {
  volumes: 'volume',
  memberships: 'membership',
  attachments: 'attachment',
  nodes: 'node',
  liveness: 'liveness',
  namespaces: 'namespace',
  users: 'user',
  policies: 'policy',
  tombstones: 'tombstone',
  disks: 'disks',
  closed: 'closed',
};

/** The order in which a listing is told: what a volume refers to comes before it. */
const TOLD_FIRST: readonly Kind[] = ['namespaces', 'policies', 'users', 'nodes', 'liveness', 'tombstones'];
const TELLING_ORDER: readonly Kind[] = [...TOLD_FIRST, ...KINDS.filter((kind) => !TOLD_FIRST.includes(kind))];

export function decodeCluster(item: KeyValue): Versioned<Cluster> {
  return { value: decodeValue(CLUSTER_KEY, item.value, clusterSchema), version: versionOf(item.revision) };
}

export interface FeedOptions {
  readonly etcdClusterId: string;
  readonly onTrouble: (error: unknown) => void;
}

type Decode = (item: KeyValue) => Versioned<object>;

export class StateFeed implements PrefixWatchHandlers {
  readonly #options: FeedOptions;
  readonly #objects: Readonly<Record<Kind, Map<string, Versioned<object>>>>;
  /** Keys whose last sound value is kept. */
  readonly #malformed = new Set<string>();
  /** Revision of the last write that was taken in. */
  readonly #newest: Record<Kind, number>;
  readonly #decoders = new Map<Kind, Decode>();
  readonly #subscribers = new Set<WatchHandlers>();
  #cluster: Versioned<Cluster> | undefined;
  #synced = false;
  #reachable = false;
  /** Calls of those who wait for the connection. */
  readonly #waiting = new Set<() => void>();
  /** The last loss of the connection that was told, so that an outage is told once and not at every retry. */
  #toldTrouble: string | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#newest = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>;
    this.#objects = Object.fromEntries(KINDS.map((kind) => [kind, new Map()])) as Record<
      Kind,
      Map<string, Versioned<object>>
    >;
  }

  get cluster(): Versioned<Cluster> | undefined {
    return this.#cluster;
  }

  get reachable(): boolean {
    return this.#reachable;
  }

  /** Whether the connection is there, or is back within so long. */
  whenReachable(timeoutMs: number): Promise<boolean> {
    if (this.#reachable) return Promise.resolve(true);
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(end);
        resolve(this.#reachable);
      };
      const timer = setTimeout(end, timeoutMs);
      this.#waiting.add(end);
    });
  }

  /** What is known of one kind, whose values are read by `decode`. */
  cache<T extends object, Id extends string>(kind: Kind, decode: (item: KeyValue) => Versioned<T>): FedCache<T, Id> {
    this.#decoders.set(kind, decode);
    // The decoder of the kind makes only values of this type.
    const objects = this.#objects[kind] as Map<Id, Versioned<T>>;
    const synced = () => this.#synced;
    const newestRevision = () => (this.#malformed.size > 0 ? -1 : this.#newest[kind]);
    return {
      get: (id) => objects.get(id),
      values: () => objects.values(),
      get size() {
        return objects.size;
      },
      get synced() {
        return synced();
      },
      get newestRevision() {
        return newestRevision();
      },
    };
  }

  watch(handlers: WatchHandlers): Watch {
    const cluster = this.#cluster;
    if (cluster !== undefined) this.#guard(() => handlers.cluster?.(cluster.value));
    for (const kind of TELLING_ORDER) {
      for (const [id, { value }] of this.#objects[kind]) this.#tell(handlers, kind, id, value);
    }
    this.#subscribers.add(handlers);
    this.#guard(() => handlers.synced?.());
    return { close: () => this.#subscribers.delete(handlers) };
  }

  close(): void {
    this.#subscribers.clear();
    for (const end of [...this.#waiting]) end();
  }

  /* ---- from the watch ---- */

  snapshot(items: readonly KeyValue[], clusterId: string): void {
    const id = BigInt(clusterId).toString(16);
    if (id !== this.#options.etcdClusterId) {
      // What another etcd does not hold must not look removed.
      throw new DomainError('invalid-state', `etcd was replaced: cluster ${this.#options.etcdClusterId} is now ${id}`);
    }
    const byKey = new Map(items.map((item) => [item.key, item]));
    for (const kind of [...TELLING_ORDER].reverse()) {
      for (const known of [...this.#objects[kind].keys()]) {
        const key = objectKey(kind, known);
        if (!byKey.has(key)) this.#apply(key, undefined);
      }
    }
    // Revisions may have been rolled back.
    for (const kind of KINDS) this.#newest[kind] = 0;
    const rank = (item: KeyValue) => TELLING_ORDER.indexOf(parseKey(item.key)?.kind ?? 'volumes');
    for (const item of [...items].sort((a, b) => rank(a) - rank(b))) this.#apply(item.key, item);
    this.#synced = true;
    this.#reachable = true;
    this.#toldTrouble = undefined;
    for (const end of [...this.#waiting]) end();
  }

  events(events: readonly WatchEvent[]): void {
    for (const { key, item } of events) this.#apply(key, item);
  }

  lost(error: unknown): void {
    this.#reachable = false;
    const trouble = toDomainError(error, 'watching');
    if (trouble.message !== this.#toldTrouble) this.#options.onTrouble(trouble);
    this.#toldTrouble = trouble.message;
  }

  #apply(key: string, item: KeyValue | undefined): void {
    if (key === CLUSTER_KEY) {
      this.#guard(() => {
        this.#cluster = item === undefined ? undefined : decodeCluster(item);
      });
      const cluster = this.#cluster;
      if (cluster === undefined) return;
      for (const handlers of this.#subscribers) this.#guard(() => handlers.cluster?.(cluster.value));
      return;
    }
    const parsed = parseKey(key);
    if (parsed === undefined) return;
    const { kind, id } = parsed;
    const objects = this.#objects[kind];
    this.#malformed.delete(key);
    if (item === undefined) {
      if (objects.delete(id)) this.#tellAll(kind, id, undefined);
      return;
    }
    let next: Versioned<object> | undefined;
    try {
      next = this.#decoders.get(kind)?.(item);
    } catch (error) {
      // The last sound value stays: a malformed one must not look like a removal.
      this.#malformed.add(key);
      this.#options.onTrouble(error);
    }
    if (next === undefined) return;
    this.#newest[kind] = Math.max(this.#newest[kind], Number(item.revision));
    const known = objects.get(id);
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
