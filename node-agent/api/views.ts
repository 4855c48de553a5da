/** How objects of the cluster look in the API (reference/http-api.md, "Schemas"). */

import type {
  Attachment,
  Cluster,
  Membership,
  Namespace,
  NodeDisks,
  NodeRecord,
  Placement,
  PolicyGroup,
  User,
  Volume,
} from '../../core/domain.js';
import type { Entitlement } from '../../core/licence.js';
import type { NodeId } from '../../core/types.js';
import type { Versioned } from '../state/cluster-state.js';
import { nodeVersion } from '../state/node-records.js';
import { LABEL_COMPUTE_ONLY } from './labels.js';
import type { NodeHealth } from './ports.js';
import type { SyncProgressView } from './sync-progress.js';

/** Ports of StorageOS that clients expect in a node's addresses (reference/behaviours.md, "Ports"). */
const SUPERVISOR_PORT = 5704;
const CLUSTERING_PORT = 5710;

function withPort(endpoint: string, port: number): string {
  return `${endpoint.slice(0, endpoint.lastIndexOf(':'))}:${port}`;
}

export function userView({ value, version }: Versioned<User>) {
  return {
    id: value.id,
    username: value.username,
    isAdmin: value.isAdmin,
    groups: value.groups,
    createdAt: value.createdAt,
    updatedAt: value.updatedAt,
    version,
  };
}

/** `users`: those that the reader may see. */
export function policyGroupView({ value, version }: Versioned<PolicyGroup>, users: readonly User[]) {
  const members = users.filter(({ groups }) => groups.includes(value.id));
  return { ...value, users: members.map(({ id, username }) => ({ id, username })), version };
}

export function namespaceView({ value, version }: Versioned<Namespace>) {
  return { ...value, version };
}

export function nodeLabels(node: NodeRecord): Readonly<Record<string, string>> {
  return node.computeOnly ? { ...node.labels, [LABEL_COMPUTE_ONLY]: 'true' } : node.labels;
}

/** `disks`: what the node says of them beside its room. */
export function nodeView({ value }: Versioned<NodeRecord>, health: NodeHealth, disks: NodeDisks | undefined) {
  return {
    id: value.id,
    name: value.name,
    health,
    capacity: {
      total: value.capacity.totalBytes,
      free: value.capacity.freeBytes,
      available: value.capacity.availableBytes,
      reserved: value.capacity.reservedBytes,
    },
    ioEndpoint: value.ioEndpoint,
    supervisorEndpoint: withPort(value.ioEndpoint, SUPERVISOR_PORT),
    gossipEndpoint: value.gossipEndpoint,
    clusteringEndpoint: withPort(value.ioEndpoint, CLUSTERING_PORT),
    cordoned: value.cordoned,
    ...(value.cordonedAt !== undefined && { cordonedAt: value.cordonedAt }),
    ...(disks !== undefined && { unusableCopies: disks.unusableCopies }),
    labels: nodeLabels(value),
    createdAt: value.createdAt,
    updatedAt: value.updatedAt,
    version: nodeVersion(value),
  };
}

export function clusterView({ value: { licence: _, ...settings }, version }: Versioned<Cluster>) {
  return { ...settings, version };
}

export function licenceView({ value, version }: Versioned<Cluster>, entitlement: Entitlement, usedBytes: number) {
  const { kind, customerName, capacityBytes, expiresAt, features } = entitlement;
  return {
    clusterID: value.id,
    expiresAt,
    clusterCapacityBytes: capacityBytes,
    usedBytes,
    kind,
    customerName,
    features,
    version,
  };
}

/** What a volume's view takes from elsewhere. */
export interface VolumeSurroundings {
  readonly attachment: Attachment | undefined;
  readonly membership: Membership | undefined;
  readonly node: (id: NodeId) => NodeRecord | undefined;
  readonly health: (id: NodeId) => NodeHealth;
  /** Whether the copy is not open on its node although that runs. */
  readonly isClosed: (copy: Placement) => boolean;
  /** Syncs under way, by the deployment that they fill; undefined while nothing is known of their progress. */
  readonly syncs: ReadonlyMap<string, SyncProgressView | undefined>;
}

export type ReplicaHealth =
  | 'recovering'
  | 'provisioning'
  | 'provisioned'
  | 'syncing'
  | 'ready'
  | 'deleted'
  | 'failed'
  | 'unknown';

function replicaHealth(volume: Volume, copy: Placement, around: VolumeSurroundings): ReplicaHealth {
  const { deployment, node } = copy;
  const { membership, health, isClosed, syncs } = around;
  if (volume.phase === 'deleting') return 'deleted';
  if (membership === undefined) return 'provisioning';
  if (health(node) === 'offline' || isClosed(copy)) return 'failed';
  if (membership.inSync.some((id) => id === deployment)) return health(node) === 'online' ? 'ready' : 'unknown';
  if (syncs.has(deployment)) return 'syncing';
  return membership.outOfSync.some((member) => member.deployment === deployment) ? 'recovering' : 'provisioned';
}

function masterHealth({ active, primary }: Membership, { health, isClosed }: VolumeSurroundings): NodeHealth {
  // Between the two transactions of a promotion nobody serves yet.
  return active && !isClosed(primary) ? health(primary.node) : 'offline';
}

export function volumeView({ value, version }: Versioned<Volume>, around: VolumeSurroundings) {
  const { attachment, membership, node, syncs } = around;
  const host = (id: NodeId) => node(id)?.name ?? '';
  const attachedOn = attachment?.node;
  const primary = membership?.primary;
  const replicas = value.placements
    .filter((placement) => placement.deployment !== primary?.deployment)
    .map((placement) => {
      const progress = syncs.get(placement.deployment);
      const state = replicaHealth(value, placement, around);
      return {
        id: placement.deployment,
        nodeID: placement.node,
        hostname: host(placement.node),
        promotable: state === 'ready',
        health: state,
        ...(progress !== undefined && { syncProgress: progress }),
      };
    });
  return {
    id: value.id,
    name: value.name,
    description: value.description,
    attachedOn: attachedOn ?? '',
    attachedOnHost: attachedOn === undefined ? '' : host(attachedOn),
    nfs: { exports: [], serviceEndpoint: '' },
    namespaceID: value.namespace,
    labels: value.labels,
    fsType: value.fsType,
    attachmentType: attachedOn === undefined ? ('detached' as const) : ('host' as const),
    master:
      membership === undefined || primary === undefined
        ? { id: '', nodeID: '', hostname: '', promotable: false, health: 'unknown' as const }
        : {
            id: primary.deployment,
            nodeID: primary.node,
            hostname: host(primary.node),
            promotable: true,
            health: masterHealth(membership, around),
          },
    replicas: membership === undefined ? [] : replicas,
    sizeBytes: value.sizeBytes,
    readOnly: membership?.readOnly ?? false,
    createdAt: value.createdAt,
    updatedAt: value.updatedAt,
    version,
  };
}
