import { z } from 'zod';
import { ok, type Route, route } from '../route.js';
import { orderSchema, recoveryReport } from '../schemas/recovery.js';
import { ITEM, itemParams, requireReady, volumeOf, WRITE } from '../volume-requests.js';

const verifyReport = z
  .object({
    identical: z.boolean(),
    deployments: z.array(
      z.object({
        id: z.string(),
        node: z.string(),
        blocks: z.number().int().meta({ description: 'Blocks that the copy holds, written zeroes among them.' }),
        lastOrder: orderSchema,
        usedBytes: z.number().int(),
      }),
    ),
    differingBlocks: z.number().int(),
    differences: z.array(
      z.object({
        block: z.number().int(),
        copies: z.array(z.object({ deployment: z.string(), order: orderSchema, checksum: z.string() })),
      }),
    ),
  })
  .meta({ id: 'VerifyReport' });

export const volumeDebugRoutes: readonly Route[] = [
  route({
    operationId: 'surveyVolume',
    method: 'get',
    path: `${ITEM}/debug/recover`,
    summary: 'Whether the copies of a volume know more than etcd',
    description: 'Asks every node; changes nothing. Works without Temporal.',
    access: { resource: 'diagnostics', action: 'read', namespaced: true },
    params: itemParams,
    responses: { 200: { description: 'What was found.', body: recoveryReport } },
    handler: async (call, services) => {
      const { value } = await volumeOf(call, services);
      return ok(await services.dependencies.survey(value.id));
    },
  }),

  route({
    operationId: 'recoverVolume',
    method: 'put',
    path: `${ITEM}/debug/recover`,
    summary: 'Make the membership of a volume anew from its copies',
    description:
      'For an etcd that was restored from an older snapshot, or replaced. Refused with 422, which says what is lost, or may be, unless `acceptLoss` is true: copies that do not answer are then given up, and erased when they come back; so are all others of one that is outdated or incomplete.',
    access: { resource: 'diagnostics', action: 'write', namespaced: true },
    params: itemParams,
    body: z.object({ acceptLoss: z.boolean().default(false) }),
    responses: { 200: { description: 'What was found and done.', body: recoveryReport } },
    errors: [412, 422],
    handler: async (call, services) => {
      const { value } = await volumeOf(call, services);
      return ok(await services.dependencies.controller.recover(value.id, { acceptLoss: call.body.acceptLoss }));
    },
  }),

  route({
    operationId: 'verifyVolume',
    method: 'put',
    path: `${ITEM}/debug/verify`,
    summary: 'Compare all copies of a volume, block by block',
    description: 'Nothing may write to the volume meanwhile.',
    access: WRITE,
    params: itemParams,
    responses: { 200: { description: 'What was found.', body: verifyReport } },
    errors: [422],
    handler: async (call, services) => {
      const { value } = await volumeOf(call, services);
      requireReady(value);
      return ok(await services.dependencies.controller.verify(value.id));
    },
  }),
];
