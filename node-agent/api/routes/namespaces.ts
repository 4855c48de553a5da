import { z } from 'zod';
import { DEFAULT_NAMESPACE } from '../../../core/access.js';
import { DomainError } from '../../../core/errors.js';
import type { NamespaceId } from '../../../core/types.js';
import { labelsField } from '../labels.js';
import { id, versionField } from '../request.js';
import { created, done, ok, type Route, route } from '../route.js';
import { namespaceSchema } from '../schemas/namespace.js';
import { namespaceView } from '../views.js';
import { nameField } from '../volume-creation.js';

const namespace = { description: 'The namespace.', body: namespaceSchema };
const params = { id: id<NamespaceId>('Id of the namespace.') };

export const namespaceRoutes: readonly Route[] = [
  route({
    operationId: 'createNamespace',
    method: 'post',
    path: '/namespaces',
    summary: 'Make a namespace',
    access: { resource: 'namespace', action: 'write' },
    body: z.object({ name: nameField, labels: labelsField }),
    responses: { 201: namespace },
    errors: [409],
    handler: async ({ body }, services) => {
      const { state, random } = services.dependencies;
      const now = services.now();
      const made = await state.createNamespace({
        id: random.uuid() as NamespaceId,
        name: body.name,
        labels: body.labels ?? {},
        createdAt: now,
        updatedAt: now,
      });
      return created(namespaceView(made));
    },
  }),

  route({
    operationId: 'listNamespaces',
    method: 'get',
    path: '/namespaces',
    summary: 'The namespaces that the caller may use',
    access: { resource: 'namespace', action: 'read', listed: true },
    responses: { 200: { description: 'The namespaces.', body: z.array(namespaceSchema) } },
    handler: async ({ may }, { dependencies }) => {
      const all = await dependencies.state.namespaces.listOrLastSeen();
      const seen = all.filter(({ value }) => may({ resource: 'namespace', action: 'read', namespace: value }));
      return ok(seen.map(namespaceView));
    },
  }),

  route({
    operationId: 'getNamespace',
    method: 'get',
    path: '/namespaces/{id}',
    summary: 'A namespace',
    access: { resource: 'namespace', action: 'read', namespaced: true },
    params,
    responses: { 200: namespace },
    handler: async (call) => ok(namespaceView(call.namespace)),
  }),

  route({
    operationId: 'updateNamespace',
    method: 'put',
    path: '/namespaces/{id}',
    summary: "Replace a namespace's labels",
    access: { resource: 'namespace', action: 'write', namespaced: true },
    params,
    versioned: 'body',
    body: z.object({ labels: labelsField, version: versionField }),
    responses: { 200: namespace },
    handler: async ({ params, body, expectedVersion }, services) => {
      const updated = await services.dependencies.state.namespaces.update(
        params.id,
        (current) => ({ ...current, labels: body.labels ?? {}, updatedAt: services.now() }),
        expectedVersion,
      );
      return ok(namespaceView(updated));
    },
  }),

  route({
    operationId: 'deleteNamespace',
    method: 'delete',
    path: '/namespaces/{id}',
    summary: 'Remove a namespace that has no volumes',
    access: { resource: 'namespace', action: 'write', namespaced: true },
    params,
    versioned: 'query',
    responses: { 200: { description: 'It is gone.' } },
    errors: [409],
    handler: async ({ params, expectedVersion }, { dependencies: { state } }) => {
      const { value } = await state.namespaces.require(params.id);
      if (value.name === DEFAULT_NAMESPACE) throw new DomainError('in-use', 'the default namespace stays');
      await state.deleteNamespace(params.id, expectedVersion);
      return done;
    },
  }),
];
