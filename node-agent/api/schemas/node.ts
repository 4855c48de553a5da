import { z } from 'zod';
import { changes, labels, time, uint64 } from './common.js';

export const nodeHealth = z.enum(['online', 'offline', 'unknown']).meta({ id: 'NodeHealth' });

const endpoint = (description: string) => z.string().meta({ description: `${description}, as host:port.` });

export const nodeSchema = z
  .object({
    id: z.string(),
    name: z.string().meta({ description: 'Name of the host.' }),
    health: nodeHealth,
    capacity: z
      .object({
        total: uint64('Bytes of the file systems that hold volumes.'),
        free: uint64('Bytes of them that are not in use.'),
        available: uint64('Bytes of them that volumes may still use.'),
        reserved: uint64('Bytes of them that stay free, for what frees space and must not fail.'),
      })
      .meta({ id: 'CapacityStats' }),
    ioEndpoint: endpoint('Where the data plane listens'),
    supervisorEndpoint: endpoint('Kept for clients that show it'),
    gossipEndpoint: endpoint('Where gossip listens'),
    clusteringEndpoint: endpoint('Kept for clients that show it'),
    cordoned: z.boolean().meta({ description: 'No new copies are placed here.' }),
    cordonedAt: time('Only of a cordoned node.').optional(),
    unusableCopies: z
      .number()
      .int()
      .optional()
      .meta({ description: 'Copies on its disks that it cannot open at present; absent: none.' }),
    labels,
    ...changes,
  })
  .meta({ id: 'Node' });
