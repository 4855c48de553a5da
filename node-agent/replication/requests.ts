/** The requests that nodes make of each other: names, arguments, answers. All are validated on both sides. */

import { z } from 'zod';
import type { DeploymentStatus } from '../../core/messages.js';
import {
  type BlockNumber,
  type DeploymentId,
  type Epoch,
  type Generation,
  type Incarnation,
  isUuid,
  type Sequence,
  type VolumeId,
} from '../../core/types.js';
import { toldMembershipSchema, toldVolumeSchema } from '../state/schemas.js';
import { inventoryPage, MAX_INVENTORY_BLOCKS } from './inventory.js';

const uuid = z.string().refine(isUuid, 'a UUID');
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

export const deploymentId = uuid.transform((text) => text as DeploymentId);

const order = z.object({
  epoch: count.transform((n) => n as Epoch),
  sequence: count.transform((n) => n as Sequence),
});

const syncProgress = z.object({
  target: deploymentId,
  kind: z.enum(['delta', 'full']),
  blocksTotal: count,
  blocksDone: count,
  bytesCopied: count,
  // Older agents do not tell.
  blocksPerSecond: z.number().min(0).default(0),
  bytesPerSecond: z.number().min(0).default(0),
  startedAtMs: z.number(),
});

const scrubProgress = z.object({ doneBytes: count, totalBytes: count, passes: count, endedMs: count.nullable() });

/** Absent and undefined are told apart by the contract's type, not by JSON. */
const deploymentStatus = z
  .object({
    deployment: deploymentId,
    incarnation: uuid.transform((text) => text as Incarnation),
    promised: count.transform((n) => n as Epoch),
    last: order,
    unclean: z.boolean(),
    generation: count.transform((n) => n as Generation),
    role: z.enum(['member', 'opening', 'primary']),
    serving: z.boolean(),
    etcdClusterId: z.string().max(64),
    usedBytes: count,
    // Older agents do not tell.
    badBlocks: count.default(0),
    scrub: scrubProgress.optional(),
    sync: syncProgress.optional(),
    etcdBehind: z.enum(['epoch', 'cluster']).optional(),
  })
  .transform(
    ({ scrub, sync, etcdBehind, ...rest }): DeploymentStatus => ({
      ...rest,
      ...(scrub !== undefined && { scrub }),
      ...(sync !== undefined && { sync }),
      ...(etcdBehind !== undefined && { etcdBehind }),
    }),
  );

/** Copies of one volume on one node at the most: one, and what earlier placements have left. */
export const MAX_SURVEYED_COPIES = 16;
const MAX_SURVEYED_HISTORY = 16_384;

const surveyedCopy = z
  .object({
    status: deploymentStatus,
    history: z
      .array(
        z.object({ epoch: count.transform((n) => n as Epoch), startsAfter: count.transform((n) => n as Sequence) }),
      )
      .max(MAX_SURVEYED_HISTORY),
    syncBase: order.nullable(),
    record: toldMembershipSchema.optional(),
    // Older agents do not tell.
    shape: z.object({ blockSize: count, blocks: count }).optional(),
  })
  .transform(({ record, ...rest }) => ({ ...rest, ...(record !== undefined && { record }) }));

export type CopySurvey = z.output<typeof surveyedCopy>;

/** Volumes in one answer to `held`. */
export const MAX_HELD_VOLUMES = 256;
const MAX_NAME_CHARS = 253;

const heldVolume = z.object({
  volume: uuid.transform((text) => text as VolumeId),
  deployments: z.array(deploymentId).max(MAX_SURVEYED_COPIES),
  sizeBytes: count,
  promised: count.transform((n) => n as Epoch),
  name: z.string().max(MAX_NAME_CHARS).optional(),
  namespaceName: z.string().max(MAX_NAME_CHARS).optional(),
});

export const REQUESTS = {
  status: { args: z.object({ deployment: deploymentId }), result: deploymentStatus },
  /** What the node's copies of a volume know, for a recovery. */
  survey: {
    args: z.object({ volume: uuid.transform((text) => text as VolumeId) }),
    result: z.object({
      copies: z.array(surveyedCopy).max(MAX_SURVEYED_COPIES),
      closed: z.array(deploymentId).max(MAX_SURVEYED_COPIES),
      // Older agents do not tell.
      unreadable: count.default(0),
      remembered: z.object({ volume: toldVolumeSchema, namespaceName: z.string().max(MAX_NAME_CHARS) }).optional(),
    }),
  },
  /** The volumes of which the node has copies and sees no record in etcd: by id, those behind `after`. */
  held: {
    args: z.object({ after: uuid.transform((text) => text as VolumeId).optional() }),
    result: z.object({ volumes: z.array(heldVolume).max(MAX_HELD_VOLUMES), more: z.boolean() }),
  },
  /** The copy belongs to this etcd from now on. Refused by a node that talks to another one. */
  adopt: { args: z.object({ deployment: deploymentId, etcdClusterId: z.string().max(64) }), result: z.null() },
  inventory: {
    args: z.object({
      deployment: deploymentId,
      from: count.transform((n) => n as BlockNumber),
      limit: z.number().int().min(1).max(MAX_INVENTORY_BLOCKS),
    }),
    result: inventoryPage,
  },
} as const;

export type RequestName = keyof typeof REQUESTS;
