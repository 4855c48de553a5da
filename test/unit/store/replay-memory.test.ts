/** Openings with a long log behind the checkpoint take no more memory for their indexes than the node has for them. */

import { expect, it } from 'vitest';
import type { DeploymentId, VolumeId } from '../../../core/types.js';
import { MIN_SPILL_BYTES } from '../../../node-agent/store/index-spill.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { auditIndex } from './audit.js';
import {
  block,
  content,
  DEPLOYMENT,
  data,
  newDeployment,
  openStores,
  seeded,
  testChecksums,
  VOLUME,
  writeTo,
} from './support.js';

const DEPLOYMENTS = 6;
const BATCHES = 90;
const BATCH_BLOCKS = 200;
const INDEX_BYTES = 1024 * 1024;
/** What the entries of a batch take at the most before anybody looks. */
const BATCH_BYTES = 64 * 1024;
/** No checkpoint is made while there is memory. */
const SETTINGS = { checkpointEntries: 1e9, checkpointBytes: 1e12 };

const idOf = (kind: number, i: number): string => `${kind}0000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
const deploymentOf = (i: number): DeploymentId => idOf(2, i) as DeploymentId;
/** Far apart, so that the memtable has an extent for each. */
const blockOf = (batch: number, i: number): number => ((batch * 7919 + i * 104_729) % 100_000) * 2;

it(`${DEPLOYMENTS} at once`, { timeout: 120_000 }, async () => {
  const sim = new SimDisk({ random: seeded(1) });
  const open = (indexCacheBytes: number) =>
    openStores(sim.mount(), { settings: SETTINGS, indexCacheBytes, checksums: () => testChecksums(VOLUME) });
  const plenty = await open(256 * 1024 * 1024);
  for (let i = 0; i < DEPLOYMENTS; i++) {
    const volume = idOf(1, i) as VolumeId;
    const store = await plenty.create({ ...newDeployment, volume, deployment: deploymentOf(i) });
    for (let batch = 0; batch < BATCHES; batch++) {
      writeTo(store, ...Array.from({ length: BATCH_BLOCKS }, (_, n) => data(blockOf(batch, n), batch, 20)));
    }
    await store.flush();
  }
  expect(plenty.indexMemory.memtableBytes).toBeGreaterThan(3 * INDEX_BYTES);
  sim.crash({ power: false });

  const stores = await open(INDEX_BYTES);
  let most = 0;
  let opening = true;
  const watch = (): void => {
    most = Math.max(most, stores.indexMemory.memtableBytes);
    if (opening) setImmediate(watch);
  };
  watch();
  const opened = await Promise.all(Array.from({ length: DEPLOYMENTS }, (_, i) => stores.open(deploymentOf(i))));
  opening = false;
  expect(most).toBeGreaterThan(INDEX_BYTES / 4);
  expect(most).toBeLessThan(INDEX_BYTES / 2 + DEPLOYMENTS * (MIN_SPILL_BYTES + BATCH_BYTES));
  for (const store of opened) {
    for (let n = 0; n < BATCH_BLOCKS; n++) {
      const { batch } = await store.readBlocks([block(blockOf(BATCHES - 1, n))]);
      expect(batch.payload).toEqual(content(blockOf(BATCHES - 1, n), BATCHES - 1, 20));
    }
  }
  await stores.close();
  for (let i = 1; i <= DEPLOYMENTS; i++) await auditIndex(sim.mount(), `data/db1/${i}`);
});

it('a crash in the middle of it changes nothing', { timeout: 120_000 }, async () => {
  const sim = new SimDisk({ random: seeded(1) });
  const plenty = await openStores(sim.mount(), { settings: SETTINGS });
  const store = await plenty.create({ ...newDeployment });
  for (let batch = 0; batch < BATCHES; batch++) {
    writeTo(store, ...Array.from({ length: BATCH_BLOCKS }, (_, n) => data(blockOf(batch, n), batch, 20)));
  }
  await store.flush();
  sim.crash({ power: false });
  const small = { settings: SETTINGS, indexCacheBytes: INDEX_BYTES / 4 };
  let operations = 0;
  const count = sim.clone(seeded(1));
  count.onOperation = () => operations++;
  await (await openStores(count.mount(), small)).open(newDeployment.deployment);
  expect(operations).toBeGreaterThan(20);
  for (let cut = 3; cut < operations; cut += Math.ceil(operations / 12)) {
    const disk = sim.clone(seeded(cut));
    let left = cut;
    const crashed = new Promise<void>((resolve) => {
      disk.onOperation = () => {
        if (--left > 0) return;
        disk.onOperation = () => {};
        disk.crash({ power: cut % 2 === 0 });
        resolve();
      };
    });
    const opening = openStores(disk.mount(), small).then((stores) => stores.open(newDeployment.deployment));
    await Promise.race([opening.catch(() => {}), crashed]);
    const stores = await openStores(disk.mount(), { ...small, bootId: 'boot-2' });
    const again = await stores.open(newDeployment.deployment);
    expect(again.last.sequence).toBe(BATCHES * BATCH_BLOCKS);
    const { batch } = await again.readBlocks([block(blockOf(BATCHES - 1, 7))]);
    expect(batch.payload).toEqual(content(blockOf(BATCHES - 1, 7), BATCHES - 1, 20));
    await stores.close();
    await auditIndex(disk.mount());
  }
});

it('pages that are ahead of the log that is read again stay as they are until it has come as far', {
  timeout: 120_000,
}, async () => {
  // Of a disk that is nearly full, which makes a checkpoint in pieces; the log is kept until the last one.
  const sim = new SimDisk({ random: seeded(1), capacityBytes: 1e9 });
  const settings = { ...SETTINGS, segmentBytes: 64 * 1024 };
  const options = { settings, reserveBytes: 6e8 };
  const store = await (await openStores(sim.mount(), options)).create({ ...newDeployment });
  const rounds = 30;
  for (let batch = 0; batch < BATCHES; batch++) {
    writeTo(store, ...Array.from({ length: BATCH_BLOCKS }, (_, n) => data(blockOf(batch % rounds, n), batch, 20)));
  }
  await store.flush();
  const crashed = new Promise<void>((resolve) => {
    sim.onOperation = (operation, path) => {
      // The second piece is the durable one.
      if (operation !== 'unlink' || !path.includes('checkpoint.')) return;
      sim.onOperation = () => {};
      sim.crash({ power: false });
      resolve();
    };
  });
  store.snapshot(DEPLOYMENT).catch(() => {});
  await crashed;

  const stores = await openStores(sim.mount(), { ...options, indexCacheBytes: INDEX_BYTES / 4 });
  const again = await stores.open(DEPLOYMENT);
  for (let n = 0; n < BATCH_BLOCKS; n++) {
    const { batch } = await again.readBlocks([block(blockOf(7, n))]);
    expect(batch.payload).toEqual(content(blockOf(7, n), 7 + BATCHES - rounds, 20));
  }
  await stores.close();
  await auditIndex(sim.mount());
});
