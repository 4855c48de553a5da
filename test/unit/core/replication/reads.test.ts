import { describe, expect, it } from 'vitest';
import type { BlockNumber, Epoch, Generation, Sequence, SessionNumber } from '../../../../core/types.js';
import { dataBatch } from '../../../sim/blocks.js';
import { Lab, OTHER_LIFE } from './lab.js';

const session = 1 as SessionNumber;
const read = (request: number, block = 3) =>
  ({ type: 'read', session, request, block: block as BlockNumber, blocks: 1 }) as const;

describe('reads of a writethrough volume', () => {
  it('come once what they read is on all disks, though nobody writes or flushes', async () => {
    const lab = await Lab.open();
    lab.deployment.onVolume({ ...lab.deployment.spec!, durability: 'writethrough' });
    // From an earlier life: nobody has said yet that it is durable.
    lab.store.append({ epoch: 1 as Epoch, firstSequence: 1 as Sequence, batch: dataBatch(1, 3, 1, 16) });
    lab.observe({ ...lab.initial(), epoch: 2 as Epoch });
    await lab.pass(80);
    lab.promise();
    await lab.pass(80);
    await lab.apply();
    lab.promise();
    await lab.pass(40);
    lab.grantLease();
    const { got, send } = lab.frontend();
    send({ type: 'open', session, generation: 0 as Generation });
    expect(lab.all('flush')).toEqual([]);
    send(read(7));
    await lab.pass(40);
    expect(got).toMatchObject([{ type: 'opened' }]);
    const { epoch, flush } = lab.last('flush')!;
    lab.receive({ type: 'flushed', epoch, incarnation: OTHER_LIFE, flush, durable: lab.store.last.sequence });
    expect(got.slice(1)).toMatchObject([{ type: 'data', request: 7, status: 'ok' }]);
  });
});
