/** Records of the domain for tests; every field can be replaced. */

import { randomUUID } from 'node:crypto';
import type { Cluster, Membership, Namespace, NodeRecord, PolicyGroup, User, Volume } from '../../core/domain.js';
import type {
  DeploymentId,
  Epoch,
  Incarnation,
  NamespaceId,
  NodeId,
  PolicyGroupId,
  UserId,
  VolumeId,
} from '../../core/types.js';

const NOW = '2026-01-02T03:04:05.678Z';

export function aCluster(patch: Partial<Cluster> = {}): Cluster {
  return {
    id: randomUUID(),
    disableTelemetry: true,
    disableCrashReporting: true,
    disableVersionCheck: true,
    logLevel: 'info',
    logFormat: 'default',
    createdAt: NOW,
    updatedAt: NOW,
    ...patch,
  };
}

export function aNamespace(patch: Partial<Namespace> = {}): Namespace {
  const id = randomUUID() as NamespaceId;
  return { id, name: `ns-${id}`, labels: {}, createdAt: NOW, updatedAt: NOW, ...patch };
}

export function aVolume(patch: Partial<Volume> = {}): Volume {
  const id = randomUUID() as VolumeId;
  return {
    id,
    namespace: randomUUID() as NamespaceId,
    name: `vol-${id}`,
    description: '',
    labels: {},
    sizeBytes: 2 ** 30,
    blockSize: 4096,
    fsType: 'ext4',
    replicas: 1,
    failureMode: { kind: 'hard' },
    durability: 'writeback',
    compression: true,
    encryption: false,
    phase: 'ready',
    placements: [],
    createdAt: NOW,
    updatedAt: NOW,
    ...patch,
  };
}

export function aNode(patch: Partial<NodeRecord> = {}): NodeRecord {
  const id = randomUUID() as NodeId;
  return {
    id,
    revision: 1,
    name: `node-${id}`,
    ioEndpoint: '127.0.0.9:5703',
    apiEndpoint: '127.0.0.9:5705',
    gossipEndpoint: '127.0.0.9:5711',
    labels: {},
    computeOnly: false,
    cordoned: false,
    capacity: { totalBytes: 10 ** 12, freeBytes: 9 * 10 ** 11, availableBytes: 8 * 10 ** 11, reservedBytes: 10 ** 11 },
    createdAt: NOW,
    updatedAt: NOW,
    ...patch,
  };
}

export function aUser(patch: Partial<User> = {}): User {
  const id = randomUUID() as UserId;
  return {
    id,
    username: `user-${id}`,
    passwordHash: '$argon2id$none',
    isAdmin: false,
    groups: [],
    sessionGeneration: 0,
    createdAt: NOW,
    updatedAt: NOW,
    ...patch,
  };
}

export function aPolicyGroup(patch: Partial<PolicyGroup> = {}): PolicyGroup {
  const id = randomUUID() as PolicyGroupId;
  return { id, name: `group-${id}`, specs: [], createdAt: NOW, updatedAt: NOW, ...patch };
}

export function aMembership(volume: VolumeId, patch: Partial<Membership> = {}): Membership {
  const deployment = randomUUID() as DeploymentId;
  return {
    volume,
    epoch: 1 as Epoch,
    primary: { deployment, node: randomUUID() as NodeId, incarnation: randomUUID() as Incarnation },
    inSync: [deployment],
    outOfSync: [],
    history: [],
    active: true,
    lossVerifier: 0,
    etcdClusterId: 'ab12',
    readOnly: false,
    ...patch,
  };
}
