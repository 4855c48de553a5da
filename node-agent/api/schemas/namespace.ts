import { z } from 'zod';
import { changes, labels } from './common.js';

export const namespaceSchema = z
  .object({ id: z.string(), name: z.string(), labels, ...changes })
  .meta({ id: 'Namespace' });
