import { z } from 'zod';
import { ANY, RESOURCE_TYPES } from '../../../core/access.js';
import { changes } from './common.js';

export const resourceType = z.enum([ANY, ...RESOURCE_TYPES]).meta({
  id: 'ResourceType',
  description: 'What a rule is about; `*`: everything. Types that belong to no namespace need `*` as namespace.',
});

export const policyGroupSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    users: z
      .array(z.object({ id: z.string(), username: z.string() }))
      .meta({ description: 'Members that the caller may see.' }),
    specs: z.array(
      z.object({
        namespaceID: z.string().meta({ description: 'Id of a namespace, or `*` for all.' }),
        resourceType,
        readOnly: z.boolean(),
      }),
    ),
    ...changes,
  })
  .meta({ id: 'PolicyGroup', description: 'Rules about what its members may do, under a name.' });
