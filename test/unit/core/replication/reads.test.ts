import { describe, expect, it } from 'vitest';
import { BadBlockError } from '../../../../core/ports.js';
import { EMPTY_BATCH } from '../../../../core/replication/batches.js';
import type { BlockNumber, Epoch, Generation, Sequence, SessionNumber } from '../../../../core/types.js';
import { dataBatch } from '../../../sim/blocks.js';
import { Lab, OTHER, OTHER_LIFE, OTHER_NODE, SELF } from './lab.js';

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

describe('a read of a block that is bad here', () => {
  const payload = dataBatch(1, 3, 1, 16);

  /** Active; block 3 is written, and bad on the disk until it is written again. */
  async function rotten(memberGraceMs = 500) {
    const lab = await Lab.open({ memberGraceMs, memberTimeoutMs: 60_000 });
    await lab.makePrimary();
    const { got, send } = await lab.session();
    send({ type: 'write', session, request: 1, fua: false, batch: payload });
    lab.confirm();
    const stored = (await lab.lookUp(3))!;
    let bad = true;
    lab.store.read = async (first) => {
      if (bad) throw new BadBlockError(SELF, [stored]);
      return lab.store.readBlocks([first]);
    };
    const backfill = lab.store.backfill.bind(lab.store);
    lab.store.backfill = (blocks) => {
      bad = false;
      backfill(blocks);
    };
    const answers = () => got.filter((message) => message.type === 'data');
    const disconnect = () => {
      lab.linkUp = false;
      lab.deployment.onPeerDown(OTHER_NODE);
    };
    const connect = () => {
      lab.linkUp = true;
      lab.deployment.onPeerUp(OTHER_NODE);
      lab.promise();
      lab.grantLease();
    };
    const fetched = (good: boolean) => {
      const { epoch, request } = lab.last('fetch')!;
      const blocks = good ? { orders: [stored.order], batch: payload } : { orders: [], batch: EMPTY_BATCH };
      lab.receive({ type: 'fetched', epoch, request, ...blocks });
    };
    return { lab, send, answers, disconnect, connect, fetched };
  }

  it('waits for another copy that is away for a moment, and is mended from it', async () => {
    const { lab, send, answers, disconnect, connect, fetched } = await rotten();
    disconnect();
    send(read(2));
    await lab.pass(100);
    expect(answers()).toEqual([]);
    connect();
    await lab.pass(20);
    fetched(true);
    await lab.pass(20);
    expect(answers()).toMatchObject([{ request: 2, status: 'ok' }]);
  });

  it('asks again when the connection breaks before the answer', async () => {
    const { lab, send, answers, disconnect, connect, fetched } = await rotten(10_000);
    send(read(2));
    await lab.pass(20);
    expect(lab.all('fetch')).toHaveLength(1);
    disconnect();
    await lab.pass(1_000);
    expect(answers()).toEqual([]);
    connect();
    await lab.pass(20);
    expect(lab.all('fetch')).toHaveLength(2);
    fetched(true);
    await lab.pass(20);
    expect(answers()).toMatchObject([{ request: 2, status: 'ok' }]);
  });

  it('is an error when the other copies have not got it either', async () => {
    const { lab, send, answers, fetched } = await rotten();
    send(read(2));
    await lab.pass(20);
    fetched(false);
    await lab.pass(20);
    expect(answers()).toMatchObject([{ request: 2, status: 'io-error' }]);
  });

  it('is an error when a connected copy does not send it, and when there is no other copy any more', async () => {
    const { lab, send, answers, disconnect } = await rotten();
    send(read(2));
    for (let i = 0; i < 6; i++) {
      lab.grantLease();
      await lab.pass(400);
    }
    expect(lab.all('fetch')).toHaveLength(1);
    expect(answers()).toMatchObject([{ request: 2, status: 'io-error' }]);
    disconnect();
    send(read(3));
    await lab.pass(1_000);
    expect(answers()).toHaveLength(1);
    await lab.apply();
    expect(answers().slice(1)).toMatchObject([{ request: 3, status: 'io-error' }]);
  });

  it('is not answered at all by a primary without leases, nor by one that was deposed', async () => {
    const { lab, send, answers, fetched } = await rotten();
    send(read(2));
    await lab.pass(2_500);
    fetched(false);
    await lab.pass(1_000);
    expect(answers()).toEqual([]);
    const primary = { deployment: OTHER, node: OTHER_NODE, incarnation: OTHER_LIFE };
    lab.observe({ ...lab.record!, epoch: (lab.record!.epoch + 1) as Epoch, primary, active: false });
    await lab.pass(5_000);
    expect(answers()).toEqual([]);
  });
});
