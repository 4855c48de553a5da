import { describe, expect, it } from 'vitest';
import type { PeerMessage } from '../../../../core/messages.js';
import { type Batch, lostEntry } from '../../../../core/record.js';
import { EMPTY_BATCH, makeBatch } from '../../../../core/replication/batches.js';
import type { BlockNumber, Epoch, Order, Sequence } from '../../../../core/types.js';
import { ORDER_ZERO } from '../../../../core/types.js';
import { dataBatch, zeroBatch } from '../../../sim/blocks.js';
import { primaryWithTargets, THIRD } from './copies.js';
import { OTHER } from './lab.js';

const BLOCK = 5 as BlockNumber;
const OLD = dataBatch(9, BLOCK, 1, 16);

function order(epoch: number, sequence: number): Order {
  return { epoch: epoch as Epoch, sequence: sequence as Sequence };
}

/** By the primary, as its first write. */
const WRITTEN = order(2, 1);

/** A primary whose index has lost what it knew of block 5, behind some writes; copies answer fetches with `has`. */
async function primaryWithGap(has: (gap: Order) => { orders: Order[]; batch: Batch }) {
  const bench = await primaryWithTargets();
  const { lab, receive, write, until } = bench;
  write(1);
  write(2);
  await until(() => bench.written(2));
  const gap = order(0, lab.store.last.sequence);
  const entry = lostEntry(BLOCK, 0, 0);
  lab.store.backfill({ orders: [gap], batch: makeBatch([{ entry, payload: EMPTY_BATCH.payload }]) });
  const { links } = lab.deployment;
  const send = links.send.bind(links);
  const asked: string[] = [];
  links.send = (to, message: PeerMessage) => {
    send(to, message);
    if (message.type !== 'fetch') return;
    asked.push(to.deployment);
    const { epoch, request } = message;
    const found = has(gap);
    lab.scheduler.after(1, () => receive(to.deployment, { type: 'fetched', epoch, request, ...found }));
  };
  const heal = async (): Promise<void> => {
    const { deployment } = lab;
    const before = deployment.counters.blocksHealed + deployment.counters.blocksUnhealed;
    deployment.heal([(await lab.lookUp(BLOCK))!]);
    await until(() => deployment.counters.blocksHealed + deployment.counters.blocksUnhealed > before);
  };
  const payload = async (): Promise<Buffer | undefined> => {
    let read: Buffer | undefined;
    const reading = lab.store.read(BLOCK, 1).then(({ batch }) => {
      read = batch.payload;
    });
    await until(() => read !== undefined);
    await reading;
    return read;
  };
  return { ...bench, gap, asked, heal, payload };
}

describe('a block in a gap of the index of a primary', () => {
  it('is taken from a member that has all of the stream up to there, with the order that it has', async () => {
    const { lab, heal, asked, payload } = await primaryWithGap(() => ({ orders: [WRITTEN], batch: OLD }));
    await heal();
    expect(asked).toEqual([OTHER]);
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 1, blocksUnhealed: 0 });
    expect((await lab.lookUp(BLOCK))!.order).toEqual(WRITTEN);
    expect(await payload()).toEqual(OLD.payload);
  });

  it('is never written again if it never was', async () => {
    const { lab, heal } = await primaryWithGap(() => ({ orders: [ORDER_ZERO], batch: zeroBatch(BLOCK, 1) }));
    await heal();
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 1, blocksUnhealed: 0 });
    expect(await lab.lookUp(BLOCK)).toBeUndefined();
  });

  it.each<[string, (gap: Order) => { orders: Order[]; batch: Batch }]>([
    ['whose order is dead', () => ({ orders: [order(1, 1)], batch: OLD })],
    ['that is newer than it can be', (gap) => ({ orders: [order(WRITTEN.epoch, gap.sequence + 1)], batch: OLD })],
    [
      'that is lost there, too',
      () => ({
        orders: [WRITTEN],
        batch: makeBatch([{ entry: lostEntry(BLOCK, 0, 0), payload: EMPTY_BATCH.payload }]),
      }),
    ],
    ['of another block', () => ({ orders: [WRITTEN], batch: dataBatch(9, 6, 1, 16) })],
  ])('stays lost before an answer %s', async (_, has) => {
    const { lab, heal, gap } = await primaryWithGap(has);
    await heal();
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 0, blocksUnhealed: 1 });
    expect((await lab.lookUp(BLOCK))!.order).toEqual(gap);
  });

  it('stays lost as long as the member has not confirmed all of the stream up to there', async () => {
    const bench = await primaryWithGap(() => ({ orders: [WRITTEN], batch: OLD }));
    const { lab, gap } = bench;
    // As if the index had been repaired at an end of the log that the member does not know yet.
    const later = order(0, gap.sequence + 1);
    const entry = lostEntry(BLOCK, 0, 0);
    lab.store.backfill({ orders: [ORDER_ZERO], batch: zeroBatch(BLOCK, 1) });
    lab.store.backfill({ orders: [later], batch: makeBatch([{ entry, payload: EMPTY_BATCH.payload }]) });
    await bench.heal();
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 0, blocksUnhealed: 1 });
    expect((await lab.lookUp(BLOCK))!.order).toEqual(later);
  });

  it('is not taken from the target of a sync, of which nobody knows what it lacks', async () => {
    const { lab, gap, asked, until } = await primaryWithGap(() => ({ orders: [], batch: EMPTY_BATCH }));
    const { links } = lab.deployment;
    const send = links.send.bind(links);
    links.send = (to, message) => {
      if (message.type !== 'fetch' || to.deployment !== THIRD) {
        send(to, message);
        return;
      }
      asked.push(THIRD);
      const { epoch, request } = message;
      const found = { orders: [WRITTEN], batch: OLD };
      lab.scheduler.after(1, () =>
        lab.deployment.onMessage({
          volume: lab.deployment.self.volume,
          from: THIRD,
          fromNode: to.node,
          to: lab.deployment.self.deployment,
          message: { type: 'fetched', epoch, request, ...found },
        }),
      );
    };
    const sync = lab.deployment.startSync(THIRD, () => {});
    await until(() => lab.deployment.counters.blocksLost > 0);
    sync.cancel();
    await expect(sync.done).rejects.toMatchObject({ code: 'cancelled' });
    expect(asked).toContain(THIRD);
    expect((await lab.lookUp(BLOCK))!.order).toEqual(gap);
  });

  it('is left to who has written it meanwhile', async () => {
    let overwrite = (): void => {};
    const bench = await primaryWithGap(() => {
      overwrite();
      return { orders: [WRITTEN], batch: OLD };
    });
    const { lab, write, heal, payload } = bench;
    overwrite = () => write(BLOCK);
    await heal();
    expect((await lab.lookUp(BLOCK))!.order.sequence).toBe(lab.store.last.sequence);
    expect(await payload()).toEqual(dataBatch(BLOCK, BLOCK, 1, 16).payload);
  });
});
