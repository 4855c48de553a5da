import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestCluster } from '../setup/test-cluster.js';

let test: TestCluster;

beforeAll(async () => {
  // All that a disk has, and more, is to stay free.
  test = await TestCluster.start({ settings: { CAPACITY_RESERVE_BYTES: String(2 ** 50) } });
});

afterAll(async () => {
  await test?.destroy();
});

it('a volume for which no node has room is refused with 507 and leaves nothing behind', async () => {
  const { api, dataDir } = test.cluster;
  const namespaceId = await api.namespaceId('default');
  const full = { name: 'full', sizeBytes: 2 ** 30, labels: { 'storageos.com/encryption': 'true' } };
  // Twice: the name is free again.
  for (let attempt = 1; attempt <= 2; attempt++) {
    await expect(api.createVolume(namespaceId, full)).rejects.toMatchObject({
      status: 507,
      message: expect.stringMatching(/1 needed, 0 found \(node\d has .* free/),
    });
  }
  expect(await api.volumes(namespaceId)).toEqual([]);
  const keys = join(dataDir.root, 'secrets', 'volumes');
  expect(existsSync(keys) ? readdirSync(keys) : []).toEqual([]);
});
