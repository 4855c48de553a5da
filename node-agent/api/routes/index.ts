/** Every endpoint below `/v2`. */

import type { Route } from '../route.js';
import { authRoutes } from './auth.js';
import { clusterRoutes } from './cluster.js';
import { diagnosticsRoutes } from './diagnostics.js';
import { licenceRoutes } from './licence.js';
import { lostVolumeRoutes } from './lost-volumes.js';
import { namespaceRoutes } from './namespaces.js';
import { nodeRoutes } from './nodes.js';
import { openApiRoute } from './openapi.js';
import { operationRoutes } from './operations.js';
import { policyRoutes } from './policies.js';
import { poolRoutes } from './pools.js';
import { schedulerRoutes } from './scheduler.js';
import { userRoutes } from './users.js';
import { volumeAttachmentRoutes } from './volume-attachment.js';
import { volumeDebugRoutes } from './volume-debug.js';
import { volumeDeploymentRoutes } from './volume-deployments.js';
import { volumeNfsRoutes } from './volume-nfs.js';
import { volumePlacementRoutes } from './volume-placement.js';
import { volumeSettingsRoutes } from './volume-settings.js';
import { volumeRoutes } from './volumes.js';

export const ROUTES: readonly Route[] = [
  ...authRoutes,
  ...userRoutes,
  ...policyRoutes,
  ...namespaceRoutes,
  ...nodeRoutes,
  ...clusterRoutes,
  ...licenceRoutes,
  ...operationRoutes,
  ...poolRoutes,
  ...volumeRoutes,
  ...volumeAttachmentRoutes,
  ...volumeSettingsRoutes,
  ...volumePlacementRoutes,
  ...volumeNfsRoutes,
  ...volumeDeploymentRoutes,
  ...volumeDebugRoutes,
  ...lostVolumeRoutes,
  ...diagnosticsRoutes,
  ...schedulerRoutes,
  openApiRoute(() => ROUTES),
];
