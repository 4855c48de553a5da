import { describe, expect, it } from 'vitest';
import { SimDisk } from '../../sim/sim-disk.js';
import { block, content, DEPLOYMENT, data, newDeployment, openStores, seeded, writeTo } from './support.js';

/** Blocks of one batch: more than fit into the memtable's part of the memory. */
const BLOCKS = 400;
/** Half of it holds one chunk of a memtable, not two. */
const INDEX_CACHE_BYTES = 40_000;

describe('memory for the index that is short', () => {
  it('is no reason for a checkpoint in the middle of a batch: it has all of it, or nothing', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const options = { indexCacheBytes: INDEX_CACHE_BYTES };
    const stores = await openStores(sim.mount(), options);
    const store = await stores.create(newDeployment);
    writeTo(store, ...Array.from({ length: BLOCKS }, (_, i) => data(2 * i, 1)));
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    await store.flush();
    expect(store.statistics.checkpoints.checkpoints).toBeGreaterThan(0);

    sim.crash({ power: true });
    const again = await (await openStores(sim.mount(), { ...options, bootId: 'boot-2' })).open(DEPLOYMENT);
    expect(again.last.sequence).toBe(BLOCKS);
    for (let i = 0; i < BLOCKS; i++) {
      const { batch } = await again.read(block(2 * i), 1);
      expect(batch.payload, `block ${2 * i}`).toEqual(content(2 * i, 1));
    }
  });
});
