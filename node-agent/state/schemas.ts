/**
 * One schema for each type that etcd holds; held equal to core/domain.ts by the compiler. They are strict: an agent that
 * changes a record would drop what it does not know. So agents of the version before refuse records with a new member,
 * while a cluster is being updated or a node has been rolled back; what is new goes under a key of its own, of which
 * they know nothing, until all versions in the field read it.
 */

import { z } from 'zod';
import { ANY, RESOURCE_TYPES } from '../../core/access.js';
import type {
  Attachment,
  ClosedCopies,
  Cluster,
  FailureMode,
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
import {
  type DeploymentId,
  type Epoch,
  type Generation,
  type Incarnation,
  isUuid,
  type NamespaceId,
  type NodeId,
  type PolicyGroupId,
  type Sequence,
  type UserId,
  type VolumeId,
} from '../../core/types.js';

/** Labels on one object at the most. */
export const MAX_LABELS = 256;
/** Characters of a label's key and of its value at the most. */
export const MAX_LABEL_KEY_CHARS = 317;
export const MAX_LABEL_VALUE_CHARS = 1024;
/** Names of namespaces and volumes. */
export const OBJECT_NAME = /^[a-z0-9.-]{1,253}$/;
export const MAX_DESCRIPTION_CHARS = 4096;
export const MAX_USERNAME_CHARS = 253;
/** Characters of a licence's text at the most. */
export const MAX_LICENCE_CHARS = 16_384;
export const MAX_GROUP_NAME_CHARS = 253;
/** Policy groups of one user, and specs of one policy group, at the most. */
export const MAX_GROUPS_OF_USER = 1000;
export const MAX_SPECS = 1000;
/** Entries of a membership's lists at the most: a guard against garbage, far above what the protocol makes. */
const MAX_MEMBERS = 64;
/** 390 kB of what etcd takes in one value, 1.5 MiB. */
export const MAX_CLOSED_COPIES = 10_000;
const MAX_HISTORY = 1_000_000;

const uuid = z.string().refine(isUuid, 'must be a UUID');
const id = <T extends string>() => uuid.transform((text) => text as T);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const counter = <T extends number>() => count.transform((value) => value as T);
const time = z.iso.datetime({ offset: true });
const name = z.string().regex(OBJECT_NAME);
const endpoint = z.string().min(1).max(300);
const labels = z
  .record(z.string().min(1).max(MAX_LABEL_KEY_CHARS), z.string().max(MAX_LABEL_VALUE_CHARS))
  .refine((map) => Object.keys(map).length <= MAX_LABELS, `at most ${MAX_LABELS} labels`)
  .readonly();

const failureMode = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('hard') }),
  z.strictObject({ kind: z.literal('soft') }),
  z.strictObject({ kind: z.literal('alwayson') }),
  z.strictObject({ kind: z.literal('threshold'), threshold: count.max(5) }),
]);

const incarnation = z
  .string()
  .min(1)
  .max(64)
  .transform((text) => text as Incarnation);
const placement = { deployment: id<DeploymentId>(), node: id<NodeId>() };

const placementStrategy = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('recommended') }),
  z.strictObject({ kind: z.literal('random') }),
  z.strictObject({ kind: z.literal('topology-aware'), topologyKey: z.string().min(1).max(MAX_LABEL_KEY_CHARS) }),
]);
const deployments = z.array(id<DeploymentId>()).max(MAX_MEMBERS).readonly();

