import { z } from 'zod';
import { deploymentViews } from '../deployment-views.js';
import { ok, type Route, route } from '../route.js';
import { time, uint64 } from '../schemas/common.js';
import { ITEM, itemParams, READ, volumeOf } from '../volume-requests.js';

const scrub = z
  .object({
    doneBytes: uint64('Stored bytes that the present pass has read.'),
    totalBytes: uint64('Stored bytes that it has to read, about.'),
    passes: uint64('Passes that have ended.'),
    lastPassEndedAt: time('When the last one ended, by the clock of the node; absent: none has yet.').optional(),
  })
  .meta({ id: 'ScrubProgress', description: 'How far the reading of all that the copy stores is.' });

const deployment = z
  .object({
    id: z.string(),
    nodeID: z.string(),
    hostname: z.string(),
    answered: z.boolean().meta({ description: 'Whether the copy has told of itself; the rest is absent otherwise.' }),
    role: z.enum(['member', 'opening', 'primary']).optional(),
    serving: z.boolean().optional().meta({ description: 'Whether I/O is served by it at this moment.' }),
    usedBytes: uint64('What it takes on its disks.').optional(),
    badBlocks: uint64('Blocks of it that are known to be damaged and are not mended yet.').optional(),
    scrub: scrub.optional(),
  })
  .meta({ id: 'DeploymentState' });

export const volumeDeploymentRoutes: readonly Route[] = [
  route({
    operationId: 'listDeployments',
    method: 'get',
    path: `${ITEM}/deployments`,
    summary: 'What the copies of a volume say of themselves',
    description: 'Each one is asked, and has a second to answer; the volume itself is shown out of memory.',
    access: READ,
    params: itemParams,
    responses: { 200: { description: 'The copies.', body: z.array(deployment) } },
    handler: async (call, services) => {
      const { value } = await volumeOf(call, services);
      const { dependencies, views } = services;
      return ok(await deploymentViews(dependencies, value, (node) => views.health(node)));
    },
  }),
];
