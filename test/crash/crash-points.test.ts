/**
 * Cuts generated workloads after every operation of the disk, takes away what a crash may take, opens the
 * remains and compares with the model: everything flushed is there, what else is there is a whole number of
 * batches, nothing that was promised is forgotten, and the store goes on from there.
 *
 * More states than CI has time for: npm run crash -- --states 200000 --seed 7
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DeploymentStore, DiskError } from '../../core/ports.js';
import { withRoom } from '../../core/replication/room.js';
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
import { recorded } from './record.js';
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
  readonly reserveBytes: number;
  readonly batches: number;
  readonly written: number;
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
  const reserveBytes = capacityBytes === undefined ? 0 : 60_000;
  const random = seeded(seed + 1);
  const options = { random, settings: SETTINGS, indexCacheBytes: INDEX_CACHE_BYTES, reserveBytes };
  const stores = await openStores(disk, options);
  let store = await stores.create({ ...newDeployment, blocks: BLOCKS });
  sim.onOperation = () => {
    const { batches, written, flushed, promised, asked } = model;
    const snapshots = [...model.snapshots].map(([id, taken]) => [id, { ...taken }] as const);
    const disk = sim.clone(seeded(seed * 1_000_003 + cuts.length));
    cuts.push({ disk, reserveBytes, batches, written, flushed, promised, asked, snapshots });
  };
  let copiedBytes = 0;
  for (const step of steps) {
    if (step.kind === 'reopen') {
      await store.close();
      copiedBytes += store.cleaned.copiedBytes;
      model.written = model.flushed = model.batches;
      store = await stores.open(DEPLOYMENT);
    } else await runner.run(store, step);
  }
  await stores.close();
  return { cuts, versions: model.versions, copiedBytes: copiedBytes + store.cleaned.copiedBytes };
}

/** The process dies at the cut; with `power`, the machine does. Then either of them again while it opens. */
async function check(cut: Cut, versions: readonly Version[], power: boolean, seed: number): Promise<void> {
  const { disk, reserveBytes } = cut;
  disk.crash({ power });
  const random = seeded(seed);
  const common = { random, settings: SETTINGS, indexCacheBytes: INDEX_CACHE_BYTES, reserveBytes };
  const bootId = power ? 'boot-2' : 'boot-1';
  let operations = Math.floor(random.next() * 40);
  const interrupted = disk.clone(seeded(seed + 3));
  const opened = await openStores(disk.mount(), { ...common, bootId });
  const store = await opened.open(DEPLOYMENT);
  const seen = await observe(store);
  // An append that was being written when the process died may be in the log, whole.
  const model = { versions: versions.slice(0, cut.batches + 2) };
  const n = versionOf(model, seen, power ? cut.flushed : cut.written);
  expect(n, `state of ${cut.batches} batches, ${cut.flushed} flushed: ${JSON.stringify(seen)}`).toBeGreaterThanOrEqual(
    0,
  );
  expect(store.state.promised).toBeGreaterThanOrEqual(cut.promised);
  expect(store.state.promised).toBeLessThanOrEqual(cut.asked);
  await expectSnapshots(store, cut, model);
  if (power) expect(store.state.unclean || n === cut.batches || n === cut.batches + 1).toBe(true);
  const wentOn = await goOn(store, cut);
  disk.crash({ power: true });
  const stores = await openStores(disk.mount(), { ...common, bootId: 'boot-3' });
  const again = await stores.open(DEPLOYMENT);
  if (wentOn) expect((await lookUp(again, 0))?.order).toEqual(order(5000, store.last.sequence));
  await stores.close();
  await auditIndex(disk.mount());

  // Another crash during recovery changes nothing about what is recovered.
  const cutPower = power || random.next() < 0.5;
  interrupted.onOperation = () => {
    if (--operations === 0) interrupted.crash({ power: cutPower });
  };
  await Promise.race([
    openStores(interrupted.mount(), { ...common, bootId })
      .then((stores) => stores.open(DEPLOYMENT))
      .catch(() => {}),
    new Promise((resolve) => setImmediate(() => setImmediate(() => setImmediate(resolve)))),
  ]);
  interrupted.onOperation = () => {};
  interrupted.crash({ power: cutPower });
  const third = await (await openStores(interrupted.mount(), { ...common, bootId: 'boot-4' })).open(DEPLOYMENT);
  expect(versionOf(model, await observe(third), cutPower ? cut.flushed : cut.written)).toBeGreaterThanOrEqual(0);
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

/**
 * The store takes what comes: on a full disk a TRIM at least. Resolves to whether it did; it may refuse that, too, while
 * pages of the index that snapshots have take most of the reserve.
 */
async function goOn(store: DeploymentStore, { reserveBytes, disk }: Cut): Promise<boolean> {
  for (const entry of [
    { block: 0, data: content(0, 5000) },
    { block: 0, zero: 1 },
  ]) {
    try {
      const firstSequence = sequence(store.last.sequence + 1);
      const batch = batchOf(entry);
      await withRoom(store, batch, () => store.append({ epoch: epoch(5000), firstSequence, batch }));
      await store.flush();
      return true;
    } catch (error) {
      if (!(error instanceof DiskError && error.code === 'no-space')) throw error;
    }
  }
  const { freeBytes } = disk.mount().space('data');
  expect(freeBytes).toBeLessThan(reserveBytes / 4 + SETTINGS.segmentBytes);
  return false;
}

describe('crash points', () => {
  for (const [name, capacity] of [
    ['with room', undefined],
    ['on a disk that fills up', 260_000],
  ] as const) {
    const command = `npm run crash -- --kills 0 --states ${STATES} --seed ${SEED}`;
    const test = async (counts: Record<string, number>): Promise<void> => {
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
          counts.states = ++states;
          counts.workloads = workloads;
        }
      }
      expect(states).toBeGreaterThanOrEqual(STATES / 2);
      expect(snapshotsRead).toBeGreaterThan(STATES / 20);
      expect(removalsSeen).toBeGreaterThan(STATES / 100);
      expect(cleaned, `workloads of ${workloads} in which something was cleaned`).toBeGreaterThan(workloads / 8);
    };
    it(`${STATES / 2} states ${name}`, () => recorded('crash-points', command, test));
  }
});
