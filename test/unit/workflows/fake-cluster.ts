/**
 * A cluster in memory for the activities to work on: etcd's records, and agents whose primaries open, drop dead
 * members and sync, with core's own transitions of the membership record.
 */

import { randomUUID } from 'node:crypto';
import type {
  ActivityDeps,
  AttachmentDeps,
  InventoryBlock,
  ReplicationDeps,
  StateDeps,
  Versioned,
} from '../../../activities/deps.js';
import type {
  Attachment,
  Membership,
  Namespace,
  NodeLiveness,
  NodeRecord,
  Placement,
  Tombstone,
  Volume,
} from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import type { KeyCondition } from '../../../core/lost-volumes.js';
import { activate, addMember, releaseMember, removeMembers, sameMembership } from '../../../core/membership.js';
import type { DeploymentStatus, SyncProgress } from '../../../core/messages.js';
import type { RememberedVolume } from '../../../core/recovery.js';
import { ReplicationError } from '../../../core/replication/context.js';
import type {
  DeploymentId,
  Epoch,
  Generation,
  Incarnation,
  NamespaceId,
  NodeId,
  Sequence,
  VolumeId,
} from '../../../core/types.js';
import { aNamespace, aNode, aVolume } from '../../setup/records.js';

const CLUSTER_ID = 'ab12';
const OPEN_MS = 20;

class MemoryRecords<T, Id> {
  readonly values = new Map<Id, Versioned<T>>();
  readonly #idOf: (value: T) => Id;
  readonly #changed: () => void;
  #revision = 0;

  constructor(idOf: (value: T) => Id, changed: () => void = () => {}) {
    this.#idOf = idOf;
    this.#changed = changed;
  }

  async get(id: Id): Promise<Versioned<T> | undefined> {
    return this.values.get(id);
  }

  async list(): Promise<Versioned<T>[]> {
    return [...this.values.values()];
  }

