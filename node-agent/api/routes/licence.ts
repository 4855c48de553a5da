import { z } from 'zod';
import type { Cluster } from '../../../core/domain.js';
import type { Versioned } from '../../state/cluster-state.js';
import { MAX_LICENCE_CHARS } from '../../state/schemas.js';
import type { ApiServices } from '../context.js';
import { versionField } from '../request.js';
import { ok, type Route, route } from '../route.js';
import { licenceSchema } from '../schemas/cluster.js';
import { licenceView } from '../views.js';

const licence = { description: 'The licence.', body: licenceSchema };

async function show(cluster: Versioned<Cluster>, { dependencies: { state }, licensing }: ApiServices) {
  const volumes = await state.volumes.listOrLastSeen();
  const usedBytes = volumes.reduce((sum, { value }) => sum + value.sizeBytes, 0);
  return licenceView(cluster, licensing.entitlement(cluster.value), usedBytes);
}

export const licenceRoutes: readonly Route[] = [
  route({
    operationId: 'getLicence',
    method: 'get',
    path: '/cluster/licence',
    summary: 'The licence and how much of it is used',
    access: { resource: 'licence', action: 'read' },
    responses: { 200: licence },
    handler: async (_, services) => ok(await show(await services.dependencies.state.cluster(), services)),
  }),

  route({
    operationId: 'updateLicence',
    method: 'put',
    path: '/cluster/licence',
    summary: 'Apply a licence',
    access: { resource: 'licence', action: 'write' },
    versioned: 'body',
    body: z.object({
      key: z.string().min(1).max(MAX_LICENCE_CHARS).meta({ description: 'The whole text of the licence.' }),
      version: versionField,
    }),
    responses: { 200: licence },
    handler: async ({ body, expectedVersion }, services) =>
      ok(await show(await services.licensing.apply(body.key, expectedVersion), services)),
  }),
];
