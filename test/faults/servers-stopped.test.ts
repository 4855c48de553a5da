import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ApiVolume } from '../../client/types.js';
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

it.each(['etcd', 'temporal'] as const)(
  '%s is stopped and started again: I/O goes on, nothing is half-made',
  async (server) => {
    const { api, servers } = test.cluster;
    const namespaceId = await api.namespaceId('default');
    const another = { name: `after-${server}`, sizeBytes: 2 ** 30 };
    await servers.stop(server);
    expect(servers.pid(server)).toBeUndefined();
    await runFio({ uri, size: '4m', seed: 1 });
    await expect(api.createVolume(namespaceId, another)).rejects.toMatchObject({ status: 503 });
    expect((await api.volumes(namespaceId)).map(({ name }) => name)).not.toContain(another.name);
    await expect(servers.stop(server)).rejects.toMatchObject({ kind: 'server' });

    await servers.start(server);
    await test.untilReady(volume, 1);
    // While the server begins, an answer may come too late for who asked; what was asked for goes on.
    const made = async (): Promise<unknown> =>
      (await api.volumes(namespaceId)).find(({ name }) => name === another.name) ??
      api.createVolume(namespaceId, another);
    await expect.poll(made, { timeout: 30_000, interval: 500 }).toBeDefined();
    expect((await test.verify(volume)).identical).toBe(true);
  },
);
