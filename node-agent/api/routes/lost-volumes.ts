import { z } from 'zod';
import type { LostVolumeWishes } from '../../../core/lost-volumes.js';
import type { NamespaceId, VolumeId } from '../../../core/types.js';
import { id, optional } from '../request.js';
import { ok, type Route, route } from '../route.js';
import { lostVolumeReport, lostVolumesSchema } from '../schemas/recovery.js';
import { fsType } from '../schemas/volume.js';
import { nameField } from '../volume-creation.js';

const COLLECTION = '/debug/lost-volumes';
const ITEM = `${COLLECTION}/{id}` as const;
const params = { id: id<VolumeId>('Id of the volume.') };
const READ = { resource: 'diagnostics', action: 'read' } as const;

export const lostVolumeRoutes: readonly Route[] = [
  route({
    operationId: 'listLostVolumes',
    method: 'get',
    path: COLLECTION,
    summary: 'Volumes of which nodes have copies and etcd has no record',
    description:
      'After etcd was restored from a snapshot that is older than they are, or emptied. Asks every node; changes nothing. At most 1,000. Works without Temporal.',
    access: READ,
    responses: { 200: { description: 'What was found.', body: lostVolumesSchema } },
    handler: async (_, { dependencies }) => ok(await dependencies.lostVolumes.list()),
  }),

  route({
    operationId: 'surveyLostVolume',
    method: 'get',
    path: ITEM,
    summary: 'What is known of a volume of which etcd has no record',
    description: 'Asks every node, which opens its copies; changes nothing. Works without Temporal.',
    access: READ,
    params,
    responses: { 200: { description: 'What was found.', body: lostVolumeReport } },
    handler: async ({ params }, { dependencies }) => ok(await dependencies.lostVolumes.survey(params.id)),
  }),

  route({
    operationId: 'recoverLostVolume',
    method: 'put',
    path: ITEM,
    summary: 'Make the records of a volume anew of which etcd has none',
    description:
      'As nodes remember them and copies tell. `name` and `namespaceID` are needed where nobody remembers them, or the name is taken; `fsType` counts only where nobody remembers it. Refused with 422, which says what is in the way, or what is lost, or may be, unless `acceptLoss` is true: copies that do not answer are then given up, and erased when they come back; so are all others of one that is outdated or incomplete.',
    access: { resource: 'diagnostics', action: 'write' },
    params,
    body: z.object({
      acceptLoss: z.boolean().default(false),
      name: optional(nameField),
      namespaceID: optional(id<NamespaceId>('Id of the namespace.')),
      fsType: optional(fsType),
    }),
    responses: { 200: { description: 'What was found and done.', body: lostVolumeReport } },
    errors: [409, 412, 422],
    handler: async ({ params, body }, { dependencies }) => {
      const { acceptLoss, name, namespaceID, fsType } = body;
      const wishes: LostVolumeWishes = {
        ...(name !== undefined && { name }),
        ...(namespaceID !== undefined && { namespace: namespaceID }),
        ...(fsType !== undefined && { fsType }),
      };
      return ok(await dependencies.controller.recoverLost(params.id, { acceptLoss, ...wishes }));
    },
  }),
];
