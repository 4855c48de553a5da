import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { waitFor } from '../../cluster/wait.js';
import { runFio, startFio } from '../setup/fio.js';
import { TestCluster } from '../setup/test-cluster.js';

let test: TestCluster;

beforeAll(async () => {
  test = await TestCluster.start();
});

afterAll(async () => {
  await test?.destroy();
});

it('fio verifies every block it wrote while the primary was killed', async () => {
  const volume = await test.createVolume('killed', 1);
  const uri = await test.attach(volume, test.bystander(volume));
  await runFio({ uri, size: '32m', seed: 1 });

  // Rewrites every block, for about 20 s; a block that kept what it held before would not verify.
  const fio = startFio({ uri, size: '32m', seed: 2, rateIops: 400 });
  await sleep(4_000);
  const victim = test.nodeOf(volume.master.nodeID);
  await test.cluster.killNode(victim.name);
  await fio.done;

  const after = await test.untilReady(volume, 1);
  expect(after.master.nodeID).not.toBe(victim.id);
  const report = await test.verify(volume);
  expect(report).toMatchObject({ identical: true, differingBlocks: 0 });
  expect(report.deployments).toHaveLength(2);
  expect(report.deployments[0]!.blocks).toBeGreaterThanOrEqual(32 * 256);

  // Its copy is surplus now: the node comes back, and has one volume less.
  await test.cluster.startNode(victim.name);
  const settled = await waitFor(
    'the surplus copy to go',
    async () => {
      const now = await test.cluster.api.volume(volume.namespaceID, volume.id);
      return (now.replicas ?? []).length === 1 && now.replicas![0]!.health === 'ready' ? now : undefined;
    },
    { timeoutMs: 60_000, intervalMs: 500 },
  );
  expect(settled.replicas![0]!.nodeID).not.toBe(victim.id);
  expect(await test.verify(volume)).toMatchObject({ identical: true });
});
