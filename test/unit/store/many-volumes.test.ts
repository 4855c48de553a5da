import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { DeploymentId, VolumeId } from '../../../core/types.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import { openFileDisk } from '../../../node-agent/store/index.js';
import { batchOf, block, content, data, epoch, newDeployment, openStores, sequence, testChecksums } from './support.js';

/** The most that StorageOS attaches to a node. */
const DEPLOYMENTS = 250;
const OPEN_FILES = 64;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'store-many-'));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

/** Thousands of files are made, synced and opened: on a busy machine that takes longer than a test usually may. */
const TIMEOUT_MS = 120_000;

const idOf = (kind: number, i: number) => `${kind}0000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
const deploymentOf = (i: number) => idOf(2, i) as DeploymentId;

const open = () =>
  openStores(openFileDisk(root), {
    clock: systemClock,
    random: systemRandom,
    // Checksums in the tests are bound to one volume's id.
    checksums: () => testChecksums(newDeployment.volume),
    openFiles: OPEN_FILES,
  });

const descriptors = () => readdirSync('/proc/self/fd').length;

it(
  '250 deployments are open at a time, with a bounded number of files, and each has what it had',
  async () => {
    const before = descriptors();
    let stores = await open();
    for (let i = 0; i < DEPLOYMENTS; i++) {
      const volume = idOf(1, i) as VolumeId;
      const store = await stores.create({ ...newDeployment, volume, deployment: deploymentOf(i) });
      store.append({ epoch: epoch(1), firstSequence: sequence(1), batch: batchOf(data(i, 1), data(i + 1, 2)) });
    }
    await Promise.all([...Array(DEPLOYMENTS).keys()].map(async (i) => (await stores.open(deploymentOf(i))).flush()));
    await stores.close();
    expect(descriptors()).toBeLessThanOrEqual(before + 8);

    stores = await open();
    expect(stores.deployments()).toHaveLength(DEPLOYMENTS);
    const opened = await Promise.all([...Array(DEPLOYMENTS).keys()].map((i) => stores.open(deploymentOf(i))));
    expect(stores.statistics()).toHaveLength(DEPLOYMENTS);
    for (const [i, store] of opened.entries()) {
      const { batch } = await store.read(block(i), 2);
      expect(batch.payload.equals(Buffer.concat([content(i, 1), content(i + 1, 2)]))).toBe(true);
    }
    // One for the segment that each goes on writing to, beside those that the pool keeps; other threads close the rest.
    await expect.poll(descriptors, { timeout: 10_000 }).toBeLessThanOrEqual(before + DEPLOYMENTS + OPEN_FILES + 16);
    await stores.close();
  },
  TIMEOUT_MS,
);