  async create(value: T): Promise<Versioned<T>> {
    if (this.values.has(this.#idOf(value))) throw new DomainError('already-exists', 'already there');
    return this.put(value);
  }

  async update(id: Id, change: (current: T) => T): Promise<Versioned<T>> {
    const current = this.values.get(id);
    if (current === undefined) throw new DomainError('not-found', `${id} not found`);
    const next = change(current.value);
    return next === current.value ? current : this.put(next);
  }

  async remove(id: Id): Promise<void> {
    if (!this.values.delete(id)) throw new DomainError('not-found', `${id} not found`);
  }

  put(value: T): Versioned<T> {
    const versioned = { value, version: String(++this.#revision) };
    this.values.set(this.#idOf(value), versioned);
    this.#changed();
    return versioned;
  }

  value(id: Id): T | undefined {
    return this.values.get(id)?.value;
  }
}

interface Copy {
  readonly volume: VolumeId;
  readonly node: NodeId;
  incarnation: Incarnation;
  promised: Epoch;
  sequence: Sequence;
  role: DeploymentStatus['role'];
  serving: boolean;
  sync?: SyncProgress;
  inventory: InventoryBlock[];
  etcdClusterId: string;
  /** Of the newest record that it has acted under. */
  history: Membership['history'];
}

/** A sync that goes on until the test lets it end. */
export interface HeldSync {
  readonly volume: VolumeId;
  readonly target: DeploymentId;
  readonly report: (progress: Partial<SyncProgress>) => void;
  readonly finish: () => void;
  cancelled: boolean;
  finished: boolean;
}

export class FakeCluster {
  readonly volumes = new MemoryRecords<Volume, VolumeId>((volume) => volume.id);
  readonly memberships = new MemoryRecords<Membership, VolumeId>(
    (record) => record.volume,
    () => this.#drive(),
  );
  readonly attachments = new MemoryRecords<Attachment, VolumeId>((attachment) => attachment.volume);
  readonly nodes = new MemoryRecords<NodeRecord, NodeId>((node) => node.id);
  readonly namespaces = new MemoryRecords<Namespace, NamespaceId>((namespace) => namespace.id);
  readonly liveness = new MemoryRecords<NodeLiveness, NodeId>((liveness) => liveness.node);
  readonly tombstones = new MemoryRecords<Tombstone, DeploymentId>((tombstone) => tombstone.deployment);
  readonly copies = new Map<DeploymentId, Copy>();
  readonly keys = new Set<VolumeId>();
  /** Keys that do not open. */
  readonly badKeys = new Set<VolumeId>();
  /** What all nodes with a copy remember of its volume. */
  readonly memory = new Map<VolumeId, RememberedVolume>();
  /** Copies that a node has, and of which it cannot tell of which volume they are. */
  readonly unreadable = new Map<NodeId, number>();
  /** What each node shows. */
  readonly shown = new Map<NodeId, Map<VolumeId, Generation>>();
  /** Deployments that a node can't make, volumes that it can't show; throws what is there. */
  readonly faults = new Map<string, Error>();
  /** The same places, for as long as the promise takes. */
  readonly hangs = new Map<string, Promise<void>>();
  /** The highest attachment generation that every copy has seen. */
  generation = 0;
  #holdSyncs = false;
  #heldSyncs: HeldSync[] = [];

  constructor(nodes: number) {
    for (let i = 1; i <= nodes; i++) this.addNode(`node${i}`);
  }

  addNode(name: string): NodeId {
    const node = aNode({ name });
    this.nodes.put(node);
    this.shown.set(node.id, new Map());
    this.#live(node.id);
    return node.id;
  }

  node(name: string): NodeId {
    for (const { value } of this.nodes.values.values()) if (value.name === name) return value.id;
    throw new Error(`no node ${name}`);
  }

  isAlive(node: NodeId): boolean {
    return this.liveness.values.has(node);
  }

  createVolume(patch: Partial<Volume> = {}): VolumeId {
    const volume = aVolume({ phase: 'provisioning', ...patch });
    this.volumes.put(volume);
    this.attachments.put({ volume: volume.id, generation: 0 as Generation, mode: 'rw', updatedAt: volume.createdAt });
    return volume.id;
  }

  record(volume: VolumeId): Membership {
    const record = this.memberships.value(volume);
    if (record === undefined) throw new Error(`no membership of ${volume}`);
    return record;
  }

  /** The process of the node is gone, with everything in it. */
  kill(node: NodeId): void {
    this.liveness.values.delete(node);
    this.shown.get(node)?.clear();
    for (const copy of this.copies.values()) if (copy.node === node) this.#reset(copy);
    for (const { value: record } of [...this.memberships.values.values()]) {
      if (!record.active || record.primary.node === node) continue;
      const gone = this.#placements(record.volume).filter(
        (placed) => placed.node === node && record.inSync.includes(placed.deployment),
      );
      if (gone.length === 0) continue;
      const since = new Date().toISOString();
      const left = gone.map(({ deployment }) => ({ deployment, reason: 'node is away', since }));
      this.#commit(record, removeMembers(record, left));
    }
  }

  start(node: NodeId): void {
    this.#live(node);
    this.#drive();
  }

  /** The process is replaced by a new one before anybody has missed it. */
  restart(node: NodeId): void {
    for (const copy of this.copies.values()) if (copy.node === node) this.#reset(copy);
  }

  /** As if etcd had been restored from a snapshot that is older than the volume; all nodes remember it. */
  lose(volume: VolumeId): void {
    const record = this.volumes.value(volume);
    if (record === undefined) throw new Error(`no volume ${volume}`);
    const namespace = aNamespace({ id: record.namespace });
    this.namespaces.put(namespace);
    this.memory.set(volume, { volume: record, namespaceName: namespace.name });
    for (const records of [this.volumes, this.memberships, this.attachments]) records.values.delete(volume);
  }

  write(volume: VolumeId, blocks: number): void {
    const record = this.record(volume);
    for (const deployment of record.inSync) {
      const copy = this.copies.get(deployment);
      if (copy !== undefined) copy.sequence = (copy.sequence + blocks) as Sequence;
    }
  }

  /** Syncs that begin from now on wait for the test. */
  holdSyncs(): void {
    this.#holdSyncs = true;
  }

  heldSyncs(volume: VolumeId): HeldSync[] {
    return this.#heldSyncs.filter((held) => held.volume === volume);
  }

  /** Those of other volumes too, which a killed node has started. */
  releaseSyncs(): void {
    this.#holdSyncs = false;
    for (const held of this.#heldSyncs.splice(0)) held.finish();
  }

  deps(self: NodeId, look: ActivityDeps['look']): ActivityDeps {
    return {
      self,
      state: this.#state,
      replication: this.#replication(self),
      attachments: this.#attachments(self),
      keys: {
        create: async (volume) => void this.keys.add(volume),
        check: async (volume): Promise<KeyCondition> =>
          this.badKeys.has(volume) ? 'unusable' : this.keys.has(volume) ? 'usable' : 'missing',
        delete: async (volume) => void this.keys.delete(volume),
      },
      nodeHealth: (node) => (this.isAlive(node) ? 'alive' : 'dead'),
      look,
      settings: {
        plan: {
          graceMs: 1_000,
          suspicionMs: 100,
          openingMs: 2_000,
          stalledMs: 4_000,
          idleMs: 2_000,
          busyMs: 100,
          runningMs: 200,
        },
        reserveBytes: 2 ** 30,
        statusTimeoutMs: 500,
        deadStatusTimeoutMs: 100,
        timestamp: () => new Date().toISOString(),
      },
    };
  }

  readonly #state: StateDeps = {
    etcdClusterId: CLUSTER_ID,
    volumes: this.volumes,
    memberships: this.memberships,
    attachments: this.attachments,
    nodes: this.nodes,
    namespaces: this.namespaces,
    tombstones: this.tombstones,
    liveness: this.liveness,
    membershipStore: {
      read: async (volume) => this.memberships.value(volume),
      swap: async (expected, next) => (this.#commit(expected, next) ? 'applied' : 'conflict'),
    },
    dropCopies: async (id, choose) => {
      await this.volumes.update(id, (current) => {
        const { volume, tombstones } = choose(current, this.memberships.value(id));
        for (const tombstone of tombstones) this.tombstones.put(tombstone);
        return tombstones.length === 0 ? current : volume;
      });
    },
    deleteVolume: async (volume, tombstones) => {
      await this.volumes.remove(volume);
      this.attachments.values.delete(volume);
      this.memberships.values.delete(volume);
      for (const tombstone of tombstones) this.tombstones.put(tombstone);
    },
    restoreVolume: async (volume, membership, generation, abandoned) => {
      const created = await this.volumes.create(volume);
      this.attachments.put({ volume: volume.id, generation, mode: 'rw', updatedAt: volume.updatedAt });
      this.memberships.put(membership);
      for (const tombstone of abandoned) this.tombstones.put(tombstone);
      return created;
    },
    recoverVolume: async ({ expected, next, placements, abandoned, timestamp }) => {
      if (expected === undefined) await this.memberships.create(next);
      else if (!this.#commit(expected, next)) throw new DomainError('stale-write', 'the membership has changed');
      await this.volumes.update(next.volume, (current) => ({ ...current, placements, updatedAt: timestamp }));
      for (const tombstone of abandoned) this.tombstones.put(tombstone);
    },
  };

  #replication(self: NodeId): ReplicationDeps {
    const remote = (copy: Placement): Copy => {
      if (!this.isAlive(copy.node)) throw new DomainError('node-unavailable', `node ${copy.node} does not answer`);
      const found = this.copies.get(copy.deployment);
      if (found?.node !== copy.node) throw new DomainError('not-found', `no deployment ${copy.deployment}`);
      return found;
    };
    return {
      createDeployment: async (volume, deployment, read) => {
        await this.#pass(`create on ${self}`);
        await read();
        if (!this.copies.has(deployment)) this.copies.set(deployment, newCopy(volume, self));
        return this.#status(deployment);
      },
      removeDeployment: async (deployment) => void this.copies.delete(deployment),
      remoteStatus: async (copy) => {
        remote(copy);
        return this.#status(copy.deployment);
      },
      survey: async (node, volume) => {
        if (!this.isAlive(node)) throw new DomainError('node-unavailable', `node ${node} does not answer`);
        const copies = [...this.copies]
          .filter(([, copy]) => copy.volume === volume && copy.node === node)
          .map(([deployment, copy]) => ({
            node,
            status: this.#status(deployment),
            history: copy.history,
            syncBase: null,
            shape: { blockSize: 4096, blocks: 2 ** 18 },
          }));
        return {
          copies,
          closed: [],
          unreadable: this.unreadable.get(node) ?? 0,
          remembered: copies.length === 0 ? undefined : this.memory.get(volume),
        };
      },
      held: async (node) => {
        if (!this.isAlive(node)) throw new DomainError('node-unavailable', `node ${node} does not answer`);
        const unknown = [...this.copies].filter(
          ([, copy]) => copy.node === node && !this.volumes.values.has(copy.volume),
        );
        return unknown.map(([deployment, copy]) => ({
          volume: copy.volume,
          deployments: [deployment],
          sizeBytes: 2 ** 30,
          promised: copy.promised,
          name: this.memory.get(copy.volume)?.volume.name,
          namespaceName: this.memory.get(copy.volume)?.namespaceName,
        }));
      },
      adoptCluster: async ({ deployment }, etcdClusterId) => {
        this.copies.get(deployment)!.etcdClusterId = etcdClusterId;
      },
      startSync: (source, target, report) => this.#sync(source, target, report),
      removeMember: async (source, member) => {
        const record = this.#recordOf(source);
        if (!record.inSync.includes(member)) return;
        this.#commit(record, releaseMember(record, member, record.inSync.length > this.#wanted(record.volume)));
      },
      remoteInventory: async (copy, from, limit) => {
        const blocks = remote(copy).inventory.filter(({ block }) => block >= from);
        const page = blocks.slice(0, limit);
        return blocks.length > limit ? { blocks: page, next: page.at(-1)!.block + 1 } : { blocks: page };
      },
    };
  }

  #attachments(self: NodeId): AttachmentDeps {
    return {
      open: async (volume, { generation }) => {
        await this.#pass(`open on ${self}`);
        this.shown.get(self)?.set(volume.id, generation);
        return { nbdUri: `nbd+unix:///?socket=/run/${volume.id}.sock` };
      },
      close: async (volume) => {
        await this.#pass(`close on ${self}`);
        this.shown.get(self)?.delete(volume);
      },
    };
  }

  #sync(source: DeploymentId, target: DeploymentId, report: (progress: SyncProgress) => void) {
    const primary = this.copies.get(source)!;
    const copy = this.copies.get(target);
    const full = copy?.sequence === 0;
    let cancel = (): void => {};
    const done = new Promise<SyncProgress>((resolve, reject) => {
      if (copy === undefined || !this.isAlive(copy.node)) {
        reject(new ReplicationError('target-lost', `${target} does not answer`));
        return;
      }
      const total = primary.sequence - copy.sequence;
      const tell = (patch: Partial<SyncProgress>) => {
        primary.sync = {
          target,
          kind: full ? 'full' : 'delta',
          blocksTotal: total,
          blocksDone: 0,
          bytesCopied: 0,
          blocksPerSecond: 0,
          bytesPerSecond: 0,
          startedAtMs: 0,
          ...primary.sync,
          ...patch,
        };
        report(primary.sync!);
      };
      tell({});
      const finish = () => {
        if (held.cancelled || held.finished) return;
        held.finished = true;
        tell({ blocksDone: total, bytesCopied: total * 4096 });
        const progress = primary.sync!;
        delete primary.sync;
        const record = this.#recordOf(source);
        if (!record.active || record.primary.deployment !== source || !this.isAlive(primary.node)) {
          reject(new ReplicationError('not-primary', 'no longer the primary'));
          return;
        }
        copy.sequence = primary.sequence;
        this.#commit(record, addMember(record, target, { complete: true, readOnly: false }));
        resolve(progress);
      };
      const held: HeldSync = {
        volume: primary.volume,
        target,
        report: tell,
        finish,
        cancelled: false,
        finished: false,
      };
      cancel = () => {
        held.cancelled = true;
        delete primary.sync;
        reject(new ReplicationError('cancelled', 'cancelled'));
      };
      if (this.#holdSyncs) this.#heldSyncs.push(held);
      else setTimeout(finish, OPEN_MS);
    });
    return { done, cancel: () => cancel() };
  }

  async #pass(place: string): Promise<void> {
    await this.hangs.get(place);
    const fault = this.faults.get(place);
    if (fault !== undefined) throw fault;
  }

  #status(deployment: DeploymentId): DeploymentStatus {
    const copy = this.copies.get(deployment)!;
    const { incarnation, promised, sequence, role, serving, sync } = copy;
    return {
      deployment,
      incarnation,
      promised,
      last: { epoch: promised, sequence },
      unclean: false,
      generation: this.generation as Generation,
      role,
      serving,
      etcdClusterId: copy.etcdClusterId,
      usedBytes: 0,
      badBlocks: 0,
      ...(sync !== undefined && { sync }),
    };
  }

  #recordOf(deployment: DeploymentId): Membership {
    return this.record(this.copies.get(deployment)!.volume);
  }

  #wanted(volume: VolumeId): number {
    return (this.volumes.value(volume)?.replicas ?? 0) + 1;
  }

