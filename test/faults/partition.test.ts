import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { waitFor } from '../../cluster/wait.js';
import { runFio, startFio } from '../setup/fio.js';
import { NamespaceNetwork } from '../setup/namespaces.js';
import { TestCluster } from '../setup/test-cluster.js';

let network: NamespaceNetwork | undefined;
let test: TestCluster | undefined;

beforeAll(async () => {
  network = await NamespaceNetwork.create(3);
  test = await TestCluster.start({ hosts: network });
});

afterAll(async () => {
  await test?.destroy();
  await network?.destroy();
});

/** Position of a node among the cluster's, from 1 on: its number in the network. */
function position(nodeId: string): number {
  return test!.cluster.nodes.findIndex(({ id }) => id === nodeId) + 1;
}

it('fio verifies every block it wrote while the primary was cut off from everybody', async () => {
  const volume = await test!.createVolume('cut-off', 1);
  const uri = await test!.attach(volume, test!.bystander(volume));
  await runFio({ uri, size: '32m', seed: 1 });

  const fio = startFio({ uri, size: '32m', seed: 2, rateIops: 400 });
  await sleep(4_000);
  const isolated = position(volume.master.nodeID);
  const cutAt = performance.now();
  await network!.cut(isolated);
  try {
    const promoted = await waitFor(
      'a promotion',
      async () => {
        const now = await test!.cluster.api.volume(volume.namespaceID, volume.id);
        return now.master.id !== volume.master.id && now.master.health === 'online' ? now : undefined;
      },
      { timeoutMs: 60_000, intervalMs: 250 },
    );
    expect(position(promoted.master.nodeID)).not.toBe(isolated);
    const seconds = (performance.now() - cutAt) / 1000;
    process.stderr.write(`  a primary that was cut off in silence was replaced after ${seconds.toFixed(1)} s\n`);
  } finally {
    await network!.heal(isolated);
  }
  await fio.done;

  await test!.untilReady(volume, 1);
  const report = await test!.verify(volume);
  expect(report).toMatchObject({ identical: true, differingBlocks: 0 });
  expect(report.deployments.length).toBeGreaterThanOrEqual(2);
});

it('fio verifies every block it wrote while primary and replica could not reach each other', async () => {
  const volume = await test!.createVolume('torn-apart', 1);
  const uri = await test!.attach(volume, test!.bystander(volume));
  await runFio({ uri, size: '32m', seed: 3 });

  const fio = startFio({ uri, size: '32m', seed: 4, rateIops: 400 });
  await sleep(4_000);
  const replica = position(volume.replicas![0]!.nodeID);
  await network!.cut(replica, [position(volume.master.nodeID)]);
  await sleep(6_000);
  await network!.heal(replica);
  await fio.done;

  await test!.untilReady(volume, 1);
  expect(await test!.verify(volume)).toMatchObject({ identical: true, differingBlocks: 0 });
});
