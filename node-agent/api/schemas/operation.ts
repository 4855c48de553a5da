import { z } from 'zod';
import { time, uint64 } from './common.js';

export const operationSchema = z
  .object({
    id: z.string().meta({ description: 'Of the workflow that carries it out.' }),
    kind: z.string().meta({
      description: 'Type of the workflow; `Volume`: the volume is not as it is wanted, and `summary` says how.',
    }),
    volumeID: z.string().meta({ description: '"" if it is about no volume.' }),
    volumeName: z.string(),
    namespaceID: z.string(),
    nodeID: z.string().meta({ description: 'The node that it is about, or that of the volume\'s master; or "".' }),
    startedAt: time('When it began.'),
    summary: z.string().meta({ description: 'What it does, or in which state the volume is, for people.' }),
    waitsFor: z.string().meta({ description: 'What keeps it from going on, for people; "" if nothing does.' }),
    progress: z
      .object({
        percent: z.number().min(0).max(100),
        blocksDone: uint64('Blocks that are copied, or need not be.'),
        blocksTotal: uint64('Blocks that the copy lacked at the beginning.'),
        bytesCopied: uint64('Bytes that were sent.'),
        bytesPerSecond: uint64('Bytes that were sent in a second, lately.'),
        secondsLeft: uint64('Until all is copied, if it goes on like that; absent while nothing is copied.').optional(),
      })
      .optional()
      .meta({ description: 'Of an operation that copies data.' }),
  })
  .meta({ id: 'Operation', description: 'Something that the cluster is doing, or that a volume waits for.' });
