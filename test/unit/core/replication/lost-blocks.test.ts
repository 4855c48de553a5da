import { describe, expect, it } from 'vitest';
import type { PeerMessage } from '../../../../core/messages.js';
import { BadBlockError, type IndexedBlock } from '../../../../core/ports.js';
import { type Batch, KIND_DATA, KIND_LOST, lostEntry, readEntry } from '../../../../core/record.js';
import { EMPTY_BATCH, makeBatch } from '../../../../core/replication/batches.js';
import type { BlockNumber, DeploymentId, Epoch, Generation, Order, Sequence } from '../../../../core/types.js';
import { dataBatch } from '../../../sim/blocks.js';
import { lifeOf, primaryWithTargets, THIRD } from './copies.js';
import { activated, Lab, OTHER, OTHER_LIFE, OTHER_NODE } from './lab.js';

const PAYLOAD = dataBatch(3, 3, 1, 16);

/** A primary whose block 3 is bad, and a copy that is to be brought up to date; `has`: who sends the block when asked. */
async function syncWithBadBlock(has: DeploymentId | undefined, protocolVersion = 2, order?: Order) {
  const bench = await primaryWithTargets();
  const { lab, receive, write, until } = bench;
  lab.protocolVersion = protocolVersion;
  write(3);
  await until(() => bench.written(3));
  const known = (await lab.lookUp(3))!;
  const stored = { ...known, order: order ?? known.order };
  let bad = true;
  lab.store.readBlocks = async (blocks) => {
    if (bad && blocks.includes(stored.block)) throw new BadBlockError('a', [stored]);
    return lab.store.read(blocks[0]!, 1);
  };
  const backfill = lab.store.backfill.bind(lab.store);
  lab.store.backfill = (blocks) => {
    bad = false;
    backfill(blocks);
  };
  // What `copies.ts` does not answer: fetches.
  const { links } = lab.deployment;
  const send = links.send.bind(links);
  const asked: DeploymentId[] = [];
  links.send = (to, message: PeerMessage) => {
    send(to, message);
    if (message.type !== 'fetch') return;
    asked.push(to.deployment);
    const found =
      has === to.deployment ? { orders: [stored.order], batch: PAYLOAD } : { orders: [], batch: EMPTY_BATCH };
    const { epoch, request } = message;
    lab.scheduler.after(1, () => receive(to.deployment, { type: 'fetched', epoch, request, ...found }));
  };
  const sync = lab.deployment.startSync(THIRD, () => {});
  const sent = () => lab.all('backfill').flatMap(({ batch, orders }) => entriesWith(batch, orders));
  return { ...bench, stored, sync, sent, asked };
}

function entriesWith(batch: Batch, orders: readonly Order[]) {
  return orders.map((order, i) => ({ order, entry: readEntry(batch.entries, i) }));
}

describe('a sync that comes to a block which the primary cannot read', () => {
  it('sends it as lost, with order and checksum, when nobody has it, and goes on', async () => {
    const { lab, stored, sync, sent, asked, until } = await syncWithBadBlock(undefined);
    await until(() => lab.swaps.length > 1);
    expect(asked).toEqual([OTHER, THIRD]);
    const { checksumLow, checksumHigh } = stored;
    expect(sent()).toMatchObject([
      { order: stored.order, entry: { block: 3, kind: KIND_LOST, storedLength: 0, checksumLow, checksumHigh } },
    ]);
    await lab.apply();
    await sync.done;
    expect(lab.deployment.counters).toMatchObject({ blocksLost: 1, blocksHealed: 0 });
    // Whoever has joined may have what was missing: the members are asked once more.
    await lab.pass(100);
    expect(asked.slice(2)).toEqual([OTHER, THIRD]);
  });

  it('sends one of which not even the order is known as the newest: what the target has of it may be older', async () => {
    const order = { epoch: 0 as Epoch, sequence: 1 as Sequence };
    const { lab, sent, until } = await syncWithBadBlock(undefined, 2, order);
    await until(() => lab.swaps.length > 1);
    expect(sent()).toMatchObject([{ entry: { block: 3, kind: KIND_LOST } }]);
    expect(sent()[0]!.order.epoch).toBe(lab.store.last.epoch);
    expect(sent()[0]!.order.sequence).toBeGreaterThan(0);
  });

  it('sends that as no newer than what is written while it reads: the target has it from the stream', async () => {
    const order = { epoch: 0 as Epoch, sequence: 1 as Sequence };
    const { lab, sent, write, until } = await syncWithBadBlock(undefined, 2, order);
    const readBlocks = lab.store.readBlocks.bind(lab.store);
    let begun: Order | undefined;
    let number = 100;
    lab.store.readBlocks = async (blocks, lend) => {
      const reading = readBlocks(blocks, lend);
      reading.catch(() => {});
      begun = lab.store.last;
      write(number++);
      await new Promise<void>((resolve) => lab.scheduler.after(5, resolve));
      expect(lab.store.last.sequence).toBeGreaterThan(begun.sequence);
      return reading;
    };
    await until(() => sent().length > 0);
    expect(sent()[0]).toMatchObject({ order: begun, entry: { block: 3, kind: KIND_LOST } });
  });

  it.each([
    ['a member', OTHER],
    ['the target itself', THIRD],
  ])('has it mended by %s that has it', async (_, has) => {
    const { lab, stored, sent, until } = await syncWithBadBlock(has);
    await until(() => lab.swaps.length > 1);
    expect(sent()).toMatchObject([{ order: stored.order, entry: { block: 3, kind: KIND_DATA } }]);
    expect(lab.deployment.counters).toMatchObject({ blocksLost: 0, blocksHealed: 1 });
  });

  it('ends with an error that names it if the target speaks a version without lost blocks', async () => {
    const { sync, until } = await syncWithBadBlock(undefined, 1);
    let failure: unknown;
    sync.done.catch((error: unknown) => {
      failure = error;
    });
    await until(() => failure !== undefined);
    expect(failure).toMatchObject({ code: 'bad-block', message: expect.stringContaining('block 3') });
  });
});

