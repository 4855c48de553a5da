import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ApiError } from '../../client/errors.js';
import type { ApiVolume } from '../../client/types.js';
import { volumeKeyDir } from '../../cluster/identities.js';
import { waitFor } from '../../cluster/wait.js';
import { runFio } from '../setup/fio.js';
import { TestCluster } from '../setup/test-cluster.js';

let test: TestCluster;

beforeAll(async () => {
  test = await TestCluster.start();
});

afterAll(async () => {
  await test?.destroy();
});

/** Stops etcd, puts other data in the place of its own, or none, and starts it again. */
async function replaceEtcd(data: string, by: string | undefined): Promise<void> {
  const { servers } = test.cluster;
  await servers.stop('etcd');
  rmSync(data, { recursive: true });
  if (by !== undefined) cpSync(by, data, { recursive: true });
  await servers.start('etcd');
}

/** As soon as etcd is read again, and both nodes with a copy have heard: the volumes that it has lost. */
function lostVolumes(count: number) {
  return waitFor(
    `${count} lost volumes to be found`,
    async () => {
      try {
        const { volumes, silent } = await test.cluster.api.lostVolumes();
        const heard = silent.length === 0 && volumes.every(({ copies }) => copies.length === 2);
        return volumes.length === count && heard ? volumes : undefined;
      } catch (error) {
        if (error instanceof ApiError) return undefined;
        throw error;
      }
    },
    { timeoutMs: 60_000, intervalMs: 250 },
  );
}

async function readsBack(volume: ApiVolume, seed: number): Promise<void> {
  const ready = await test.untilReady(volume, 1);
  const uri = await test.attach(ready, test.bystander(ready));
  await runFio({ uri, size: '16m', seed, mode: 'verify' });
  expect(await test.verify(ready)).toMatchObject({ identical: true, differingBlocks: 0 });
}

it('etcd comes back without a volume, at last without anything: copies stay, and the volume comes back as it was', async () => {
  const { api, servers, dataDir, nodes } = test.cluster;
  const data = join(dataDir.etcdDir, 'data');
  const snapshot = join(dataDir.etcdDir, 'snapshot');
  await servers.stop('etcd');
  cpSync(data, snapshot, { recursive: true });
  await servers.start('etcd');

  // The snapshot knows nothing of what follows.
  const volume = await test.createVolume('orders', 1, { 'storageos.com/failure-mode': 'soft' });
  const uri = await test.attach(volume, test.bystander(volume));
  await runFio({ uri, size: '16m', seed: 1, mode: 'write' });
  await api.detach(volume);
  expect((await api.lostVolumes()).volumes).toEqual([]);

  await replaceEtcd(data, snapshot);
  const places = [volume.master, ...(volume.replicas ?? [])].map(({ id, nodeID }) => ({
    deployment: id,
    node: nodeID,
  }));
  const [lost] = await lostVolumes(1);
  expect(lost).toMatchObject({ id: volume.id, name: 'orders', namespaceName: 'default', sizeBytes: 2 ** 30 });
  expect(lost?.copies).toEqual(expect.arrayContaining(places));

  // Somebody makes one of the same name; the agents forget what they had in memory.
  const namesake = await test.createVolume('orders', 0);
  for (const { name } of nodes) {
    await test.cluster.killNode(name);
    await test.cluster.startNode(name);
  }
  await lostVolumes(1);
  await expect(api.recoverLostVolume(volume.id, true)).rejects.toMatchObject({ status: 422 });
  const key = join(volumeKeyDir(dataDir), `${volume.id}.key`);
  cpSync(key, join(dataDir.root, 'kept.key'));
  rmSync(key);
  const named = { name: 'orders-of-before' };
  await expect(api.recoverLostVolume(volume.id, true, named)).rejects.toMatchObject({
    status: 422,
    message: expect.stringContaining('key store'),
  });
  cpSync(join(dataDir.root, 'kept.key'), key);

  const recovered = await api.recoverLostVolume(volume.id, false, named);
  expect(recovered).toMatchObject({ recovered: true, risks: [], obstacles: [], ...named });
  expect(recovered.inSync).toHaveLength(2);
  const back = await api.volume(volume.namespaceID, volume.id);
  expect(back).toMatchObject({ ...named, labels: volume.labels, sizeBytes: volume.sizeBytes, attachedOn: '' });
  await readsBack(back, 1);
  await api.detach(back);
  await api.deleteVolume(namesake);

  // Nothing at all is left: another etcd, as after the loss of its disks.
  await replaceEtcd(data, undefined);
  for (const { name } of nodes) {
    await test.cluster.killNode(name);
    await test.cluster.startNode(name);
  }
  await lostVolumes(1);
  const again = await api.recoverLostVolume(volume.id, false);
  expect(again).toMatchObject({ recovered: true, reasons: expect.arrayContaining(['no-record']), ...named });
  const [anew] = await api.volumes(await api.namespaceId('default'));
  expect(anew).toMatchObject({ id: volume.id, ...named });
  await readsBack(anew!, 1);
});
