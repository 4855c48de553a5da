import { DomainError } from '../../../core/errors.js';
import type { NodeId } from '../../../core/types.js';
import type { ApiServices } from '../context.js';
import { collectBundle, localPart } from '../diagnostics.js';
import { id } from '../request.js';
import { type Route, route } from '../route.js';

/** Bundles, or parts of one, made at a time. */
const MAX_BUNDLES = 2;

const MEDIA = 'application/octet-stream';
const access = { resource: 'diagnostics', action: 'read' } as const;
const params = { id: id<NodeId>('Id of the node.') };
const responses = {
  200: { description: 'The bundle, a tar.gz.', media: MEDIA },
  502: { description: 'A bundle without what could not be had; its problems.txt says what and why.', media: MEDIA },
} as const;

async function bundle(services: ApiServices, authorization: string | undefined, only?: NodeId) {
  const { parts, problems } = await collectBundle(services, authorization ?? '', only);
  const time = services.now().replaceAll(/[:.]/g, '-');
  const left = [...parts];
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const part = left.shift();
      if (part === undefined) controller.close();
      else controller.enqueue(new Uint8Array(part));
    },
  });
  return {
    // Clients keep the body of a 502 of this media type as an incomplete bundle.
    status: problems.length === 0 ? 200 : 502,
    headers: { 'Content-Disposition': `attachment; filename="diagnostics-${time}.tar.gz"` },
    raw: stream,
  } as const;
}

export const diagnosticsRoutes: readonly Route[] = [
  route({
    operationId: 'getDiagnostics',
    method: 'get',
    path: '/diagnostics',
    summary: 'A bundle for finding faults: state of the cluster, and logs, settings and figures of all nodes',
    description: 'It holds no secrets.',
    access,
    maxConcurrent: MAX_BUNDLES,
    responses,
    handler: async ({ header }, services) => bundle(services, header('authorization')),
  }),

  route({
    operationId: 'getSingleNodeDiagnostics',
    method: 'get',
    path: '/diagnostics/{id}',
    summary: 'The same of one node',
    access,
    params,
    maxConcurrent: MAX_BUNDLES,
    responses,
    handler: async ({ header, params }, services) => {
      const { nodes } = services.dependencies.state;
      if ((await nodes.getOrLastSeen(params.id)) === undefined) {
        throw new DomainError('not-found', `node ${params.id} not found`);
      }
      return bundle(services, header('authorization'), params.id);
    },
  }),

  route({
    operationId: 'getLocalDiagnostics',
    method: 'get',
    path: '/diagnostics/{id}/local',
    summary: "A node's own part of the bundle, asked for by the node that makes it",
    access,
    params,
    maxConcurrent: MAX_BUNDLES,
    responses: {
      200: { description: 'Compressed entries of a tar archive, without its end.', media: MEDIA },
      502: { description: 'The same without what could not be had; a problems.txt says what and why.', media: MEDIA },
    },
    handler: async ({ params }, services) => {
      if (params.id !== services.dependencies.self.node) {
        throw new DomainError('not-found', `this is not node ${params.id}`);
      }
      const { part, complete } = await localPart(services);
      return { status: complete ? 200 : 502, raw: new Uint8Array(part) };
    },
  }),
];
