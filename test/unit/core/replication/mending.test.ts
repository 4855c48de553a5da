import { describe, expect, it } from 'vitest';
import type { Mend } from '../../../../core/messages.js';
import { BadBlockError, type IndexedBlock } from '../../../../core/ports.js';
import type { Batch } from '../../../../core/record.js';
import { EMPTY_BATCH } from '../../../../core/replication/batches.js';
import type { Epoch, Generation, Order, Sequence, SessionNumber } from '../../../../core/types.js';
import { dataBatch } from '../../../sim/blocks.js';
import { activated, Lab, OTHER, OTHER_LIFE, OTHER_NODE, promiseOf, SELF } from './lab.js';

const session = 1 as SessionNumber;
const payload = dataBatch(1, 3, 1, 16);

/** The one block's bytes are bad until something is written. */
function spoil(lab: Lab, stored: IndexedBlock): () => boolean {
  let bad = true;
  const write = lab.store.backfill.bind(lab.store);
  lab.store.readBlocks = async (blocks) => {
    if (bad) throw new BadBlockError(SELF, [stored]);
    return lab.store.read(blocks[0]!, 1);
  };
  lab.store.backfill = (blocks) => {
    bad = false;
    write(blocks);
  };
  return () => bad;
}

/** A member whose block 3 has gone bad; the other copy is the primary. */
async function member() {
  const lab = await Lab.open();
  lab.receive(promiseOf(2));
  await lab.pass(20);
  lab.store.append({ epoch: 2 as Epoch, firstSequence: 1 as Sequence, batch: payload });
  const stored = (await lab.lookUp(3))!;
  const bad = spoil(lab, stored);
  const primary = { deployment: OTHER, node: OTHER_NODE, incarnation: OTHER_LIFE };
  const record = () => lab.observe({ ...activated(lab.initial()), primary });
  const answer = (request: number, orders: Order[], batch: Batch) =>
    lab.receive({ type: 'mended', epoch: 2 as Epoch, incarnation: lab.store.incarnation, request, orders, batch });
  return { lab, stored, bad, record, answer };
}

describe('a member with a bad block', () => {
  it('asks its primary for it by order and checksum, writes it again and reads it back', async () => {
    const { lab, stored, bad, record, answer } = await member();
    record();
    lab.deployment.heal([stored]);
    const { block, order, checksumLow, checksumHigh } = stored;
    const asked = lab.last('mend')!;
    expect(asked).toMatchObject({
      incarnation: lab.store.incarnation,
      blocks: [{ block, order, checksumLow, checksumHigh }],
    });
    answer(asked.request, [stored.order], payload);
    await lab.until(() => lab.deployment.counters.blocksHealed > 0);
    expect(bad()).toBe(false);
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 1, blocksUnhealed: 0 });
    await lab.pass(60_000);
    expect(lab.all('mend')).toHaveLength(1);
  });

  it('asks when it finds one while it mends others', async () => {
    const { lab, stored, record } = await member();
    record();
    lab.receive({ type: 'fetch', epoch: 2 as Epoch, request: 1, blocks: [stored.block] });
    await lab.pass(20);
    expect(lab.last('fetched')!.orders).toEqual([]);
    expect(lab.last('mend')).toBeDefined();
  });

  it.each<[string, (stored: IndexedBlock) => [Order, Batch]]>([
    ['of another order', ({ order }) => [{ ...order, sequence: 9 as Sequence }, payload]],
    ['of another content', ({ order }) => [order, dataBatch(2, 3, 1, 16)]],
    ['of another block', ({ order }) => [order, dataBatch(1, 4, 1, 16)]],
    [
      'that was damaged on the way',
      ({ order }) => {
        const batch = dataBatch(1, 3, 1, 16);
        batch.payload[7]! ^= 1;
        return [order, batch];
      },
    ],
  ])('takes none %s', async (_, make) => {
    const { lab, stored, bad, record, answer } = await member();
    record();
    lab.deployment.heal([stored]);
    const [order, batch] = make(stored);
    answer(lab.last('mend')!.request, [order], batch);
    await lab.pass(50);
    expect(bad()).toBe(true);
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 0, blocksUnhealed: 1 });
  });

  it('does not undo a write that came meanwhile', async () => {
    const { lab, stored, record, answer } = await member();
    record();
    lab.deployment.heal([stored]);
    lab.store.append({ epoch: 2 as Epoch, firstSequence: 2 as Sequence, batch: dataBatch(5, 3, 1, 16) });
    answer(lab.last('mend')!.request, [stored.order], payload);
    await lab.pass(50);
    expect((await lab.lookUp(3))!.order.sequence).toBe(2);
    expect(lab.deployment.counters).toMatchObject({ blocksHealed: 0, blocksUnhealed: 0 });
  });

  it('takes answers of nobody but whom it asked, to nothing but what it asked', async () => {
    const { lab, stored, bad, record, answer } = await member();
    record();
    lab.deployment.heal([stored]);
    answer(lab.last('mend')!.request + 1, [stored.order], payload);
    await lab.pass(50);
    expect(bad()).toBe(true);
  });

  it('waits for a primary that is there and knows how; asks again, one request at a time, when none answers', async () => {
    const { lab, stored, record } = await member();
    lab.protocolVersion = 1;
    record();
    lab.deployment.heal([stored]);
    await lab.pass(40_000);
    expect(lab.all('mend')).toEqual([]);
    lab.protocolVersion = 2;
    lab.deployment.onPeerUp(OTHER_NODE);
    expect(lab.all('mend')).toHaveLength(1);
    lab.deployment.onPeerUp(OTHER_NODE);
    await lab.pass(10_000);
    expect(lab.all('mend')).toHaveLength(1);
    await lab.pass(40_000);
    expect(lab.all('mend')).toHaveLength(4);
  });

  it('asks for many in portions, no faster than it may, and forgets what is too much', async () => {
    const { lab, stored, record, answer } = await member();
    record();
    const many = Array.from({ length: 5_000 }, (_, i) => ({ ...stored, block: (i + 100) as typeof stored.block }));
    lab.deployment.heal(many);
    let portions = 0;
    for (let second = 0; second < 60; second++) {
      const asked = lab.all('mend');
      if (asked.length > portions) {
        portions = asked.length;
        expect(asked.at(-1)!.blocks).toHaveLength(256);
        answer(asked.at(-1)!.request, [], EMPTY_BATCH);
      }
      await lab.pass(100);
      expect(portions).toBeLessThanOrEqual(1 + second / 10);
    }
    await lab.pass(60_000);
    expect(lab.all('mend').flatMap(({ blocks }) => blocks).length).toBeGreaterThan(256);
    expect(new Set(lab.all('mend').flatMap(({ blocks }) => blocks.map(({ block }) => block))).size).toBeLessThanOrEqual(
      4_096,
    );
  });
});