  #placements(volume: VolumeId): readonly Placement[] {
    return this.volumes.value(volume)?.placements ?? [];
  }

  #live(node: NodeId): void {
    this.liveness.put({ node, run: randomUUID(), startedAt: new Date().toISOString() });
  }

  #reset(copy: Copy): void {
    copy.incarnation = randomUUID() as Incarnation;
    copy.role = 'member';
    copy.serving = false;
    delete copy.sync;
  }

  #commit(expected: Membership, next: Membership): boolean {
    const present = this.memberships.value(expected.volume);
    if (present === undefined || !sameMembership(present, expected)) return false;
    this.memberships.put(next);
    return true;
  }

  /** What agents do when a record changes: the named primary opens, the others are members. */
  #drive(): void {
    setTimeout(() => {
      for (const { value: record } of [...this.memberships.values.values()]) this.#open(record);
    }, OPEN_MS);
  }

  #open(record: Membership): void {
    const primary = this.copies.get(record.primary.deployment);
    const members = this.#placements(record.volume).filter(({ deployment }) => record.inSync.includes(deployment));
    if (primary === undefined || !this.isAlive(primary.node) || primary.incarnation !== record.primary.incarnation)
      return;
    const confirmed = members.filter(({ node, deployment }) => this.isAlive(node) && this.copies.has(deployment));
    for (const { deployment } of confirmed) {
      const copy = this.copies.get(deployment)!;
      copy.promised = record.epoch;
      copy.history = record.history;
      copy.role = copy === primary ? 'opening' : 'member';
      copy.serving = false;
    }
    if (!record.active) {
      const next = activate(record, {
        startsAfter: primary.sequence,
        confirmed: new Set(confirmed.map(({ deployment }) => deployment)),
        lossy: false,
        reason: () => 'did not answer',
        timestamp: new Date().toISOString(),
      });
      this.#commit(record, next);
      return;
    }
    primary.role = 'primary';
    primary.serving = true;
  }
}

function newCopy(volume: VolumeId, node: NodeId): Copy {
  return {
    volume,
    node,
    incarnation: randomUUID() as Incarnation,
    promised: 0 as Epoch,
    sequence: 0 as Sequence,
    role: 'member',
    serving: false,
    inventory: [],
    etcdClusterId: CLUSTER_ID,
    history: [],
  };
}
