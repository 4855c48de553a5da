/** Snapshots are taken and removed in any order: what they hold is right, and what nobody holds is given back. */

import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { LocalDeploymentStore } from '../../../node-agent/store/deployment-store.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { auditIndex } from './audit.js';
import { block, content, DEPLOYMENT, data, newDeployment, openStores, seeded, writeTo } from './support.js';

const BLOCKS = 40;
const SETTINGS = { segmentBytes: 4_000, indexPageRows: 3, checkpointBytes: 1e9, reclaimBytes: 1e9, garbageBytes: 1e9 };

type Step =
  | { readonly kind: 'write'; readonly block: number; readonly blocks: number }
  | { readonly kind: 'trim'; readonly block: number; readonly blocks: number }
  | { readonly kind: 'take' }
  | { readonly kind: 'remove'; readonly which: number }
  | { readonly kind: 'remove two' };

const where = { block: fc.nat({ max: BLOCKS - 8 }), blocks: fc.integer({ min: 1, max: 8 }) };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('write' as const), ...where }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('trim' as const), ...where }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'take' as const }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), which: fc.nat({ max: 9 }) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'remove two' as const }) },
);

const idOf = (n: number): string => `00000000-0000-4000-8000-${n.toString().padStart(12, '0')}`;

async function contents(read: (blocks: number[]) => Promise<{ batch: { payload: Buffer } }>): Promise<string[]> {
  const texts: string[] = [];
  for (let b = 0; b < BLOCKS; b++) texts.push((await read([b])).batch.payload.toString());
  return texts;
}

const presentContents = (store: LocalDeploymentStore) => contents((blocks) => store.readBlocks(blocks.map(block)));
const snapshotContents = (store: LocalDeploymentStore, id: string) =>
  contents((blocks) => store.readSnapshot(id, blocks.map(block)));

it('each holds what it was taken of, whatever is removed beside it, and nothing is held by what is gone', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const sim = new SimDisk({ random: seeded(1) });
      let stores = await openStores(sim.mount(), { settings: SETTINGS });
      let store = await stores.create({ ...newDeployment, blocks: BLOCKS });
      const model: string[] = new Array(BLOCKS).fill('');
      const taken = new Map<string, string[]>();
      let version = 0;
      for (const one of steps) {
        if (one.kind === 'write') {
          version++;
          const numbers = Array.from({ length: one.blocks }, (_, i) => one.block + i);
          writeTo(store, ...numbers.map((number) => data(number, version, 100 + number)));
          for (const number of numbers) model[number] = content(number, version, 100 + number).toString();
        } else if (one.kind === 'trim') {
          writeTo(store, { block: one.block, zero: one.blocks });
          model.fill('', one.block, one.block + one.blocks);
        } else if (one.kind === 'take') {
          const id = idOf(++version);
          taken.set(id, [...model]);
          await store.snapshot(id);
        } else {
          const ids = store.snapshots.map(({ id }) => id);
          const going = one.kind === 'remove' ? [ids[one.which % ids.length]] : ids.slice(-2);
          await Promise.all(going.map((id) => id !== undefined && store.removeSnapshot(id)));
          for (const id of going) if (id !== undefined) taken.delete(id);
        }
      }
      for (const [id, wanted] of taken) expect(await snapshotContents(store, id)).toEqual(wanted);
      await stores.close();
      await auditIndex(sim.mount());
      // All that is only held goes with the last of them, and with a checkpoint behind it.
      stores = await openStores(sim.mount(), { settings: SETTINGS });
      store = await stores.open(DEPLOYMENT);
      expect(await presentContents(store)).toEqual(model);
      expect(store.snapshots.map(({ id }) => id)).toEqual([...taken.keys()]);
      await Promise.all(store.snapshots.map(({ id }) => store.removeSnapshot(id)));
      expect(await presentContents(store)).toEqual(model);
      writeTo(store, { block: 0, zero: 1 });
      await stores.close();
      const checkpoint = await auditIndex(sim.mount());
      for (const { heldBlocks } of checkpoint!.segments) expect(heldBlocks).toBe(0);
    }),
    { numRuns: 60 },
  );
}, 60_000);

