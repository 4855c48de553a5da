import { z } from 'zod';
import type { NodeRecord } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import type { NodeId } from '../../../core/types.js';
import type { Versioned } from '../../state/cluster-state.js';
import type { ApiServices } from '../context.js';
import { labelsField, replaceNodeLabels } from '../labels.js';
import { id, optional, versionField } from '../request.js';
import { done, ok, type Route, route } from '../route.js';
import { nodeSchema } from '../schemas/node.js';
import { nodeLabels, nodeView } from '../views.js';

const node = { description: 'The node.', body: nodeSchema };
const params = { id: id<NodeId>('Id of the node.') };

function view(services: ApiServices, found: Versioned<NodeRecord>) {
  const { id } = found.value;
  const { disks } = services.dependencies.state;
  return nodeView(found, services.views.health(id), disks.cached.get(id)?.value);
}

export const nodeRoutes: readonly Route[] = [
  route({
    operationId: 'listNodes',
    method: 'get',
    path: '/nodes',
    summary: 'All nodes',
    access: { resource: 'node', action: 'read' },
    responses: { 200: { description: 'The nodes.', body: z.array(nodeSchema) } },
    handler: async (_, services) => {
      const all = await services.dependencies.state.nodes.listOrLastSeen();
      return ok(all.map((found) => view(services, found)));
    },
  }),

  route({
    operationId: 'getNode',
    method: 'get',
    path: '/nodes/{id}',
    summary: 'A node',
    access: { resource: 'node', action: 'read' },
    params,
    responses: { 200: node },
    handler: async ({ params }, services) => {
      const found = await services.dependencies.state.nodes.getOrLastSeen(params.id);
      if (found === undefined) throw new DomainError('not-found', `node ${params.id} not found`);
      return ok(view(services, found));
    },
  }),

  route({
    operationId: 'updateNode',
    method: 'put',
    path: '/nodes/{id}',
    summary: "Replace a node's labels",
    description: 'Reserved labels stay as they are, repeated or left out.',
    access: { resource: 'node', action: 'write' },
    params,
    versioned: 'body',
    body: z.object({ labels: labelsField, version: versionField }),
    responses: { 200: node },
    handler: async ({ params, body, expectedVersion }, services) => {
      const labels = body.labels ?? {};
      const updated = await services.dependencies.state.nodeRecords.update(
        params.id,
        (current) => ({
          ...current,
          labels: replaceNodeLabels(nodeLabels(current), labels),
          updatedAt: services.now(),
        }),
        expectedVersion,
      );
      return ok(view(services, updated));
    },
  }),

  route({
    operationId: 'setComputeOnly',
    method: 'put',
    path: '/nodes/{id}/compute-only',
    summary: 'Say whether the node may hold copies of volumes',
    access: { resource: 'node', action: 'write' },
    params,
    versioned: 'body',
    body: z.object({ computeOnly: optional(z.boolean()), version: versionField }),
    responses: { 200: node },
    handler: async ({ params, body, expectedVersion }, services) => {
      const { computeOnly = false } = body;
      const updated = await services.dependencies.state.nodeRecords.update(
        params.id,
        (current) =>
          current.computeOnly === computeOnly ? current : { ...current, computeOnly, updatedAt: services.now() },
        expectedVersion,
      );
      return ok(view(services, updated));
    },
  }),

  route({
    operationId: 'setCordoned',
    method: 'put',
    path: '/nodes/{id}/cordon',
    summary: 'Say whether new copies may be placed on the node',
    access: { resource: 'node', action: 'write' },
    params,
    versioned: 'body',
    body: z.object({ cordoned: optional(z.boolean()), version: versionField }),
    responses: { 200: node },
    handler: async ({ params, body, expectedVersion }, services) => {
      const { cordoned = false } = body;
      const updated = await services.dependencies.state.nodeRecords.update(
        params.id,
        (current) => {
          if (current.cordoned === cordoned) return current;
          const { cordonedAt: _, ...rest } = current;
          const updatedAt = services.now();
          return { ...rest, cordoned, ...(cordoned && { cordonedAt: updatedAt }), updatedAt };
        },
        expectedVersion,
      );
      return ok(view(services, updated));
    },
  }),

  route({
    operationId: 'deleteNode',
    method: 'delete',
    path: '/nodes/{id}',
    summary: 'Forget a node that is offline and hosts no master',
    access: { resource: 'node', action: 'write' },
    params,
    versioned: 'query',
    async: true,
    responses: { 200: { description: 'It is gone.' } },
    errors: [409, 423],
    handler: async (call, services) => {
      const { state } = services.dependencies;
      const { id } = call.params;
      const { value } = await state.nodes.require(id);
      return services.execution(call).run(
        `delete node ${id}`,
        async () => {
          const alive = (await state.liveness.get(id)) !== undefined || services.views.health(id) === 'online';
          if (alive) {
            throw new DomainError('in-use', `node "${value.name}" is online; only an offline node can be deleted`);
          }
          const memberships = await state.memberships.list();
          const masters = memberships.filter((membership) => membership.value.primary.node === id).length;
          if (masters > 0) {
            throw new DomainError('in-use', `node "${value.name}" hosts the master of ${masters} volume(s)`);
          }
          await state.nodeRecords.remove(id, call.expectedVersion);
        },
        () => done,
      );
    },
  }),
];
