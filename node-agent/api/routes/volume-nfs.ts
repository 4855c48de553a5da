/** Shared volumes over NFS. This version does not have them, and says so. */

import { z } from 'zod';
import { DomainError } from '../../../core/errors.js';
import type { ApiServices } from '../context.js';
import { optional, versionField } from '../request.js';
import { type Route, route } from '../route.js';
import { nfsExports } from '../schemas/nfs.js';
import { ITEM, itemParams, type VolumeCall, volumeOf, WRITE } from '../volume-requests.js';

/** host:port */
const MAX_ENDPOINT_CHARS = 300;

const common = {
  access: WRITE,
  params: itemParams,
  versioned: 'body',
  async: true,
  errors: [409, 422],
} as const;

/** Errors: 'not-found'; 'invalid-state' for every volume that there is. */
async function refuse(call: VolumeCall, services: ApiServices): Promise<never> {
  const { value } = await volumeOf(call, services);
  throw new DomainError(
    'invalid-state',
    `volume "${value.name}" cannot be shared: this version does not export volumes over NFS`,
  );
}

const refused = 'Refused by this version with 422.';

export const volumeNfsRoutes: readonly Route[] = [
  route({
    ...common,
    operationId: 'attachNFSVolume',
    method: 'post',
    path: `${ITEM}/nfs/attach`,
    summary: 'Export a volume over NFS',
    description: refused,
    body: z.object({ version: versionField }),
    responses: { 200: { description: 'The export is there.' } },
    handler: refuse,
  }),

  route({
    ...common,
    operationId: 'updateNFSVolumeMountEndpoint',
    method: 'put',
    path: `${ITEM}/nfs/mount-endpoint`,
    summary: 'Say under which address an export is mounted',
    description: refused,
    body: z.object({ mountEndpoint: optional(z.string().max(MAX_ENDPOINT_CHARS)), version: versionField }),
    responses: { 200: { description: 'The address is noted.' } },
    handler: refuse,
  }),

  route({
    ...common,
    operationId: 'updateNFSVolumeExports',
    method: 'put',
    path: `${ITEM}/nfs/export-config`,
    summary: 'Say what of a volume is exported, and to whom',
    description: refused,
    body: z.object({ exports: nfsExports, version: versionField }),
    responses: { 200: { description: 'The exports are as they were asked for.' } },
    handler: refuse,
  }),
];
