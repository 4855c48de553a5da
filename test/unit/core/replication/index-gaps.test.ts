import { describe, expect, it } from 'vitest';
import type { PeerMessage } from '../../../../core/messages.js';
import { type Batch, lostEntry } from '../../../../core/record.js';
import { EMPTY_BATCH, makeBatch } from '../../../../core/replication/batches.js';
import type { BlockNumber, Epoch, Order, Sequence } from '../../../../core/types.js';
import { ORDER_ZERO } from '../../../../core/types.js';
import { dataBatch, zeroBatch } from '../../../sim/blocks.js';
import { lifeOf, primaryWithTargets, THIRD } from './copies.js';
import { activated, Lab, OTHER, OTHER_LIFE, OTHER_NODE, promiseOf } from './lab.js';

const BLOCK = 5 as BlockNumber;
const OLD = dataBatch(9, BLOCK, 1, 16);

function order(epoch: number, sequence: number): Order {
  return { epoch: epoch as Epoch, sequence: sequence as Sequence };
}

/** By the primary, as its first write. */
const WRITTEN = order(2, 1);

/**
 * A primary that does not know what was written to block 5, behind some writes: its index has lost it, or, with another
 * epoch, the primary from which it came as lost. Copies answer fetches with `has`.
 */
async function primaryWithGap(has: (gap: Order) => { orders: Order[]; batch: Batch }, gapEpoch = 0) {
  const bench = await primaryWithTargets();
  const { lab, receive, write, until } = bench;
  write(1);
  write(2);
  await until(() => bench.written(2));
  const gap = order(gapEpoch, lab.store.last.sequence);
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

describe.each([
  ['in a gap of the index of a primary', 0],
  ['that came to a primary as lost, from one with a gap in its index', WRITTEN.epoch],
])('a block %s', (_, gapEpoch) => {
  it('is taken from a member that has all of the stream up to there, with the order that it has', async () => {
    const { lab, heal, asked, payload } = await primaryWithGap(() => ({ orders: [WRITTEN], batch: OLD }), gapEpoch);
    await heal();
    expect(asked).toEqual([OTHER]);
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 1, blocksUnhealed: 0 });
    expect((await lab.lookUp(BLOCK))!.order).toEqual(WRITTEN);
    expect(await payload()).toEqual(OLD.payload);
  });

  it('is never written again if it never was', async () => {
    const { lab, heal } = await primaryWithGap(() => ({ orders: [ORDER_ZERO], batch: zeroBatch(BLOCK, 1) }), gapEpoch);
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
    const { lab, heal, gap } = await primaryWithGap(has, gapEpoch);
    await heal();
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 0, blocksUnhealed: 1 });
    expect((await lab.lookUp(BLOCK))!.order).toEqual(gap);
  });

  it('stays lost as long as the member has not confirmed all of the stream up to there', async () => {
    const bench = await primaryWithGap(() => ({ orders: [WRITTEN], batch: OLD }), gapEpoch);
    const { lab, gap } = bench;
    // As if the index had been repaired at an end of the log that the member does not know yet.
    const later = order(gapEpoch, gap.sequence + 1);
    const entry = lostEntry(BLOCK, 0, 0);
    lab.store.backfill({ orders: [ORDER_ZERO], batch: zeroBatch(BLOCK, 1) });
    lab.store.backfill({ orders: [later], batch: makeBatch([{ entry, payload: EMPTY_BATCH.payload }]) });
    await bench.heal();
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 0, blocksUnhealed: 1 });
    expect((await lab.lookUp(BLOCK))!.order).toEqual(later);
  });

  it('is not taken from the target of a sync, of which nobody knows what it lacks', async () => {
    const { lab, gap, asked, until } = await primaryWithGap(() => ({ orders: [], batch: EMPTY_BATCH }), gapEpoch);
    const { links } = lab.deployment;
    const send = links.send.bind(links);
    links.send = (to, message) => {
      // The sync is not to end before it is cancelled.
      if (message.type === 'sync-finish') return;
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
    }, gapEpoch);
    const { lab, write, heal, payload } = bench;
    overwrite = () => write(BLOCK);
    await heal();
    expect((await lab.lookUp(BLOCK))!.order.sequence).toBe(lab.store.last.sequence);
    expect(await payload()).toEqual(dataBatch(BLOCK, BLOCK, 1, 16).payload);
  });
});

