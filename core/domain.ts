/** What etcd holds: the cluster's desired and durable state. `node-agent/state` validates it on every read. */

import type {
  DeploymentId,
  Epoch,
  Generation,
  HistoryEntry,
  Incarnation,
  NamespaceId,
  NodeId,
  PolicyGroupId,
  UserId,
  VolumeId,
} from './types.js';

export type FsType = 'ext2' | 'ext3' | 'ext4' | 'xfs' | 'btrfs' | 'block';

/** How many ready replicas a volume needs to go on; see failure-mode.ts. `threshold` is 0–5. */
export type FailureMode =
  | { readonly kind: 'hard' }
  | { readonly kind: 'soft' }
  | { readonly kind: 'alwayson' }
  | { readonly kind: 'threshold'; readonly threshold: number };

/** `writeback`: an acknowledged write is in the memory of all members. `writethrough`: on all their disks. */
export type Durability = 'writeback' | 'writethrough';

export const LABEL_PREFIX = 'storageos.com/';
export const MAX_REPLICAS = 5;
export const MIN_VOLUME_BYTES = 1 << 30;
export const DEFAULT_BLOCK_SIZE = 4096;

/** Where one copy of the volume is meant to be. Whether it is in sync says the membership record. */
export interface Placement {
  readonly deployment: DeploymentId;
  readonly node: NodeId;
}

/** The label of nodes that says which of them share their fate, unless a volume names another one. */
export const DEFAULT_TOPOLOGY_KEY = 'topology.kubernetes.io/zone';

/** How nodes for new copies are chosen (placement.ts). `topologyKey`: the label whose values tell domains apart. */
export type PlacementStrategy =
  | { readonly kind: 'recommended' }
  | { readonly kind: 'random' }
  | { readonly kind: 'topology-aware'; readonly topologyKey: string };

/**
 * `provisioning` until the first copies exist, `deleting` from the moment that deletion was accepted.
 * `failed`: provisioning could not be done; `reason` says why.
 */
export type VolumePhase = 'provisioning' | 'ready' | 'deleting' | 'failed';

