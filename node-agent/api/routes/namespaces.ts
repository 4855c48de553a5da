import type { Hono } from 'hono';
import { z } from 'zod';
import { DomainError } from '../../../core/errors.js';
import type { NamespaceId } from '../../../core/types.js';

import { DEFAULT_NAMESPACE, mayUseNamespace, requireAdmin } from '../access.js';
import type { ApiServices } from '../context.js';
import { labelsField } from '../labels.js';
import { type ApiEnvironment, expectedVersion, noContent, pathId, readBody, versionField } from '../request.js';
import { namespaceView } from '../views.js';
import { nameField } from '../volume-creation.js';

const creation = z.object({ name: nameField, labels: labelsField });
const change = z.object({ labels: labelsField, version: versionField });

export function namespaceRoutes(app: Hono<ApiEnvironment>, services: ApiServices): void {
  const { state, random } = services.dependencies;

  app.post('/namespaces', async (c) => {
    requireAdmin(c.get('user'));
    const { name, labels } = await readBody(c, creation);
    const now = services.now();
    const id = random.uuid() as NamespaceId;
    const created = await state.createNamespace({ id, name, labels: labels ?? {}, createdAt: now, updatedAt: now });
    return c.json(namespaceView(created), 201);
  });

  app.get('/namespaces', async (c) => {
    const all = await state.namespaces.listOrLastSeen();
    return c.json(all.filter(({ value }) => mayUseNamespace(c.get('user'), value)).map(namespaceView));
  });

  app.get('/namespaces/:id', async (c) =>
    c.json(namespaceView(await services.namespace(c.get('user'), pathId<NamespaceId>(c, 'id')))),
  );

  app.put('/namespaces/:id', async (c) => {
    requireAdmin(c.get('user'));
    const id = pathId<NamespaceId>(c, 'id');
    const { labels, version } = await readBody(c, change);
    const updated = await state.namespaces.update(
      id,
      (namespace) => ({ ...namespace, labels: labels ?? {}, updatedAt: services.now() }),
      expectedVersion(c, version),
    );
    return c.json(namespaceView(updated));
  });

  app.delete('/namespaces/:id', async (c) => {
    requireAdmin(c.get('user'));
    const id = pathId<NamespaceId>(c, 'id');
    const version = expectedVersion(c, c.req.query('version'));
    const { value } = await state.namespaces.require(id);
    if (value.name === DEFAULT_NAMESPACE) throw new DomainError('in-use', 'the default namespace stays');
    await state.deleteNamespace(id, version);
    return noContent(c);
  });
}
