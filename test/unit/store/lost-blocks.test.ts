import { describe, expect, it } from 'vitest';
import { BadBlockError, type DeploymentStore } from '../../../core/ports.js';
import { type Batch, KIND_LOST, lostEntry, readEntry } from '../../../core/record.js';
import { makeBatch } from '../../../core/replication/batches.js';
import type { LocalDeploymentStore } from '../../../node-agent/store/deployment-store.js';
import { SimDisk } from '../../sim/sim-disk.js';
import {
  batchOf,
  block,
  content,
  DEPLOYMENT,
  data,
  epoch,
  lookUp,
  newDeployment,
  openStores,
  order,
  seeded,
  sequence,
} from './support.js';

const intact = batchOf(data(7, 1));
const { checksumLow, checksumHigh } = readEntry(intact.entries, 0);
const lost: Batch = makeBatch([{ entry: lostEntry(7, checksumLow, checksumHigh), payload: Buffer.alloc(0) }]);
const asFound = { block: 7, order: order(1, 5), kind: KIND_LOST, checksumLow, checksumHigh };

/** Holds block 6, and knows that block 7 is lost. */
async function bench() {
  const sim = new SimDisk({ random: seeded(3) });
  const stores = await openStores(sim.mount());
  const store = await stores.create(newDeployment);
  store.position(order(1, 9));
  store.backfill({ orders: [order(1, 4)], batch: batchOf(data(6, 1)) });
  store.backfill({ orders: [order(1, 5)], batch: lost });
  await store.written();
  return { sim, stores, store };
}

async function expectLost(store: DeploymentStore): Promise<void> {
  expect(await lookUp(store, 7)).toMatchObject(asFound);
  const failure: unknown = await store.read(block(6), 2).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(BadBlockError);
  expect((failure as BadBlockError).blocks).toMatchObject([asFound]);
  await expect(store.readBlocks([block(7)])).rejects.toThrow(BadBlockError);
  expect((await store.read(block(6), 1)).batch.payload).toEqual(content(6, 1));
}

describe('a block that is known to be lost', () => {
  it('is a bad block to its readers, and no hole', async () => {
    const { store } = await bench();
    await expectLost(store);
    expect(await store.newerThan(sequence(0), block(0), 10)).toEqual([6, 7]);
    expect(store.badBlocks).toBe(1);
  });

  it.each([
    ['a clean shutdown', async ({ stores }: Awaited<ReturnType<typeof bench>>) => void (await stores.close())],
    [
      'a power cut behind a flush',
      async ({ sim, store }: Awaited<ReturnType<typeof bench>>) => {
        await store.flush();
        sim.crash({ power: true });
      },
    ],
    ['the end of the process', async ({ sim }: Awaited<ReturnType<typeof bench>>) => sim.crash({ power: false })],
  ])('is the same after %s: nothing that was torn, nothing that was damaged', async (what, end) => {
    const all = await bench();
    await end(all);
    const bootId = what.startsWith('a power') ? 'boot-2' : 'boot-1';
    const stores = await openStores(all.sim.mount(), { bootId });
    const store = await stores.open(DEPLOYMENT);
    expect(store.damages).toEqual([]);
    await expectLost(store);
  });

  it.each<[string, (store: LocalDeploymentStore) => void, string]>([
    [
      'the block itself, from another copy',
      (store) => store.backfill({ orders: [order(1, 5)], batch: intact }),
      'data',
    ],
    ['a write', (store) => store.append(stream(batchOf(data(7, 2)))), 'data'],
    ['a trim', (store) => store.append(stream(batchOf({ block: 7, zero: 1 }))), 'zeroes'],
    ['a hole', (store) => store.backfill({ orders: [order(0, 0)], batch: batchOf({ block: 7, zero: 1 }) }), 'zeroes'],
  ])('goes with %s', async (_, replace, becomes) => {
    const { store } = await bench();
    replace(store);
    const { batch } = await store.read(block(7), 1);
    expect(batch.payload.length > 0 ? 'data' : 'zeroes').toBe(becomes);
    expect(store.badBlocks).toBe(0);
  });

  it('takes the place of what was there before', async () => {
    const { store } = await bench();
    store.backfill({
      orders: [order(1, 6)],
      batch: makeBatch([{ entry: lostEntry(6, 1, 2), payload: Buffer.alloc(0) }]),
    });
    await expect(store.read(block(6), 1)).rejects.toThrow(BadBlockError);
    expect(store.statistics.liveBytes).toBe(0);
  });

  it('is reported by every pass of the scrub', async () => {
    const { store } = await bench();
    for (let pass = 1; pass <= 2; pass++) {
      while (store.scrubProgress.passes < pass) await store.scrub();
      expect(store.statistics.scrubbed.badBlocks).toBe(pass);
    }
  });

  it('has no place in the stream', async () => {
    const { store } = await bench();
    expect(() => store.append(stream(lost))).toThrow(/only sound batches/);
  });
});

function stream(batch: Batch) {
  return { epoch: epoch(1), firstSequence: sequence(10), batch };
}
