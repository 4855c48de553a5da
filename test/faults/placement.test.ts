/** Where a volume's copies are, moved by the API on a real cluster while the volume is in use. */

import { afterAll, beforeAll, expect, it } from 'vitest';
import { volumePath } from '../../client/api.js';
import type { ApiVolume } from '../../client/types.js';
import { waitFor } from '../../cluster/wait.js';
import { runFio } from '../setup/fio.js';
import { TestCluster } from '../setup/test-cluster.js';

const TIMEOUT_MS = 60_000;

let test: TestCluster;
let volume: ApiVolume;
let uri: string;

beforeAll(async () => {
  test = await TestCluster.start();
  volume = await test.createVolume('moving', 1);
  uri = await test.attach(volume, test.nodeOf(volume.master.nodeID));
});

afterAll(async () => {
  await test?.destroy();
});

async function change(rest: string, body?: object, method = 'PUT'): Promise<number> {
  const options = { query: { 'ignore-version': 'true' }, ...(body !== undefined && { body }) };
  return (await test.cluster.api.request(method, volumePath(volume, rest), options)).status;
}

/** The volume when its replicas, all ready, are as they should be. */
function until(what: string, wanted: (replicas: NonNullable<ApiVolume['replicas']>) => boolean): Promise<ApiVolume> {
  return waitFor(
    what,
    async () => {
      const now = await test.cluster.api.volume(volume.namespaceID, volume.id);
      const replicas = now.replicas ?? [];
      return replicas.every(({ health }) => health === 'ready') && wanted(replicas) ? now : undefined;
    },
    { timeoutMs: TIMEOUT_MS, intervalMs: 250 },
  );
}

it('a copy is made where it was asked for, one named for it goes, and an evicted one is replaced', async () => {
  await runFio({ uri, size: '16m', seed: 1 });
  const [first] = volume.replicas ?? [];
  const bystander = test.bystander(volume);

  expect(await change('/add-deployment-on-node', { nodeID: bystander.id })).toBe(200);
  const three = await until('a third copy', (replicas) => replicas.length === 2);
  expect(three.replicas?.map(({ nodeID }) => nodeID)).toContain(bystander.id);
  expect(three.labels?.['storageos.com/replicas']).toBe('2');

  expect(await change('/preferred-eviction-candidates', { deploymentIDs: [first?.id] })).toBe(200);
  expect(await change('/replicas', { replicas: 1 })).toBe(202);
  const two = await until('the candidate to go', (replicas) => replicas.length === 1);
  expect(two.replicas?.[0]?.nodeID).toBe(bystander.id);

  const evicted = two.replicas?.[0]?.id ?? '';
  expect(await change(`/debug/evict/${evicted}`, undefined, 'DELETE')).toBe(202);
  const replaced = await until('another copy', (replicas) => replicas.length === 1 && replicas[0]?.id !== evicted);
  expect(replaced.master.id).toBe(volume.master.id);

  await runFio({ uri, size: '16m', seed: 2 });
  expect((await test.verify(volume)).identical).toBe(true);
});

it('a master that serves is not replaced by an attempt', async () => {
  const now = await test.cluster.api.volume(volume.namespaceID, volume.id);
  const replica = now.replicas?.[0]?.id ?? '';
  await expect(change(`/debug/attempt-replica-promotion/${replica}`)).rejects.toMatchObject({ status: 422 });
});
