import { z } from 'zod';
import { type Operation, withNames } from '../../../core/operation.js';
import type { NodeId } from '../../../core/types.js';
import { ok, type Route, route } from '../route.js';
import { operationSchema } from '../schemas/operation.js';

export const operationRoutes: readonly Route[] = [
  route({
    operationId: 'listOperations',
    method: 'get',
    path: '/operations',
    summary: 'What the cluster is doing, how far it is, and what it waits for',
    description: 'Of volumes those that the caller may see; of nodes those of callers who may see nodes. At most 500.',
    access: { resource: 'volume', action: 'read', listed: true },
    responses: { 200: { description: 'The operations, oldest first.', body: z.array(operationSchema) } },
    handler: async ({ may }, { dependencies: { operations, state } }) => {
      const named = (text: string) => withNames(text, (id) => state.nodes.cached.get(id as NodeId)?.value.name);
      const visible = (await operations()).flatMap((operation) => {
        const volume = operation.volume && state.volumes.cached.get(operation.volume)?.value;
        const namespace = volume && state.namespaces.cached.get(volume.namespace)?.value;
        const seen =
          operation.volume === undefined
            ? may({ resource: 'node', action: 'read' })
            : may({ resource: 'volume', action: 'read', ...(namespace !== undefined && { namespace }) });
        return seen ? [operationView(operation, volume?.name ?? '', namespace?.id ?? '', named)] : [];
      });
      return ok(visible.sort((a, b) => a.startedAt.localeCompare(b.startedAt)));
    },
  }),
];

function operationView(operation: Operation, volumeName: string, namespaceID: string, named: (text: string) => string) {
  const { id, kind, volume, node, startedAt, summary, waitsFor, progress } = operation;
  return {
    id,
    kind,
    volumeID: volume ?? '',
    volumeName,
    namespaceID,
    nodeID: node ?? '',
    startedAt,
    summary: named(summary),
    waitsFor: named(waitsFor ?? ''),
    ...(progress !== undefined && { progress }),
  };
}
