import { z } from 'zod';
import { DomainError } from '../../../core/errors.js';
import type { VolumeId } from '../../../core/types.js';
import { MAX_DESCRIPTION_CHARS } from '../../state/schemas.js';
import { labelsField, replaceVolumeLabels } from '../labels.js';
import { flag, optional, versionField } from '../request.js';
import { created, done, ok, type Route, route } from '../route.js';
import { volumeSchema } from '../schemas/volume.js';
import { newVolume, provision, volumeCreation } from '../volume-creation.js';
import {
  answerVolume,
  COLLECTION,
  checkVersion,
  collectionParams,
  ITEM,
  itemParams,
  READ,
  volumeOf,
  volumeResponse,
  WRITE,
} from '../volume-requests.js';

const change = z.object({
  labels: labelsField,
  description: optional(z.string().max(MAX_DESCRIPTION_CHARS)),
  version: versionField,
});

export const volumeRoutes: readonly Route[] = [
  route({
    operationId: 'createVolume',
    method: 'post',
    path: COLLECTION,
    summary: 'Make a volume',
    description:
      'Answers when its copies exist. If they cannot be made, nothing is left of the volume; where nobody waits, as ' +
      'with `async-max`, or if this node ends meanwhile, it is tried again every half a minute until it is deleted.',
    access: WRITE,
    params: collectionParams,
    async: true,
    body: volumeCreation,
    responses: { 201: volumeResponse },
    errors: [409, 451, 507],
    handler: async (call, services) => {
      const { dependencies, views } = services;
      const { state, random } = dependencies;
      const id = random.uuid() as VolumeId;
      const execution = services.execution(call);
      const volume = newVolume(call.body, call.namespace.value.id, id, services.now());
      await state.createVolume(volume, await services.licensing.admission(volume.sizeBytes));
      return execution.run(
        `provision volume ${id}`,
        (waitMs) => provision(dependencies, id, { waitMs, removeFailed: execution.waits }),
        async () => {
          const made = await state.volumes.require(id);
          return made.value.phase === 'provisioning' ? services.accepted() : created(await views.one(id, made));
        },
      );
    },
  }),

  route({
    operationId: 'listVolumes',
    method: 'get',
    path: COLLECTION,
    summary: 'All volumes of a namespace',
    access: READ,
    params: collectionParams,
    responses: { 200: { description: 'The volumes.', body: z.array(volumeSchema) } },
    handler: async ({ namespace }, { dependencies, views }) => {
      const all = await dependencies.state.volumes.listOrLastSeen();
      return ok(await views.many(all.filter(({ value }) => value.namespace === namespace.value.id)));
    },
  }),

  route({
    operationId: 'getVolume',
    method: 'get',
    path: ITEM,
    summary: 'A volume',
    access: READ,
    params: itemParams,
    responses: { 200: volumeResponse },
    handler: async (call, services) => ok(await services.views.one(call.params.id, volumeOf(call, services))),
  }),

  route({
    operationId: 'updateVolume',
    method: 'put',
    path: ITEM,
    summary: "Replace a volume's labels and description",
    description: 'Reserved labels must be repeated unchanged; they have endpoints of their own.',
    access: WRITE,
    params: itemParams,
    versioned: 'body',
    async: true,
    body: change,
    responses: { 200: volumeResponse },
    errors: [451],
    handler: async (call, services) => {
      const { value } = await volumeOf(call, services);
      const { labels = {}, description = '' } = call.body;
      return services.execution(call).run(
        `update volume ${value.id}`,
        async () => {
          await services.dependencies.state.volumes.update(
            value.id,
            (volume) => ({
              ...volume,
              labels: replaceVolumeLabels(volume.labels, labels),
              description,
              updatedAt: services.now(),
            }),
            call.expectedVersion,
          );
        },
        () => answerVolume(services, value.id),
      );
    },
  }),

  route({
    operationId: 'deleteVolume',
    method: 'delete',
    path: ITEM,
    summary: 'Remove a volume and its data',
    access: WRITE,
    params: itemParams,
    query: { 'offline-delete': flag('Remove it although its nodes do not answer; refused if one of them does.') },
    versioned: 'query',
    async: true,
    responses: { 200: { description: 'It is gone.' } },
    errors: [409, 422, 423],
    handler: async (call, services) => {
      const { state, controller } = services.dependencies;
      const volume = await volumeOf(call, services);
      const { id, name } = volume.value;
      checkVersion(volume, call.expectedVersion);
      const offline = call.query['offline-delete'];
      const attached = await state.attachments.get(id);
      if (attached?.value.node !== undefined) {
        throw new DomainError('invalid-state', `volume "${name}" is in state "attached"; detach it first`);
      }
      return services.execution(call).run(
        `delete volume ${id}`,
        (waitMs) => controller.remove(id, { offline, waitMs }),
        async () => ((await state.volumes.get(id)) === undefined ? done : services.accepted()),
      );
    },
  }),
];