export const volumeSchema = z.strictObject({
  id: id<VolumeId>(),
  namespace: id<NamespaceId>(),
  name,
  description: z.string().max(MAX_DESCRIPTION_CHARS),
  labels,
  sizeBytes: count,
  blockSize: count
    .min(4096)
    .max(65_536)
    .refine((size) => (size & (size - 1)) === 0, 'must be a power of two'),
  fsType: z.enum(['ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'block']),
  replicas: count.max(5),
  failureMode,
  durability: z.enum(['writeback', 'writethrough']),
  compression: z.boolean(),
  encryption: z.boolean(),
  phase: z.enum(['provisioning', 'ready', 'deleting', 'failed']),
  reason: z.string().max(4096).exactOptional(),
  placements: z.array(z.strictObject(placement)).max(MAX_MEMBERS).readonly(),
  placementStrategy: placementStrategy.exactOptional(),
  nextCopyOn: id<NodeId>().exactOptional(),
  evictionCandidates: deployments.exactOptional(),
  evicting: deployments.exactOptional(),
  createdAt: time,
  updatedAt: time,
});

const outOfSync = z.strictObject({ deployment: id<DeploymentId>(), reason: z.string().max(1024), since: time });
const historyEntry = z.strictObject({ epoch: counter<Epoch>(), startsAfter: counter<Sequence>() });

export const membershipSchema = z.strictObject({
  volume: id<VolumeId>(),
  epoch: counter<Epoch>(),
  primary: z.strictObject({ ...placement, incarnation }),
  inSync: z.array(id<DeploymentId>()).min(1).max(MAX_MEMBERS).readonly(),
  outOfSync: z.array(outOfSync).max(MAX_MEMBERS).readonly(),
  history: z.array(historyEntry).max(MAX_HISTORY).readonly(),
  active: z.boolean(),
  lossVerifier: count,
  etcdClusterId: z.string().regex(/^[0-9a-f]{1,32}$/),
  readOnly: z.boolean(),
});

/**
 * The same as other nodes tell them, or as an agent of another version has left them on the disk: nobody changes these,
 * so that members which are not known here are left out.
 */
export const toldVolumeSchema = volumeSchema
  .extend({ placements: z.array(z.object(placement)).max(MAX_MEMBERS).readonly() })
  .strip();
export const toldMembershipSchema = membershipSchema
  .extend({
    primary: membershipSchema.shape.primary.strip(),
    outOfSync: z.array(outOfSync.strip()).max(MAX_MEMBERS).readonly(),
    history: z.array(historyEntry.strip()).max(MAX_HISTORY).readonly(),
  })
  .strip();

export const attachmentSchema = z.strictObject({
  volume: id<VolumeId>(),
  node: id<NodeId>().exactOptional(),
  generation: counter<Generation>(),
  mode: z.enum(['rw', 'ro']),
  updatedAt: time,
});

export const nodeSchema = z.strictObject({
  id: id<NodeId>(),
  /** Clusters of version 0.1 have none. */
  revision: count.min(1).default(1),
  name,
  ioEndpoint: endpoint,
  apiEndpoint: endpoint,
  gossipEndpoint: endpoint,
  labels,
  computeOnly: z.boolean(),
  cordoned: z.boolean(),
  cordonedAt: time.exactOptional(),
  capacity: z.strictObject({
    totalBytes: count,
    freeBytes: count,
    availableBytes: count,
    // Records of older agents have none; each writes its own anew when it starts.
    reservedBytes: count.default(0),
  }),
  createdAt: time,
  updatedAt: time,
});

export const namespaceSchema = z.strictObject({
  id: id<NamespaceId>(),
  name,
  labels,
  createdAt: time,
  updatedAt: time,
});

export const userSchema = z
  .strictObject({
    id: id<UserId>(),
    username: z.string().min(1).max(MAX_USERNAME_CHARS),
    passwordHash: z.string().min(1).max(1024),
    isAdmin: z.boolean(),
    groups: z.array(id<PolicyGroupId>()).max(MAX_GROUPS_OF_USER).readonly(),
    sessionGeneration: count.default(0),
    /** What clusters of version 0.1 have in place of a generation. */
    sessionsValidFrom: time.optional(),
    createdAt: time,
    updatedAt: time,
  })
  .transform(({ sessionsValidFrom: _, ...user }) => user);

export const policySchema = z.strictObject({
  id: id<PolicyGroupId>(),
  name: z.string().min(1).max(MAX_GROUP_NAME_CHARS),
  specs: z
    .array(
      z.strictObject({
        namespaceID: z.union([z.literal(ANY), id<NamespaceId>()]),
        resourceType: z.enum([ANY, ...RESOURCE_TYPES]),
        readOnly: z.boolean(),
      }),
    )
    .max(MAX_SPECS)
    .readonly(),
  createdAt: time,
  updatedAt: time,
});

export const tombstoneSchema = z.strictObject({
  deployment: id<DeploymentId>(),
  volume: id<VolumeId>(),
  node: id<NodeId>(),
  deletedAt: time,
});

export const clusterSchema = z.strictObject({
  id: uuid,
  disableTelemetry: z.boolean(),
  disableCrashReporting: z.boolean(),
  disableVersionCheck: z.boolean(),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']),
  logFormat: z.enum(['default', 'json']),
  licence: z.string().max(MAX_LICENCE_CHARS).exactOptional(),
  createdAt: time,
  updatedAt: time,
});

export const disksSchema = z.strictObject({
  node: id<NodeId>(),
  unusableCopies: count.min(1),
});

export const closedCopiesSchema = z.strictObject({
  node: id<NodeId>(),
  copies: z.array(id<DeploymentId>()).min(1).max(MAX_CLOSED_COPIES).readonly(),
});

export const livenessSchema = z.strictObject({
  node: id<NodeId>(),
  run: uuid,
  startedAt: time,
});

/** `true` if the two types have the same keys and each is assignable to the other; else does not compile. */
type Same<A, B> = [A] extends [B]
  ? [B] extends [A]
    ? [keyof A] extends [keyof B]
      ? [keyof B] extends [keyof A]
        ? true
        : never
      : never
    : never
  : never;

({
  volume: true,
  membership: true,
  primary: true,
  attachment: true,
  node: true,
  namespace: true,
  user: true,
  policy: true,
  tombstone: true,
  cluster: true,
  liveness: true,
  disks: true,
  closed: true,
  failureMode: true,
}) satisfies {
  volume: Same<z.output<typeof volumeSchema>, Volume>;
  membership: Same<z.output<typeof membershipSchema>, Membership>;
  primary: Same<z.output<typeof membershipSchema>['primary'], Membership['primary']>;
  attachment: Same<z.output<typeof attachmentSchema>, Attachment>;
  node: Same<z.output<typeof nodeSchema>, NodeRecord>;
  namespace: Same<z.output<typeof namespaceSchema>, Namespace>;
  user: Same<z.output<typeof userSchema>, User>;
  policy: Same<z.output<typeof policySchema>, PolicyGroup>;
  tombstone: Same<z.output<typeof tombstoneSchema>, Tombstone>;
  cluster: Same<z.output<typeof clusterSchema>, Cluster>;
  liveness: Same<z.output<typeof livenessSchema>, NodeLiveness>;
  disks: Same<z.output<typeof disksSchema>, NodeDisks>;
  closed: Same<z.output<typeof closedCopiesSchema>, ClosedCopies>;
  failureMode: Same<z.output<typeof failureMode>, FailureMode>;
};
