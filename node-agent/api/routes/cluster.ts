import type { Hono } from 'hono';
import { z } from 'zod';
import { requireAdmin } from '../access.js';
import type { ApiServices } from '../context.js';
import { type ApiEnvironment, expectedVersion, optional, readBody, versionField } from '../request.js';
import { clusterView, licenceView } from '../views.js';

const change = z.object({
  disableTelemetry: optional(z.boolean()),
  disableCrashReporting: optional(z.boolean()),
  disableVersionCheck: optional(z.boolean()),
  logLevel: optional(z.enum(['debug', 'info', 'warn', 'error'])),
  logFormat: optional(z.enum(['default', 'json'])),
  version: versionField,
});

export function clusterRoutes(app: Hono<ApiEnvironment>, services: ApiServices): void {
  const { state } = services.dependencies;

  app.get('/cluster', async (c) => c.json(clusterView(await state.cluster())));

  app.put('/cluster', async (c) => {
    requireAdmin(c.get('user'));
    const body = await readBody(c, change);
    const updated = await state.updateCluster(
      (cluster) => ({
        ...cluster,
        disableTelemetry: body.disableTelemetry ?? false,
        disableCrashReporting: body.disableCrashReporting ?? false,
        disableVersionCheck: body.disableVersionCheck ?? false,
        logLevel: body.logLevel ?? cluster.logLevel,
        logFormat: body.logFormat ?? cluster.logFormat,
        updatedAt: services.now(),
      }),
      expectedVersion(c, body.version),
    );
    return c.json(clusterView(updated));
  });

  app.get('/cluster/licence', async (c) => {
    const volumes = await state.volumes.listOrLastSeen();
    const usedBytes = volumes.reduce((sum, { value }) => sum + value.sizeBytes, 0);
    return c.json(licenceView(await state.cluster(), usedBytes));
  });
}
