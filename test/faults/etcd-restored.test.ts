import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
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

it('etcd comes back as it was before a change of membership: nothing is decided by it until the volume is recovered', async () => {
  const { api, servers, dataDir } = test.cluster;
  const data = join(dataDir.etcdDir, 'data');
  const snapshot = join(dataDir.etcdDir, 'snapshot');
  const volume = await test.createVolume('restored', 1);
  const uri = await test.attach(volume, test.bystander(volume));
  await runFio({ uri, size: '16m', seed: 1 });
  expect(await api.surveyRecovery(volume)).toMatchObject({ reasons: [], risks: [], recovered: false });

  await servers.stop('etcd');
  cpSync(data, snapshot, { recursive: true });
  await servers.start('etcd');

  // The snapshot knows nothing of what follows: a copy is lost, and another one takes its place.
  const lost = test.nodeOf(volume.replicas![0]!.nodeID);
  const fio = startFio({ uri, size: '16m', seed: 2, rateIops: 100 });
  await test.cluster.killNode(lost.name);
  await waitFor(
    'another copy to be in sync',
    async () => {
      const { replicas } = await api.volume(volume.namespaceID, volume.id);
      return (replicas ?? []).some(({ health, nodeID }) => health === 'ready' && nodeID !== lost.id) ? true : undefined;
    },
    { timeoutMs: 120_000, intervalMs: 250 },
  );

  await servers.stop('etcd');
  rmSync(data, { recursive: true });
  cpSync(snapshot, data, { recursive: true });
  await servers.start('etcd');
  const behind = await waitFor(
    'the copies to be found ahead of etcd',
    async () => {
      const found = await api.surveyRecovery(volume).catch(() => undefined);
      return found !== undefined && found.reasons.length > 0 ? found : undefined;
    },
    { timeoutMs: 30_000, intervalMs: 250 },
  );
  expect(behind.reasons).toEqual(['epoch-behind']);
  // Its node is away, and with it what may be the newest copy.
  expect(behind.risks.join()).toContain(lost.id);
  await expect(api.recover(volume, false)).rejects.toMatchObject({ status: 422 });

  await test.cluster.startNode(lost.name);
  await waitFor(
    'all copies to answer',
    async () => {
      const { risks } = await api.surveyRecovery(volume).catch(() => ({ risks: ['etcd does not answer'] }));
      return risks.length === 0 ? true : undefined;
    },
    { timeoutMs: 60_000, intervalMs: 250 },
  );
  const recovered = await api.recover(volume, false);
  expect(recovered).toMatchObject({ recovered: true, risks: [] });
  // The copy that missed the change is not taken for one that is in sync.
  expect(recovered.inSync).toHaveLength(2);

  // Verifies every block that was written before, between and behind the restore.
  await fio.done;
  await test.untilReady(volume, 1);
  expect(await api.surveyRecovery(volume)).toMatchObject({ reasons: [] });
  expect(await test.verify(volume)).toMatchObject({ identical: true, differingBlocks: 0 });
});