it('space that only a snapshot takes is given back with it', async () => {
  const sim = new SimDisk({ random: seeded(1) });
  const stores = await openStores(sim.mount(), { settings: SETTINGS });
  const store = await stores.create({ ...newDeployment, blocks: BLOCKS });
  const all = (version: number) => Array.from({ length: BLOCKS }, (_, b) => data(b, version, 900));
  const texts = Array.from({ length: BLOCKS }, (_, b) => content(b, 2, 900).toString());
  for (const part of [all(1).slice(0, 20), all(1).slice(20)]) writeTo(store, ...part);
  await store.snapshot(idOf(1));
  const one = store.usedBytes;
  for (let version = 2; version < 6; version++) {
    for (const part of [all(version).slice(0, 20), all(version).slice(20)]) writeTo(store, ...part);
    await store.snapshot(idOf(version));
  }
  expect(store.usedBytes).toBeGreaterThan(4.5 * one);
  for (const version of [3, 1, 5]) await store.removeSnapshot(idOf(version));
  expect(await snapshotContents(store, idOf(2))).toEqual(texts);
  // Contents of 2 and 4, and the present ones, which were those of 5.
  expect(store.usedBytes).toBeLessThan(3.5 * one);
  for (const version of [2, 4]) await store.removeSnapshot(idOf(version));
  expect(store.usedBytes).toBeLessThan(1.5 * one);
  await stores.close();
});

it('a removal waits for who reads, and lets nobody begin', async () => {
  const sim = new SimDisk({ random: seeded(1) });
  const stores = await openStores(sim.mount(), { settings: SETTINGS });
  const store = await stores.create({ ...newDeployment, blocks: BLOCKS });
  writeTo(store, data(1, 1, 900));
  await store.snapshot(idOf(1));
  writeTo(store, data(1, 2, 900));
  const reading = store.readSnapshot(idOf(1), [block(1)]);
  const removed = store.removeSnapshot(idOf(1));
  await expect(store.readSnapshot(idOf(1), [block(1)])).rejects.toThrow(RangeError);
  await expect(store.removeSnapshot(idOf(1))).rejects.toThrow(RangeError);
  expect((await reading).batch.payload.toString()).toBe(content(1, 1, 900).toString());
  await removed;
  expect(store.snapshots).toEqual([]);
  await expect(store.removeSnapshot(idOf(7))).rejects.toThrow(RangeError);
  await store.snapshot(idOf(2));
  await expect(store.snapshot(idOf(2))).rejects.toThrow(RangeError);
  await stores.close();
});

it('no number of a checkpoint comes twice, though a crash has left one half written', async () => {
  const sim = new SimDisk({ random: seeded(1) });
  const numbers = new Set<string>();
  for (let opening = 0; opening < 5; opening++) {
    const stores = await openStores(sim.mount(), { settings: SETTINGS, bootId: `boot-${opening}` });
    const store = await stores.create({ ...newDeployment, blocks: BLOCKS });
    writeTo(store, data(opening, opening));
    const ended = new Promise<void>((resolve) => {
      let operations = 0;
      sim.onOperation = () => {
        // In the middle of the checkpoint that the snapshot causes: its file is there, no superblock names it.
        for (const name of sim.files().filter((one) => one.includes('/checkpoint.'))) {
          if (numbers.has(name) || ++operations < 2) continue;
          numbers.add(name);
          sim.onOperation = () => {};
          sim.crash({ power: false });
          resolve();
          return;
        }
      };
    });
    store.snapshot(idOf(opening)).catch(() => {});
    await ended;
  }
  expect(numbers.size).toBe(5);
});
