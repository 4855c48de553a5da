import { z } from 'zod';
import { changes, time, uint64, version } from './common.js';

export const logLevel = z.enum(['debug', 'info', 'warn', 'error']).meta({ id: 'LogLevel' });
export const logFormat = z.enum(['default', 'json']).meta({ id: 'LogFormat' });

export const clusterSchema = z
  .object({
    id: z.string(),
    disableTelemetry: z.boolean(),
    disableCrashReporting: z.boolean(),
    disableVersionCheck: z.boolean(),
    logLevel,
    logFormat,
    ...changes,
  })
  .meta({ id: 'Cluster' });

export const licenceSchema = z
  .object({
    clusterID: z.string(),
    expiresAt: time('When the licence ends. Volumes that exist stay usable after it.'),
    clusterCapacityBytes: uint64('Sum of the sizes of all volumes at the most.'),
    usedBytes: uint64('Sum of the sizes of all volumes.'),
    kind: z.string(),
    customerName: z.string(),
    features: z.array(z.string()),
    version,
  })
  .meta({ id: 'Licence' });
