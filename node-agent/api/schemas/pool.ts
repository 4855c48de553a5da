import { z } from 'zod';
import { changes } from './common.js';

export const nodeToDriveMapping = z.record(z.string(), z.array(z.string())).meta({
  id: 'NodeToDriveMapping',
  description: 'Paths of drives, by the id of their node.',
});

export const poolSchema = z
  .object({ id: z.string(), name: z.string(), nodeToDriveMapping, ...changes })
  .meta({ id: 'Pool' });