export interface Volume {
  readonly id: VolumeId;
  readonly namespace: NamespaceId;
  readonly name: string;
  readonly description: string;
  /** All labels, the reserved ones (`storageos.com/…`) among them. */
  readonly labels: Readonly<Record<string, string>>;
  readonly sizeBytes: number;
  /** 4,096–65,536 bytes, a power of two. */
  readonly blockSize: number;
  readonly fsType: FsType;
  /** Copies beside the primary, 0–5: the target. */
  readonly replicas: number;
  readonly failureMode: FailureMode;
  readonly durability: Durability;
  readonly compression: boolean;
  readonly encryption: boolean;
  readonly phase: VolumePhase;
  readonly reason?: string;
  /** The desired placement of every copy, changed by the volume's workflow only. */
  readonly placements: readonly Placement[];
  /** For copies that are placed from now on; absent: `recommended`. */
  readonly placementStrategy?: PlacementStrategy;
  /** Where the next new copy goes if it can; forgotten when a copy was placed. */
  readonly nextCopyOn?: NodeId;
  /** Of copies that are too many, these go rather than others. */
  readonly evictionCandidates?: readonly DeploymentId[];
  /** Replicas that are to go although they are not too many; others are made in their place. */
  readonly evicting?: readonly DeploymentId[];
  /** RFC 3339. */
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** A copy that is placed but does not hold every acknowledged write, and why. Informative. */
export interface OutOfSync {
  readonly deployment: DeploymentId;
  readonly reason: string;
  /** RFC 3339. */
  readonly since: string;
}

/**
 * Who serves a volume and which deployments hold every acknowledged write. Changed only by a transaction
 * that compares the whole previous record (design/replication.md, "State").
 */
export interface Membership {
  readonly volume: VolumeId;
  /** Rises with every change of this record. */
  readonly epoch: Epoch;
  readonly primary: Placement & { readonly incarnation: Incarnation };
  /** Never empty. Contains `primary.deployment`. */
  readonly inSync: readonly DeploymentId[];
  readonly outOfSync: readonly OutOfSync[];
  /** Never pruned; epochs rise. */
  readonly history: readonly HistoryEntry[];
  /** False between the two transactions of a promotion. */
  readonly active: boolean;
  /** Changes when acknowledged, unflushed writes were lost (an unclean primary had to be chosen). */
  readonly lossVerifier: number;
  /** The etcd cluster in which this record was written, as hex. */
  readonly etcdClusterId: string;
  /**
   * Set by a transaction that the hard or soft failure mode forced: the volume refuses writes until
   * its replicas are restored.
   */
  readonly readOnly: boolean;
}

/** Which node's frontend may do I/O. The key exists from the volume's creation to its deletion. */
export interface Attachment {
  readonly volume: VolumeId;
  /** Absent: detached. */
  readonly node?: NodeId;
  readonly generation: Generation;
  readonly mode: 'rw' | 'ro';
  readonly updatedAt: string;
}

export interface NodeRecord {
  readonly id: NodeId;
  /** Rises with every change but reports of the capacity; the API's `version` comes from it. */
  readonly revision: number;
  readonly name: string;
  /** host:port */
  readonly ioEndpoint: string;
  readonly apiEndpoint: string;
  readonly gossipEndpoint: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly computeOnly: boolean;
  readonly cordoned: boolean;
  readonly cordonedAt?: string;
  readonly capacity: {
    readonly totalBytes: number;
    readonly freeBytes: number;
    /** Free and not reserved. */
    readonly availableBytes: number;
    readonly reservedBytes: number;
  };
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** What a node says of its disks beside its room; there is no record where there is nothing to be said. */
export interface NodeDisks {
  readonly node: NodeId;
  /** Copies on them that cannot be opened at present: damaged, or on a device that gives errors. */
  readonly unusableCopies: number;
}

/** Copies in sync that are placed on a node that runs and are not open there; there is no record where all are. */
export interface ClosedCopies {
  readonly node: NodeId;
  /** Lost with their disk, or unusable at present. */
  readonly copies: readonly DeploymentId[];
}

export interface Namespace {
  readonly id: NamespaceId;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: string;
  readonly updatedAt: string;
}

export interface User {
  readonly id: UserId;
  readonly username: string;
  /** argon2id, PHC string format. */
  readonly passwordHash: string;
  readonly isAdmin: boolean;
  /** Policy groups that the user is a member of. */
  readonly groups: readonly PolicyGroupId[];
  /** Rises when all sessions are ended: tokens that were issued under another number are refused. */
  readonly sessionGeneration: number;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** What members of a policy group may do; see core/access.ts. */
export interface PolicySpec {
  /** `*`: every namespace, and what belongs to none. */
  readonly namespaceID: NamespaceId | '*';
  readonly resourceType: '*' | 'cluster' | 'namespace' | 'node' | 'policy' | 'user' | 'volume';
  /** Whether only reading is allowed. */
  readonly readOnly: boolean;
}

/** Rights under a name, for all users who are members. */
export interface PolicyGroup {
  readonly id: PolicyGroupId;
  readonly name: string;
  readonly specs: readonly PolicySpec[];
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** Left behind by a deletion: only with it may a node erase a deployment's data. */
export interface Tombstone {
  readonly deployment: DeploymentId;
  readonly volume: VolumeId;
  readonly node: NodeId;
  readonly deletedAt: string;
}

/** A volume without some of its copies, and their tombstones. */
export interface DroppedCopies {
  readonly volume: Volume;
  readonly tombstones: readonly Tombstone[];
}

/** What is to go, by what etcd has at present. */
export type ChooseCopies = (volume: Volume, membership: Membership | undefined) => DroppedCopies;

/** Settings and identity of the cluster; made once, by the node that comes first. */
export interface Cluster {
  /** RFC 4122 UUID. */
  readonly id: string;
  readonly disableTelemetry: boolean;
  readonly disableCrashReporting: boolean;
  readonly disableVersionCheck: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly logFormat: 'default' | 'json';
  /** Text of the licence, as it was applied; absent: unregistered. */
  readonly licence?: string;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** A running agent; its key is bound to a lease and is gone when the agent no longer renews it. */
export interface NodeLiveness {
  readonly node: NodeId;
  /** UUID of this run of the agent: another value means that it was restarted. */
  readonly run: string;
  readonly startedAt: string;
}