describe('a copy to which a block came as lost from a primary with a gap in its index', () => {
  const UNIDENTIFIED = { block: BLOCK, checksumLow: 0, checksumHigh: 0 };

  /** A primary that has block 5 as of its first write and asks itself nothing; and what it answers to `asked`. */
  async function primary() {
    const bench = await primaryWithTargets();
    const { lab, receive, write, trim, until } = bench;
    write(BLOCK);
    write(2);
    await until(() => bench.written(2));
    const asks = async (latest: Order, block = BLOCK) => {
      const { epoch } = lab.record!;
      const asked = [{ ...UNIDENTIFIED, block, order: latest }];
      receive(OTHER, { type: 'mend', epoch, incarnation: lifeOf(OTHER), request: 7, blocks: asked });
      await lab.pass(20);
      return lab.last('mended');
    };
    return { lab, asks, write, trim, until, last: lab.store.last };
  }

  it('gets it from a primary that has it', async () => {
    const { asks, last } = await primary();
    expect(await asks(last)).toMatchObject({ orders: [order(last.epoch, last.sequence - 1)] });
  });

  it('gets a hole that it is', async () => {
    const { asks, last } = await primary();
    expect(await asks(last, 9 as BlockNumber)).toMatchObject({ orders: [ORDER_ZERO] });
  });

  it.each<[string, (last: Order) => Order]>([
    ['that was written later', (last) => order(last.epoch, last.sequence - 2)],
    ['whose latest order this primary does not know', (last) => order(last.epoch, last.sequence + 1)],
    ['whose latest order is of a later primary', (last) => order(last.epoch + 1, last.sequence)],
    ['whose latest order is dead', (last) => order(1, last.sequence)],
    ['that is in a gap of the own index, as nobody answers for that but a sync', (last) => order(0, last.sequence)],
  ])('gets none %s', async (_, latest) => {
    const { asks, last } = await primary();
    expect(await asks(latest(last))).toMatchObject({ orders: [] });
  });

  /** The copy: two writes, and the block as lost, at the latest the second one. */
  async function member() {
    const lab = await Lab.open();
    lab.receive(promiseOf(2, [{ epoch: WRITTEN.epoch, startsAfter: 0 as Sequence }]));
    await lab.pass(20);
    lab.store.append({ epoch: WRITTEN.epoch, firstSequence: 1 as Sequence, batch: dataBatch(1, 1, 1, 16) });
    lab.store.append({ epoch: WRITTEN.epoch, firstSequence: 2 as Sequence, batch: dataBatch(2, 2, 1, 16) });
    const entry = lostEntry(BLOCK, 0, 0);
    const latest = order(WRITTEN.epoch, 2);
    lab.store.backfill({ orders: [latest], batch: makeBatch([{ entry, payload: EMPTY_BATCH.payload }]) });
    lab.observe({
      ...activated(lab.initial()),
      primary: { deployment: OTHER, node: OTHER_NODE, incarnation: OTHER_LIFE },
    });
    lab.deployment.heal([(await lab.lookUp(BLOCK))!]);
    const { request } = lab.last('mend')!;
    const { incarnation } = lab.store;
    const { counters } = lab.deployment;
    const answer = async (orders: Order[], batch: Batch, epoch = WRITTEN.epoch) => {
      lab.receive({ type: 'mended', epoch, incarnation, request, orders, batch });
      await lab.until(() => counters.blocksHealed + counters.blocksUnhealed > 0);
    };
    return { lab, latest, answer };
  }

  it('takes from its primary what that has', async () => {
    const { lab, answer } = await member();
    await answer([WRITTEN], OLD);
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 1, blocksUnhealed: 0 });
    expect((await lab.lookUp(BLOCK))!.order).toEqual(WRITTEN);
  });

  it.each<[string, Order, Epoch?]>([
    ['that is newer than it can be', order(WRITTEN.epoch, 3)],
    ['whose order is dead', order(1, 1)],
    ['from a primary that was deposed since', WRITTEN, 1 as Epoch],
  ])('takes none %s', async (_, found, epoch) => {
    const { lab, latest, answer } = await member();
    await answer([found], OLD, epoch);
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 0, blocksUnhealed: 1 });
    expect((await lab.lookUp(BLOCK))!.order).toEqual(latest);
  });
});
