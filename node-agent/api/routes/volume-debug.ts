import { z } from 'zod';
import { ok, type Route, route } from '../route.js';
import { ITEM, itemParams, requireReady, volumeOf, WRITE } from '../volume-requests.js';

const order = z.object({ epoch: z.number().int(), sequence: z.number().int() });

const verifyReport = z
  .object({
    identical: z.boolean(),
    deployments: z.array(
      z.object({
        id: z.string(),
        node: z.string(),
        blocks: z.number().int().meta({ description: 'Blocks that the copy holds, written zeroes among them.' }),
        lastOrder: order,
        usedBytes: z.number().int(),
      }),
    ),
    differingBlocks: z.number().int(),
    differences: z.array(
      z.object({
        block: z.number().int(),
        copies: z.array(z.object({ deployment: z.string(), order, checksum: z.string() })),
      }),
    ),
  })
  .meta({ id: 'VerifyReport' });

export const volumeDebugRoutes: readonly Route[] = [
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
