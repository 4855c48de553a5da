/**
 * Cuts generated workloads after every operation of the disk, takes away what a crash may take, opens the
 * remains and compares with the model: everything flushed is there, what else is there is a whole number of
 * batches, nothing that was promised is forgotten, and the store goes on from there.
 *
 * More states than CI has time for: npm run crash -- --states 200000 --seed 7
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DeploymentStore } from '../../core/ports.js';
import type { LocalDeploymentStore } from '../../node-agent/store/deployment-store.js';
import { SimDisk } from '../sim/sim-disk.js';
import { auditIndex } from '../unit/store/audit.js';
import {
  batchOf,
  content,
  DEPLOYMENT,
  epoch,
  lookUp,
  newDeployment,
  openStores,
  order,
  seeded,
  sequence,
} from '../unit/store/support.js';
import {
  BLOCKS,
  type Model,
  observe,
  observeSnapshot,
  Runner,
  type Step,
  type TakenSnapshot,
  type Version,
  versionOf,
  workload,
} from './workload.js';

const STATES = Number(process.env.CRASH_STATES ?? 10_000);
const SEED = Number(process.env.CRASH_SEED ?? 1);
/** Small, so that segments roll, checkpoints run and space is reclaimed within a few dozen steps. */
const SETTINGS = {
  segmentBytes: 12_000,
  checkpointBytes: 60_000,
  checkpointEntries: 40,
  /** So that the index has several levels. */
  indexPageRows: 3,
  reclaimBytes: 20_000,
  maxUnsyncedBytes: 30_000,
  writeOutBytes: 5_000,
  garbageFraction: 0.05,
  garbageBytes: 3_000,
  cleanBytesPerSecond: Number.POSITIVE_INFINITY,
};

/** Less than the index: pages are read again and again. */
const INDEX_CACHE_BYTES = 40_000;

let snapshotsRead = 0;
let removalsSeen = 0;

interface Cut {
  readonly disk: SimDisk;
  readonly batches: number;
  readonly flushed: number;
  readonly promised: number;
  readonly asked: number;
  readonly snapshots: readonly (readonly [string, Readonly<TakenSnapshot>])[];
}

/** Runs the workload and keeps a copy of the disk and of what was promised before every operation. */
async function record(
  steps: readonly Step[],
  seed: number,
  capacityBytes: number | undefined,
): Promise<{ cuts: Cut[]; versions: Version[]; copiedBytes: number }> {
  const sim = new SimDisk({ random: seeded(seed), ...(capacityBytes === undefined ? {} : { capacityBytes }) });
  const disk = sim.mount();
  const runner = new Runner();
  const { model } = runner;
  const cuts: Cut[] = [];
  const options = {
    random: seeded(seed + 1),
    settings: SETTINGS,
    indexCacheBytes: INDEX_CACHE_BYTES,
    reserveBytes: capacityBytes === undefined ? 0 : 60_000,
  };
  const stores = await openStores(disk, options);
  let store = await stores.create({ ...newDeployment, blocks: BLOCKS });
  sim.onOperation = () => {
    const { batches, flushed, promised, asked } = model;
    const snapshots = [...model.snapshots].map(([id, taken]) => [id, { ...taken }] as const);
    const disk = sim.clone(seeded(seed * 1_000_003 + cuts.length));
    cuts.push({ disk, batches, flushed, promised, asked, snapshots });
  };
  let copiedBytes = 0;
  for (const step of steps) {
    if (step.kind === 'reopen') {
      await store.close();
      copiedBytes += store.cleaned.copiedBytes;
      model.flushed = model.batches;
      store = await stores.open(DEPLOYMENT);
    } else await runner.run(store, step);
  }
  await stores.close();
  return { cuts, versions: model.versions, copiedBytes: copiedBytes + store.cleaned.copiedBytes };
}

