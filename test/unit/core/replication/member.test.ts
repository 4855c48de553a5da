import { describe, expect, it } from 'vitest';
import type { Append, PrimaryMessage } from '../../../../core/messages.js';
import type { BlockNumber, Epoch, Generation, Incarnation, Order, Sequence } from '../../../../core/types.js';
import { ORDER_ZERO } from '../../../../core/types.js';
import { dataBatch, zeroBatch } from '../../../sim/blocks.js';
import { activated, Lab, OTHER, OTHER_LIFE, promiseOf } from './lab.js';

const order = (epoch: number, sequence: number): Order => ({ epoch: epoch as Epoch, sequence: sequence as Sequence });
const append = (lab: Lab, epoch: number, first: number, change: Partial<Append> = {}): PrimaryMessage => ({
  type: 'append',
  epoch: epoch as Epoch,
  incarnation: lab.store.incarnation,
  orderEpoch: epoch as Epoch,
  firstSequence: first as Sequence,
  batch: dataBatch(first, first, 1, 16),
  durable: false,
  ...change,
});

async function member(epoch = 2): Promise<Lab> {
  const lab = await Lab.open();
  lab.receive(promiseOf(epoch));
  await lab.pass(80);
  return lab;
}

describe('a member', () => {
  it('makes an epoch durable before it answers, and refuses older ones from the question on [I3]', async () => {
    const lab = await Lab.open();
    lab.receive(promiseOf(5));
    expect(lab.all('promised')).toEqual([]);
    lab.receive(promiseOf(4));
    expect(lab.last('refused')).toMatchObject({ of: 'promise', reason: 'stale-epoch', epoch: 5 });
    await lab.pass(80);
    expect(lab.last('promised')).toMatchObject({ epoch: 5, incarnation: lab.store.incarnation, last: ORDER_ZERO });
    expect(lab.store.state.promised).toBe(5);
    lab.receive(append(lab, 4, 1));
    expect(lab.last('refused')).toMatchObject({ of: 'append', reason: 'stale-epoch', epoch: 5 });
    expect(lab.store.last).toEqual(ORDER_ZERO);
  });

  it('refuses another etcd cluster', async () => {
    const lab = await Lab.open();
    lab.receive({ ...promiseOf(5), etcdClusterId: 'f' } as PrimaryMessage);
    expect(lab.last('refused')).toMatchObject({ reason: 'wrong-cluster' });
  });

  it('appends what is contiguous, once, and says what is missing', async () => {
    const lab = await member();
    lab.receive(append(lab, 2, 1, { batch: dataBatch(1, 1, 3, 16) }));
    // Not before it outlives the process.
    expect(lab.all('appended')).toEqual([]);
    await lab.pass(2);
    expect(lab.last('appended')).toMatchObject({ last: 3 });
    lab.receive(append(lab, 2, 5));
    expect(lab.last('refused')).toMatchObject({ reason: 'gap', last: order(2, 3) });
    // Sent again, with one entry more.
    lab.receive(append(lab, 2, 2, { batch: dataBatch(9, 2, 3, 16) }));
    await lab.pass(2);
    expect(lab.last('appended')).toMatchObject({ last: 4 });
    expect(lab.store.last).toEqual(order(2, 4));
    expect((await lab.lookUp(2))?.order).toEqual(order(2, 2));
    expect((await lab.lookUp(4))?.order).toEqual(order(2, 4));
  });

  it('refuses what was meant for an earlier life, and what was damaged on the way', async () => {
    const lab = await member();
    lab.receive(append(lab, 2, 1, { incarnation: 'an earlier life' as Incarnation }));
    expect(lab.last('refused')).toMatchObject({ reason: 'wrong-incarnation' });
    const batch = dataBatch(1, 1, 1, 16);
    batch.payload[7]! ^= 1;
    lab.receive(append(lab, 2, 1, { batch }));
    expect(lab.last('refused')).toMatchObject({ reason: 'bad-checksum' });
    expect(lab.store.last).toEqual(ORDER_ZERO);
  });

  it('answers a durable append from the disk', async () => {
    const lab = await member();
    lab.receive(append(lab, 2, 1, { durable: true }));
    expect(lab.all('appended')).toEqual([]);
    await lab.pass(80);
    expect(lab.last('appended')).toMatchObject({ last: 1, durable: 1 });
  });

  it('says that its disk is full and stays usable', async () => {
    const lab = await member();
    lab.disk.setFull(true);
    // The store looks how much is free once a second.
    await lab.pass(1_100);
    for (let i = 0; i < 20; i++) lab.receive(append(lab, 2, i + 1, { batch: dataBatch(1, i, 1, 4_000) }));
    await lab.pass(10);
    expect(lab.all('refused').some((refusal) => refusal.reason === 'no-space')).toBe(true);
    expect(lab.errors).toEqual([]);
    lab.disk.setFull(false);
    lab.receive(append(lab, 2, lab.store.last.sequence + 1));
    await lab.pass(10);
    expect(lab.last('appended')).toMatchObject({ last: lab.store.last.sequence });
  });

  it('answers late, within bounds, while its space is short', async () => {
    const lab = await member();
    Object.defineProperty(lab.store, 'appendDelayMs', { value: 60_000 });
    lab.receive(append(lab, 2, 1));
    lab.receive(append(lab, 2, 2, { batch: zeroBatch(1, 1) }));
    expect(lab.store.last.sequence).toBe(2);
    await lab.pass(2);
    expect(lab.all('appended').map(({ last }) => last)).toEqual([2]);
    await lab.pass(1_900);
    expect(lab.all('appended')).toHaveLength(1);
    await lab.pass(200);
    expect(lab.all('appended').map(({ last }) => last)).toEqual([2, 1]);
  });

  it.each([false, true])('answers an append under the epoch that it came with, durable or not: %s', async (durable) => {
    const lab = await member();
    Object.defineProperty(lab.store, 'appendDelayMs', { value: 500 });
    lab.receive(append(lab, 2, 1, { durable }));
    lab.receive(promiseOf(3));
    await lab.pass(1_000);
    expect(lab.last('promised')).toMatchObject({ epoch: 3 });
    expect(lab.last('appended')).toMatchObject({ epoch: 2, last: 1 });
  });

  it('asks for a look while it has no connection to its primary', async () => {
    const lab = await Lab.open({ memberGraceMs: 300, suspectRepeatMs: 1_000 });
    const record = lab.initial();
    const primary = { deployment: OTHER, node: 'node-b' as never, incarnation: OTHER_LIFE };
    lab.observe(activated({ ...record, primary }));
    lab.linkUp = false;
    lab.deployment.onPeerDown('node-b' as never);
    await lab.pass(250);
    expect(lab.attentions).toEqual([]);
    await lab.pass(2_200);
    expect(lab.attentions).toEqual(['suspect-primary', 'suspect-primary', 'suspect-primary']);
  });
});

