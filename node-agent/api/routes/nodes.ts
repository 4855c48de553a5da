import type { Hono } from 'hono';
import { z } from 'zod';
import type { NodeRecord } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import type { NodeId } from '../../../core/types.js';
import type { Versioned } from '../../state/cluster-state.js';
import { requireAdmin } from '../access.js';
import type { ApiServices } from '../context.js';
import { labelsField, replaceNodeLabels } from '../labels.js';
import {
  type ApiEnvironment,
  expectedVersion,
  noContent,
  optional,
  pathId,
  readBody,
  versionField,
} from '../request.js';
import { nodeLabels, nodeView } from '../views.js';

const labelChange = z.object({ labels: labelsField, version: versionField });
const computeOnlyChange = z.object({ computeOnly: optional(z.boolean()), version: versionField });
const cordonChange = z.object({ cordoned: optional(z.boolean()), version: versionField });

export function nodeRoutes(app: Hono<ApiEnvironment>, services: ApiServices): void {
  const { state } = services.dependencies;
  const view = (node: Versioned<NodeRecord>) => nodeView(node, services.views.health(node.value.id));

  app.get('/nodes', async (c) => c.json((await state.nodes.listOrLastSeen()).map(view)));

  app.get('/nodes/:id', async (c) => {
    const id = pathId<NodeId>(c, 'id');
    const found = await state.nodes.getOrLastSeen(id);
    if (found === undefined) throw new DomainError('not-found', `node ${id} not found`);
    return c.json(view(found));
  });

  app.put('/nodes/:id', async (c) => {
    requireAdmin(c.get('user'));
    const id = pathId<NodeId>(c, 'id');
    const { labels, version } = await readBody(c, labelChange);
    const updated = await state.nodes.update(
      id,
      (node) => ({ ...node, labels: replaceNodeLabels(nodeLabels(node), labels ?? {}), updatedAt: services.now() }),
      expectedVersion(c, version),
    );
    return c.json(view(updated));
  });

  app.put('/nodes/:id/compute-only', async (c) => {
    requireAdmin(c.get('user'));
    const id = pathId<NodeId>(c, 'id');
    const { computeOnly = false, version } = await readBody(c, computeOnlyChange);
    const updated = await state.nodes.update(
      id,
      (node) => (node.computeOnly === computeOnly ? node : { ...node, computeOnly, updatedAt: services.now() }),
      expectedVersion(c, version),
    );
    return c.json(view(updated));
  });

  app.put('/nodes/:id/cordon', async (c) => {
    requireAdmin(c.get('user'));
    const id = pathId<NodeId>(c, 'id');
    const { cordoned = false, version } = await readBody(c, cordonChange);
    const updated = await state.nodes.update(
      id,
      (node) => {
        if (node.cordoned === cordoned) return node;
        const { cordonedAt: _, ...rest } = node;
        const updatedAt = services.now();
        return { ...rest, cordoned, ...(cordoned && { cordonedAt: updatedAt }), updatedAt };
      },
      expectedVersion(c, version),
    );
    return c.json(view(updated));
  });

  app.delete('/nodes/:id', async (c) => {
    requireAdmin(c.get('user'));
    const id = pathId<NodeId>(c, 'id');
    const version = expectedVersion(c, c.req.query('version'));
    const { value } = await state.nodes.require(id);
    return services.execution(c).run(
      `delete node ${id}`,
      async () => {
        const alive = (await state.liveness.get(id)) !== undefined || services.views.health(id) === 'online';
        if (alive)
          throw new DomainError('in-use', `node "${value.name}" is online; only an offline node can be deleted`);
        const memberships = await state.memberships.list();
        const masters = memberships.filter((membership) => membership.value.primary.node === id).length;
        if (masters > 0) {
          throw new DomainError('in-use', `node "${value.name}" hosts the master of ${masters} volume(s)`);
        }
        await state.nodes.remove(id, version);
      },
      () => noContent(c),
    );
  });
}
