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
} from '../../core/types.js';
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
  startedAtMs: z.number(),
});

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
    sync: syncProgress.optional(),
  })
  .transform(({ sync, ...rest }): DeploymentStatus => (sync === undefined ? rest : { ...rest, sync }));

export const REQUESTS = {
  status: { args: z.object({ deployment: deploymentId }), result: deploymentStatus },
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