/** The process dies at the cut; with `power`, the machine does. Then either of them again while it opens. */
async function check(cut: Cut, versions: readonly Version[], power: boolean, seed: number): Promise<void> {
  const { disk } = cut;
  disk.crash({ power });
  const random = seeded(seed);
  const bootId = power ? 'boot-2' : 'boot-1';
  let operations = Math.floor(random.next() * 40);
  const interrupted = disk.clone(seeded(seed + 3));
  const opened = await openStores(disk.mount(), {
    random,
    bootId,
    settings: SETTINGS,
    indexCacheBytes: INDEX_CACHE_BYTES,
  });
  const store = await opened.open(DEPLOYMENT);
  const seen = await observe(store);
  // An append that was being written when the process died may be in the log, whole.
  const model = { versions: versions.slice(0, cut.batches + 2) };
  const n = versionOf(model, seen, power ? cut.flushed : cut.batches);
  expect(n, `state of ${cut.batches} batches, ${cut.flushed} flushed: ${JSON.stringify(seen)}`).toBeGreaterThanOrEqual(
    0,
  );
  expect(store.state.promised).toBeGreaterThanOrEqual(cut.promised);
  expect(store.state.promised).toBeLessThanOrEqual(cut.asked);
  await expectSnapshots(store, cut, model);
  if (power) expect(store.state.unclean || n === cut.batches || n === cut.batches + 1).toBe(true);
  await goOn(store);
  disk.crash({ power: true });
  const stores = await openStores(disk.mount(), { random, bootId: 'boot-3', settings: SETTINGS });
  const again = await stores.open(DEPLOYMENT);
  expect((await lookUp(again, 0))?.order).toEqual(order(5000, store.last.sequence));
  await stores.close();
  await auditIndex(disk.mount());

  // Another crash during recovery changes nothing about what is recovered.
  const cutPower = power || random.next() < 0.5;
  interrupted.onOperation = () => {
    if (--operations === 0) interrupted.crash({ power: cutPower });
  };
  await Promise.race([
    openStores(interrupted.mount(), { random, bootId, settings: SETTINGS })
      .then((stores) => stores.open(DEPLOYMENT))
      .catch(() => {}),
    new Promise((resolve) => setImmediate(() => setImmediate(() => setImmediate(resolve)))),
  ]);
  interrupted.onOperation = () => {};
  interrupted.crash({ power: cutPower });
  const third = await (await openStores(interrupted.mount(), { random, bootId: 'boot-4', settings: SETTINGS })).open(
    DEPLOYMENT,
  );
  expect(versionOf(model, await observe(third), cutPower ? cut.flushed : cut.batches)).toBeGreaterThanOrEqual(0);
}

/**
 * Those that are known to be durable are there, those that are known to have gone are not, and every one holds what
 * was there when it was taken.
 */
async function expectSnapshots(
  store: LocalDeploymentStore,
  { snapshots }: Cut,
  model: Pick<Model, 'versions'>,
): Promise<void> {
  const present = new Map(store.snapshots.map((snapshot) => [snapshot.id, snapshot]));
  for (const [id, { least, durable, leaving, gone }] of snapshots) {
    const snapshot = present.get(id);
    if (durable && !leaving) expect(snapshot, `snapshot ${id}`).toBeDefined();
    if (gone) expect(snapshot, `removed snapshot ${id}`).toBeUndefined();
    if (gone) removalsSeen++;
    if (snapshot === undefined) continue;
    const seen = await observeSnapshot(store, snapshot);
    expect(versionOf(model, seen, least), `snapshot of ${least}: ${JSON.stringify(seen)}`).toBeGreaterThanOrEqual(0);
    snapshotsRead++;
  }
}

async function goOn(store: DeploymentStore): Promise<void> {
  const next = sequence(store.last.sequence + 1);
  store.append({ epoch: epoch(5000), firstSequence: next, batch: batchOf({ block: 0, data: content(0, 5000) }) });
  await store.flush();
}

describe('crash points', () => {
  for (const [name, capacity] of [
    ['with room', undefined],
    ['on a disk that fills up', 260_000],
  ] as const) {
    it(`${STATES / 2} states ${name}`, async () => {
      let states = 0;
      let cleaned = 0;
      let workloads = 0;
      for (let seed = SEED; states < STATES / 2; seed++) {
        const [steps] = fc.sample(workload, { numRuns: 1, seed });
        const { cuts, versions, copiedBytes } = await record(steps!, seed, capacity);
        workloads++;
        if (copiedBytes > 0) cleaned++;
        for (const [i, cut] of cuts.entries()) {
          if (states >= STATES / 2) break;
          try {
            await check(cut, versions, (i + seed) % 4 !== 0, seed * 31 + i);
          } catch (error) {
            throw new Error(`CRASH_SEED=${seed}, cut ${i} of ${cuts.length}`, { cause: error });
          }
          states++;
        }
      }
      expect(states).toBeGreaterThanOrEqual(STATES / 2);
      expect(snapshotsRead).toBeGreaterThan(STATES / 20);
      expect(removalsSeen).toBeGreaterThan(STATES / 20);
      expect(cleaned, `workloads of ${workloads} in which something was cleaned`).toBeGreaterThan(workloads / 4);
    });
  }
});