describe('a primary that is asked for blocks', () => {
  async function primary() {
    const lab = await Lab.open({ memberTimeoutMs: 60_000 });
    await lab.makePrimary();
    const { send } = await lab.session();
    send({ type: 'write', session, request: 1, fua: false, batch: payload });
    lab.confirm();
    const stored = (await lab.lookUp(3))!;
    const ask = (change: Partial<Mend> = {}) =>
      lab.receive({
        type: 'mend',
        epoch: lab.record!.epoch,
        incarnation: OTHER_LIFE,
        request: 7,
        blocks: [stored],
        ...change,
      });
    return { lab, stored, ask };
  }

  it('sends them as stored', async () => {
    const { lab, stored, ask } = await primary();
    ask();
    await lab.pass(20);
    expect(lab.last('mended')).toMatchObject({ request: 7, incarnation: OTHER_LIFE, orders: [stored.order] });
    expect(lab.last('mended')!.batch.payload).toEqual(payload.payload);
  });

  it.each<[string, (stored: IndexedBlock) => Partial<IndexedBlock>]>([
    ['order', ({ order }) => ({ order: { ...order, sequence: (order.sequence + 1) as Sequence } })],
    ['checksum', ({ checksumLow }) => ({ checksumLow: checksumLow ^ 1 })],
    ['number', () => ({ block: (2 ** 40) as IndexedBlock['block'] })],
  ])('sends none of another %s', async (_, change) => {
    const { lab, stored, ask } = await primary();
    ask({ blocks: [{ ...stored, ...change(stored) }] });
    await lab.pass(20);
    expect(lab.last('mended')).toMatchObject({ request: 7, orders: [] });
  });

  it('answers no other life of the copy', async () => {
    const { lab, ask } = await primary();
    ask({ incarnation: SELF as string as Mend['incarnation'] });
    await lab.pass(20);
    expect(lab.last('mended')).toBeUndefined();
  });

  it('has what it lacks itself mended first; one request of a copy at a time', async () => {
    const { lab, stored, ask } = await primary();
    spoil(lab, stored);
    ask();
    ask({ request: 8 });
    await lab.pass(20);
    expect(lab.all('mended')).toEqual([]);
    const { epoch, request } = lab.last('fetch')!;
    lab.receive({ type: 'fetched', epoch, request, orders: [stored.order], batch: payload });
    await lab.until(() => lab.last('mended') !== undefined);
    expect(lab.all('mended')).toMatchObject([{ request: 7, orders: [stored.order] }]);
  });
});

it('a member that becomes the primary asks the others for what was not mended', async () => {
  const { lab, stored } = await member();
  lab.deployment.heal([stored]);
  lab.observe({ ...lab.initial(), epoch: 3 as Epoch });
  await lab.pass(80);
  lab.receive({
    type: 'promised',
    epoch: 3 as Epoch,
    incarnation: OTHER_LIFE,
    last: lab.store.last,
    generation: 0 as Generation,
    unclean: false,
  });
  await lab.pass(80);
  await lab.apply();
  lab.promise();
  await lab.pass(40);
  lab.grantLease();
  await lab.pass(40);
  expect(lab.last('fetch')).toMatchObject({ blocks: [3] });
});
