/** What the activities need from their node, as narrow interfaces; node-agent's classes fit them. */

import type {
  Attachment,
  ChooseCopies,
  Membership,
  Namespace,
  NodeLiveness,
  NodeRecord,
  Placement,
  Tombstone,
  Volume,
} from '../core/domain.js';
import type { HeldVolume, KeyCondition } from '../core/lost-volumes.js';
import type { DeploymentStatus, SyncProgress } from '../core/messages.js';
import type { MembershipStore } from '../core/ports.js';
import type { NodeSurvey, RecoveredVolume } from '../core/recovery.js';
import type { BlockNumber, DeploymentId, Generation, NamespaceId, NodeId, VolumeId } from '../core/types.js';
import type { PlanSettings } from '../core/volume-plan.js';

export interface Versioned<T> {
  readonly value: T;
  readonly version: string;
}

/** Records of one kind in etcd (node-agent/state, Repository). Errors: DomainError. */
export interface Records<T, Id> {
  get(id: Id): Promise<Versioned<T> | undefined>;
  list(): Promise<Versioned<T>[]>;
  /** 'already-exists' */
  create(value: T): Promise<Versioned<T>>;
  /** `change` may be called more than once; nothing is written if it returns its argument. 'not-found' */
  update(id: Id, change: (current: T) => T): Promise<Versioned<T>>;
  /** 'not-found' */
  remove(id: Id): Promise<void>;
}

export interface StateDeps {
  readonly etcdClusterId: string;
  readonly volumes: Records<Volume, VolumeId>;
  readonly memberships: Records<Membership, VolumeId>;
  readonly attachments: Records<Attachment, VolumeId>;
  readonly nodes: Records<NodeRecord, NodeId>;
  readonly namespaces: Pick<Records<Namespace, NamespaceId>, 'list'>;
  readonly tombstones: Pick<Records<Tombstone, DeploymentId>, 'get' | 'list' | 'remove'>;
  readonly liveness: Pick<Records<NodeLiveness, NodeId>, 'list'>;
  readonly membershipStore: MembershipStore;
  /**
   * Copies leave the volume's record and their tombstones come, in one transaction. `choose` is called again if the
   * volume or its membership has changed meanwhile, and may throw; without tombstones nothing is written. 'not-found'
   */
  dropCopies(id: VolumeId, choose: ChooseCopies): Promise<void>;
  /** The volume's records go and its deployments' tombstones come, in one transaction. 'not-found' */
  deleteVolume(id: VolumeId, tombstones: readonly Tombstone[]): Promise<void>;
  /**
   * The records of a volume that has none, and tombstones of copies that it goes on without, in one transaction;
   * detached, with this generation. 'already-exists', 'not-found' (namespace), 'conflict' (a membership, or a
   * tombstone of a copy).
   */
  restoreVolume(
    volume: Volume,
    membership: Membership,
    generation: Generation,
    abandoned: readonly Tombstone[],
  ): Promise<Versioned<Volume>>;
  /**
   * Puts a membership that was made anew in the place of `expected` (undefined: none), the placements that go with it,
   * and tombstones of copies that it goes on without, in one transaction. 'not-found', 'stale-write'
   */
  recoverVolume(recovered: RecoveredVolume): Promise<void>;
}

/** A block of a copy as it is stored, without its payload. */
export interface InventoryBlock {
  readonly block: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly kind: number;
  readonly flags: number;
  readonly storedLength: number;
  /** XXH3-64 of the stored payload. */
  readonly checksumLow: number;
  readonly checksumHigh: number;
}

export interface InventoryPage {
  readonly blocks: readonly InventoryBlock[];
  /** Where to ask on; absent at the end. */
  readonly next?: number | undefined;
}

/** Copies on this node and on others (node-agent/replication, ReplicationHost). */
export interface ReplicationDeps {
  /**
   * Makes and opens the deployment, or finds it. `read`: the volume's record as etcd has it now; it is asked for when
   * nothing else is done to the deployment, so that one whose tombstone was buried meanwhile is not made any more.
   */
  createDeployment(volume: VolumeId, deployment: DeploymentId, read: () => Promise<Volume>): Promise<DeploymentStatus>;
  /** Erases a local deployment; nothing happens if there is none. */
  removeDeployment(deployment: DeploymentId): Promise<void>;
  /** DomainError 'node-unavailable' if the node does not answer, 'not-found' if it has no such deployment. */
  remoteStatus(copy: Placement, timeoutMs: number): Promise<DeploymentStatus>;
  /** What a node's copies of a volume know. Errors as `remoteStatus`. */
  survey(node: NodeId, volume: VolumeId, timeoutMs: number): Promise<NodeSurvey>;
  /** The volumes of which a node has copies and sees no record in etcd. Errors as `remoteStatus`. */
  held(node: NodeId, timeoutMs: number): Promise<readonly HeldVolume[]>;
  /** The copy belongs to the present etcd from now on. 'invalid-state' if its node talks to another one. */
  adoptCluster(copy: Placement, etcdClusterId: string, timeoutMs: number): Promise<void>;
  /** `source` is on this node. Rejects with ReplicationError. */
  startSync(
    source: DeploymentId,
    target: DeploymentId,
    report: (progress: SyncProgress) => void,
  ): { readonly done: Promise<SyncProgress>; cancel(): void };
  /** `source` is on this node. Errors: ReplicationError. */
  removeMember(source: DeploymentId, member: DeploymentId, reason: string): Promise<void>;
  /** Written blocks of a copy from block number `from` on, ascending, at most `limit`. Errors as `remoteStatus`. */
  remoteInventory(copy: Placement, from: BlockNumber, limit: number): Promise<InventoryPage>;
}

/** What a node shows of an attached volume. */
export interface OpenedAttachment {
  readonly nbdUri: string;
  /** Path of the block device; absent where this node can make none. */
  readonly device?: string;
}

/** Frontends and block devices of this node. */
export interface AttachmentDeps {
  /** Idempotent by generation. */
  open(volume: Volume, attachment: Attachment): Promise<OpenedAttachment>;
  /** Nothing happens if the volume is not open here. 'in-use' while its filesystem can't be unmounted. */
  close(volume: VolumeId, generation: Generation): Promise<void>;
}

/** Keys of encrypted volumes. They never appear in arguments or results of activities. */
export interface KeyDeps {
  /** Nothing happens if the volume has one. */
  create(volume: VolumeId): Promise<void>;
  /** Whether what is encrypted with the volume's key can be read here. */
  check(volume: VolumeId): Promise<KeyCondition>;
  delete(volume: VolumeId): Promise<void>;
}

export interface ActivityDeps {
  readonly self: NodeId;
  readonly state: StateDeps;
  readonly replication: ReplicationDeps;
  readonly attachments: AttachmentDeps;
  readonly keys: KeyDeps;
  /** What gossip says; undefined if it knows nothing about the node. */
  readonly nodeHealth: (node: NodeId) => 'alive' | 'suspect' | 'dead' | undefined;
  /** Wakes a volume's workflow, starting it if there is none. */
  readonly look: (volume: VolumeId, reason: string) => Promise<void>;
  readonly settings: ActivitySettings;
}

export interface ActivitySettings {
  readonly plan: PlanSettings;
  /** Kept free on every node when copies are placed, bytes. */
  readonly reserveBytes: number;
  /** A copy that does not tell its status within this time counts as unreachable. */
  readonly statusTimeoutMs: number;
  /** The same for one on a node that gossip takes for dead. */
  readonly deadStatusTimeoutMs: number;
  /** RFC 3339; for records that people read. */
  readonly timestamp: () => string;
}
