/** Pools of drives. This version has none: every node uses its data directories for all volumes. */

import { z } from 'zod';
import { DomainError } from '../../../core/errors.js';
import { id, optional, versionField } from '../request.js';
import { ok, type Route, route } from '../route.js';
import { nodeToDriveMapping, poolSchema } from '../schemas/pool.js';
import { nameField } from '../volume-creation.js';

/** Nodes of one mapping, and drives of one node. */
const MAX_NODES = 4096;
const MAX_DRIVES = 256;
const MAX_PATH_CHARS = 4096;

const pool = { description: 'The pool.', body: poolSchema };
const params = { id: id<string>('Id of the pool.') };
const mapping = z
  .record(z.string(), z.array(z.string().max(MAX_PATH_CHARS)).max(MAX_DRIVES))
  .refine((map) => Object.keys(map).length <= MAX_NODES, `at most ${MAX_NODES} nodes`);

async function notFound({ params }: { readonly params: { readonly id: string } }): Promise<never> {
  throw new DomainError('not-found', `pool ${params.id} not found`);
}

export const poolRoutes: readonly Route[] = [
  route({
    operationId: 'createPool',
    method: 'post',
    path: '/pools',
    summary: 'Make a pool of drives',
    description: 'Refused by this version with 422.',
    access: { resource: 'pool', action: 'write' },
    body: z.object({ name: nameField, nodeToDriveMapping: mapping }),
    responses: { 201: pool },
    errors: [409, 422],
    handler: async ({ body }) => {
      throw new DomainError('invalid-state', `pool "${body.name}" is not made: this version does not pool drives`);
    },
  }),

  route({
    operationId: 'listPools',
    method: 'get',
    path: '/pools',
    summary: 'All pools of drives: none',
    access: { resource: 'pool', action: 'read' },
    responses: { 200: { description: 'The pools.', body: z.array(poolSchema) } },
    handler: async () => ok([]),
  }),

  route({
    operationId: 'getPool',
    method: 'get',
    path: '/pools/{id}',
    summary: 'A pool of drives',
    access: { resource: 'pool', action: 'read' },
    params,
    responses: { 200: pool },
    handler: notFound,
  }),

  route({
    operationId: 'updatePool',
    method: 'put',
    path: '/pools/{id}',
    summary: 'Add drives to a pool',
    access: { resource: 'pool', action: 'write' },
    params,
    versioned: 'body',
    body: z.object({ nodeToDriveMapping: optional(nodeToDriveMapping), version: versionField }),
    responses: { 200: pool },
    errors: [451],
    handler: notFound,
  }),

  route({
    operationId: 'deletePool',
    method: 'delete',
    path: '/pools/{id}',
    summary: 'Remove a pool of drives',
    access: { resource: 'pool', action: 'write' },
    params,
    versioned: 'query',
    responses: { 200: { description: 'It is gone.' } },
    errors: [409],
    handler: notFound,
  }),
];
