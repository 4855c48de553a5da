import { z } from 'zod';

export const orderSchema = z.object({ epoch: z.number().int(), sequence: z.number().int() });

export const recoveryReport = z
  .object({
    volume: z.string(),
    reasons: z
      .array(z.enum(['no-record', 'epoch-behind', 'other-cluster']))
      .meta({ description: 'Why etcd cannot be relied upon for this volume; empty: it can.' }),
    risks: z.array(z.string()).meta({ description: 'What is lost by going on, or may be.' }),
    primary: z.object({ deployment: z.string(), node: z.string() }).optional(),
    inSync: z.array(z.string()).optional(),
    epoch: z.number().int().optional().meta({ description: 'Of the record that would be written, or was.' }),
    recovered: z.boolean(),
  })
  .meta({ id: 'RecoveryReport' });

const name = z.string().meta({ description: 'Empty if no node remembers it.' });
const copy = { deployment: z.string(), node: z.string() };

export const lostVolumesSchema = z
  .object({
    volumes: z.array(
      z.object({
        id: z.string(),
        name,
        namespaceName: name,
        sizeBytes: z.number().int(),
        epoch: z.number().int().meta({ description: 'The highest that a copy has promised.' }),
        copies: z.array(z.object(copy)),
      }),
    ),
    silent: z.array(z.string()).meta({ description: 'Nodes that did not answer: there may be more volumes.' }),
  })
  .meta({ id: 'LostVolumes' });

export const lostVolumeReport = recoveryReport
  .extend({
    name: z.string().meta({ description: 'Under which it would come back, or did; empty if nothing says.' }),
    namespaceName: z.string(),
    sizeBytes: z.number().int(),
    obstacles: z
      .array(z.string())
      .meta({ description: 'What has to be mended or decided before it can come back; empty: nothing.' }),
    copies: z.array(
      z.object({
        ...copy,
        promised: z.number().int().optional().meta({ description: 'Absent: the copy cannot be opened at present.' }),
        last: orderSchema.optional(),
        complete: z.boolean(),
      }),
    ),
  })
  .meta({ id: 'LostVolumeReport' });