type Backfills = readonly { readonly batch: Batch; readonly order?: Order }[];

describe('the target of a sync', () => {
  const order = { epoch: 2 as Epoch, sequence: 1 as Sequence };
  const { checksumLow, checksumHigh } = readEntry(PAYLOAD.entries, 0);
  const lost = makeBatch([{ entry: lostEntry(3, checksumLow, checksumHigh), payload: EMPTY_BATCH.payload }]);
  const other = makeBatch([{ entry: lostEntry(3, 1, 2), payload: EMPTY_BATCH.payload }]);

  /** What its index has of block 3 behind these messages; each is backfill of order (2, 1), or of the given one. */
  async function behind(backfills: Backfills): Promise<IndexedBlock | undefined> {
    const lab = await Lab.open();
    const primary = { deployment: OTHER, node: OTHER_NODE, incarnation: OTHER_LIFE };
    lab.observe({ ...activated(lab.initial()), inSync: [OTHER], primary });
    const history = [{ epoch: 2 as Epoch, startsAfter: 0 as Sequence }];
    lab.receive({
      type: 'sync-begin',
      epoch: 2 as Epoch,
      history,
      primaryIncarnation: lifeOf(OTHER),
      etcdClusterId: 'e',
      sync: 1,
      streamAfter: { epoch: 2 as Epoch, sequence: 9 as Sequence },
      generation: 0 as Generation,
    });
    await lab.until(() => lab.last('sync-ready') !== undefined);
    for (const [i, { batch, order: own = order }] of backfills.entries()) {
      const header = { epoch: 2 as Epoch, incarnation: lab.store.incarnation, sync: 1, number: i + 1 };
      lab.receive({ type: 'backfill', ...header, orders: [own], batch });
      await lab.until(() => lab.all('backfilled').length > i);
    }
    return lab.lookUp(3 as BlockNumber);
  }

  it('knows that it is lost', async () => {
    expect(await behind([{ batch: lost }])).toMatchObject({ kind: KIND_LOST, order, checksumLow, checksumHigh });
  });

  it.each<readonly [string, Backfills, number]>([
    ['the same block, intact, takes its place', [{ batch: lost }, { batch: PAYLOAD }], KIND_DATA],
    ['it does not take the place of the same block', [{ batch: PAYLOAD }, { batch: lost }], KIND_DATA],
    ['data of another checksum does not take its place', [{ batch: other }, { batch: PAYLOAD }], KIND_LOST],
    [
      'it takes the place of an older block',
      [{ batch: PAYLOAD }, { batch: lost, order: { epoch: 2 as Epoch, sequence: 2 as Sequence } }],
      KIND_LOST,
    ],
    [
      'a newer block takes its place',
      [{ batch: lost }, { batch: dataBatch(9, 3, 1, 16), order: { epoch: 2 as Epoch, sequence: 2 as Sequence } }],
      KIND_DATA,
    ],
  ])('%s', async (_, backfills, kind) => {
    expect((await behind(backfills))?.kind).toBe(kind);
  });
});