describe('the target of a sync', () => {
  const history = [
    { epoch: 2 as Epoch, startsAfter: 0 as Sequence },
    { epoch: 4 as Epoch, startsAfter: 2 as Sequence },
  ];
  const begin = (sync = 1, streamAfter = order(4, 9)): PrimaryMessage => ({
    type: 'sync-begin',
    epoch: 4 as Epoch,
    history,
    primaryIncarnation: OTHER_LIFE,
    etcdClusterId: 'e',
    sync,
    streamAfter,
    generation: 1 as Generation,
  });

  /** Holds 1…4 of epoch 2, of which 3 and 4 did not survive. */
  async function diverged(): Promise<Lab> {
    const lab = await member(2);
    lab.receive(append(lab, 2, 1, { batch: dataBatch(1, 1, 4, 16) }));
    lab.receive(begin());
    await lab.pass(80);
    return lab;
  }

  it('says how far it agrees and which blocks are dead, all of it durable [R6]', async () => {
    const lab = await diverged();
    expect(lab.last('sync-ready')).toMatchObject({ sync: 1, base: order(2, 2), dead: [3, 4] });
    expect(lab.store.state).toMatchObject({ promised: 4, syncBase: order(2, 2) });
    expect(lab.store.last).toEqual(order(4, 9));
  });

  it('never says that it was in sync under an epoch under which it is a target [R6]', async () => {
    const lab = await member(2);
    lab.receive(append(lab, 2, 1, { batch: dataBatch(1, 1, 4, 16) }));
    const updates: unknown[] = [];
    const update = lab.store.update.bind(lab.store);
    lab.store.update = (change) => {
      updates.push(change);
      return update(change);
    };
    lab.receive(begin());
    await lab.pass(80);
    expect(updates).toEqual([{ promised: 4, history, syncBase: order(2, 2), syncRegions: [] }]);
  });

  it('keeps the base of a sync that was not finished', async () => {
    const lab = await diverged();
    lab.receive(append(lab, 4, 10));
    lab.receive(begin(2, order(4, 10)));
    await lab.pass(80);
    expect(lab.last('sync-ready')).toMatchObject({ sync: 2, base: order(2, 2) });
  });

  it('writes a block where its own order is dead or lower, and forgets one that never survived [R4]', async () => {
    const lab = await diverged();
    lab.receive(append(lab, 4, 10, { batch: dataBatch(77, 1, 1, 16) }));
    const blocks = [
      [dataBatch(50, 1, 1, 16), order(4, 5)],
      [dataBatch(51, 2, 1, 16), order(4, 6)],
      [dataBatch(52, 3, 1, 16), order(2, 1)],
      [zeroBatch(4, 1), ORDER_ZERO],
      [zeroBatch(20, 1), ORDER_ZERO],
    ] as const;
    lab.receive({
      type: 'backfill',
      epoch: 4 as Epoch,
      incarnation: lab.store.incarnation,
      sync: 1,
      number: 1,
      orders: blocks.map(([, one]) => one),
      batch: {
        entries: Buffer.concat(blocks.map(([batch]) => batch.entries)),
        payload: Buffer.concat(blocks.map(([batch]) => batch.payload)),
      },
    });
    await lab.pass(10);
    expect(lab.last('backfilled')).toMatchObject({ number: 1 });
    const found = await Promise.all([1, 2, 3, 4, 20].map((block) => lab.lookUp(block)));
    const orders = found.map((block) => block?.order);
    expect(orders).toEqual([order(4, 10), order(4, 6), order(2, 1), undefined, undefined]);
  });

  it('forgets the base when everything is there and flushed [R8]', async () => {
    const lab = await diverged();
    const finish = (last: Order): PrimaryMessage => ({
      type: 'sync-finish',
      epoch: 4 as Epoch,
      incarnation: lab.store.incarnation,
      sync: 1,
      last,
    });
    lab.receive(finish(order(4, 11)));
    expect(lab.last('refused')).toMatchObject({ of: 'sync-finish', reason: 'gap' });
    lab.receive(finish(order(4, 9)));
    expect(lab.all('sync-finished')).toEqual([]);
    await lab.pass(80);
    expect(lab.last('sync-finished')).toMatchObject({ sync: 1 });
    expect(lab.store.state).toMatchObject({ syncBase: null, unclean: false });
  });

  it('refuses what belongs to no sync', async () => {
    const lab = await diverged();
    lab.receive({
      type: 'sync-dead',
      epoch: 4 as Epoch,
      incarnation: lab.store.incarnation,
      sync: 7,
      from: 0 as BlockNumber,
    });
    expect(lab.last('refused')).toMatchObject({ of: 'sync-dead', reason: 'no-sync' });
  });
});
