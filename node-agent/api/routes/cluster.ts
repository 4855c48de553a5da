import { z } from 'zod';
import { optional, versionField } from '../request.js';
import { ok, type Route, route } from '../route.js';
import { clusterSchema, logFormat, logLevel } from '../schemas/cluster.js';
import { clusterView } from '../views.js';

const change = z.object({
  disableTelemetry: optional(z.boolean()),
  disableCrashReporting: optional(z.boolean()),
  disableVersionCheck: optional(z.boolean()),
  logLevel: optional(logLevel),
  logFormat: optional(logFormat),
  version: versionField,
});

const cluster = { description: 'The settings.', body: clusterSchema };

export const clusterRoutes: readonly Route[] = [
  route({
    operationId: 'getCluster',
    method: 'get',
    path: '/cluster',
    summary: "The cluster's settings",
    access: { resource: 'cluster', action: 'read' },
    responses: { 200: cluster },
    handler: async (_, { dependencies }) => ok(clusterView(await dependencies.state.cluster())),
  }),

  route({
    operationId: 'updateCluster',
    method: 'put',
    path: '/cluster',
    summary: "Change the cluster's settings",
    description: 'A switch that is left out is turned off; level and format of the log that are left out stay.',
    access: { resource: 'cluster', action: 'write' },
    versioned: 'body',
    body: change,
    responses: { 200: cluster },
    handler: async ({ body, expectedVersion }, services) => {
      const updated = await services.dependencies.state.updateCluster(
        (current) => ({
          ...current,
          disableTelemetry: body.disableTelemetry ?? false,
          disableCrashReporting: body.disableCrashReporting ?? false,
          disableVersionCheck: body.disableVersionCheck ?? false,
          logLevel: body.logLevel ?? current.logLevel,
          logFormat: body.logFormat ?? current.logFormat,
          updatedAt: services.now(),
        }),
        expectedVersion,
      );
      return ok(clusterView(updated));
    },
  }),
];
