import { z } from 'zod';
import { DomainError } from '../../../core/errors.js';
import type { NodeId } from '../../../core/types.js';
import { id } from '../request.js';
import { done, type Route, route } from '../route.js';
import { checkVersion, ITEM, itemParams, requireReady, volumeOf, WRITE } from '../volume-requests.js';

/** Volumes that may be attached to one node. */
const MAX_ATTACHMENTS_PER_NODE = 250;

export const volumeAttachmentRoutes: readonly Route[] = [
  route({
    operationId: 'attachVolume',
    method: 'post',
    path: `${ITEM}/attach`,
    summary: 'Show a volume as a block device on a node',
    access: WRITE,
    params: itemParams,
    async: true,
    body: z.object({ nodeID: id<NodeId>('The node.') }),
    responses: { 200: { description: 'The device is there.' } },
    errors: [409, 422, 507],
    handler: async (call, services) => {
      const { state, controller } = services.dependencies;
      const { value: volume } = await volumeOf(call, services);
      const node = call.body.nodeID;
      requireReady(volume);
      const target = await state.nodes.require(node);
      if (services.views.health(node) === 'offline') {
        throw new DomainError('node-unavailable', `node "${target.value.name}" is offline`);
      }
      const holder = (await state.attachments.get(volume.id))?.value.node;
      if (holder !== undefined && holder !== node) {
        const name = state.nodes.cached.get(holder)?.value.name ?? holder;
        throw new DomainError('in-use', `volume "${volume.name}" is attached to node "${name}"; detach it first`);
      }
      const attachedThere = [...state.attachments.cached.values()].filter(({ value }) => value.node === node).length;
      if (holder === undefined && attachedThere >= MAX_ATTACHMENTS_PER_NODE) {
        throw new DomainError('no-capacity', `node "${target.value.name}" has its maximum of ${attachedThere} volumes`);
      }
      return services.execution(call).run(
        `attach volume ${volume.id}`,
        (waitMs) => controller.attach(volume.id, node, { waitMs }),
        async () => {
          const reached = (await state.attachments.get(volume.id))?.value.node === node;
          return reached ? done : services.accepted();
        },
      );
    },
  }),

  route({
    operationId: 'detachVolume',
    method: 'delete',
    path: `${ITEM}/attach`,
    summary: 'Take the block device of a volume away',
    access: WRITE,
    params: itemParams,
    versioned: 'query',
    async: true,
    responses: { 200: { description: 'No node shows the volume.' } },
    errors: [409, 422],
    handler: async (call, services) => {
      const { state, controller } = services.dependencies;
      const volume = await volumeOf(call, services);
      checkVersion(volume, call.expectedVersion);
      const { id } = volume.value;
      return services.execution(call).run(
        `detach volume ${id}`,
        (waitMs) => controller.detach(id, { waitMs }),
        async () => {
          const reached = (await state.attachments.get(id))?.value.node === undefined;
          return reached ? done : services.accepted();
        },
      );
    },
  }),
];
