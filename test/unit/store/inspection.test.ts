import { expect, it } from 'vitest';
import { type DeploymentReport, inspect } from '../../../node-agent/store/inspection.js';
import { SimDisk } from '../../sim/sim-disk.js';
import {
  batchOf,
  data,
  epoch,
  instantClock,
  newDeployment,
  openStores,
  seeded,
  sequence,
  testChecksums,
} from './support.js';

/** A deployment with a checkpoint and some log behind it, whose process was killed. */
async function killed(): Promise<SimDisk> {
  const sim = new SimDisk({ random: seeded(5) });
  const settings = { segmentBytes: 8_000 };
  for (const first of [1, 21]) {
    const stores = await openStores(sim.mount(), { settings });
    const store = await stores.create(newDeployment);
    for (let i = first; i < first + 20; i++) {
      store.append({ epoch: epoch(1), firstSequence: sequence(i), batch: batchOf(data(i % 30, i, 1000)) });
    }
    await store.flush();
    if (first === 1) await stores.close();
  }
  sim.crash({ power: false });
  return sim;
}

async function look(sim: SimDisk, deep: boolean): Promise<DeploymentReport> {
  const options = { disk: sim.mount(), clock: instantClock, random: seeded(1), bootId: 'boot-1' };
  const reports: DeploymentReport[] = [];
  for await (const report of inspect({ ...options, checksums: testChecksums }, deep)) reports.push(report);
  expect(reports).toHaveLength(1);
  return reports[0]!;
}

const contentsOf = (sim: SimDisk) =>
  sim.files().map((path) => [path, Buffer.from(sim.contents(path)).toString('base64')]);

it('finds nothing wrong with a deployment whose process was killed, and changes nothing', async () => {
  const sim = await killed();
  const before = contentsOf(sim);
  for (const deep of [false, true]) {
    const { damages, contents, superblock } = await look(sim, deep);
    expect(damages).toEqual([]);
    expect(superblock).toMatchObject({ deployment: newDeployment.deployment, opening: 2 });
    expect(contents).toMatchObject({ blocks: 30, lastSequence: 40, floor: 1, replayedBatches: 20, cutBytes: 0 });
    const live = contents!.segments.reduce((count, { liveBlocks }) => count + liveBlocks, 0);
    expect(live).toBe(30);
  }
  expect(contentsOf(sim)).toEqual(before);
});

it('prints bad blocks and bad batches, of the part that opening does not read too', async () => {
  const sim = await killed();
  const segment = 'data/dev1/vol.1.1.blob';
  const bytes = Buffer.from(sim.contents(segment));
  sim.damage(segment, bytes.indexOf('block 14 version 14'), (byte) => byte ^ 1);
  sim.damage(segment, 3, (byte) => byte ^ 1);
  expect((await look(sim, false)).damages).toEqual([]);
  const { damages } = await look(sim, true);
  expect(damages.map(({ what }) => what)).toEqual(['no batch header', 'block 14 of order 1/14: bad checksum']);
});

it('says why a deployment does not open, and what is wrong with copies of the superblock', async () => {
  const sim = await killed();
  const checkpoints = sim.files().filter((path) => path.includes('checkpoint'));
  const what = 'chunk checksum';
  sim.damage(checkpoints[0]!, 100, (byte) => byte ^ 1);
  const once = await look(sim, true);
  expect(once).toMatchObject({ damages: [{ path: checkpoints[0], offset: 0, what }], contents: { blocks: 30 } });
  sim.damage(checkpoints[1]!, 100, (byte) => byte ^ 1);
  sim.damage('data/db1/1/super.2', 100, (byte) => byte ^ 1);
  const { damages, contents } = await look(sim, true);
  expect(contents).toBeUndefined();
  expect(damages).toEqual([
    { path: 'data/db1/1/super.2', offset: 0, what: 'superblock checksum' },
    { path: checkpoints[0], offset: 0, what },
  ]);
});

it('does not look at what an agent is using', async () => {
  const sim = new SimDisk({ random: seeded(5) });
  const disk = sim.mount();
  await openStores(disk);
  const options = { disk, clock: instantClock, random: seeded(1), bootId: 'boot-1', checksums: testChecksums };
  await expect(inspect(options, false).next()).rejects.toMatchObject({ code: 'locked' });
});
