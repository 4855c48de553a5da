import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ApiVolume } from '../../client/types.js';
import { identifyProcess } from '../../cluster/process-identity.js';
import { runFio } from '../setup/fio.js';
import { TestCluster } from '../setup/test-cluster.js';

let test: TestCluster;
let volume: ApiVolume;
let uri: string;

beforeAll(async () => {
  test = await TestCluster.start();
  volume = await test.createVolume('steady', 1);
  uri = await test.attach(volume, test.bystander(volume));
});

afterAll(async () => {
  await test?.destroy();
});

/** While a server is stopped (SIGSTOP: it keeps its connections and answers nothing). */
async function whileFrozen(pid: number | undefined, work: () => Promise<void>): Promise<void> {
  if (pid === undefined || identifyProcess(pid) === undefined) throw new Error('the server is not running');
  process.kill(pid, 'SIGSTOP');
  try {
    await work();
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

const anotherVolume = { name: 'another', sizeBytes: 2 ** 30 };

it('with etcd away, I/O goes on and writes to the API answer 503', async () => {
  const namespaceId = await test.cluster.api.namespaceId('default');
  await whileFrozen(test.cluster.facts.etcd.pid, async () => {
    await runFio({ uri, size: '8m', seed: 1 });
    await expect(test.cluster.api.createVolume(namespaceId, anotherVolume)).rejects.toMatchObject({ status: 503 });
    await expect(test.cluster.api.setReplicas(volume, 2)).rejects.toMatchObject({ status: 503 });
  });
  await test.untilReady(volume, 1);
  expect((await test.cluster.api.volumes(namespaceId)).map(({ name }) => name)).toEqual(['steady']);
  await runFio({ uri, size: '8m', seed: 2 });
});

it('with Temporal away, I/O goes on and a volume that can not be provisioned leaves nothing behind', async () => {
  const namespaceId = await test.cluster.api.namespaceId('default');
  await whileFrozen(test.cluster.facts.temporal.pid, async () => {
    await runFio({ uri, size: '8m', seed: 3 });
    await expect(test.cluster.api.createVolume(namespaceId, anotherVolume)).rejects.toMatchObject({ status: 503 });
  });
  expect((await test.cluster.api.volumes(namespaceId)).map(({ name }) => name)).toEqual(['steady']);
  const created = await test.cluster.api.createVolume(namespaceId, anotherVolume);
  expect(created.name).toBe('another');
});
