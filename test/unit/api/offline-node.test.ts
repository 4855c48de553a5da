import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestEtcd } from '../../setup/etcd.js';
import { type Fixture, startFixture } from './fixture.js';

let etcd: TestEtcd;
let api: Fixture;

beforeAll(async () => {
  etcd = await TestEtcd.start();
  api = await startFixture(etcd);
});

afterAll(async () => {
  api?.close();
  await etcd?.destroy();
});

it('refuses to attach to a node that is offline, without asking the workflow, behind which others would wait', async () => {
  const volumes = `/namespaces/${api.namespace}/volumes`;
  const created = await api.request('POST', volumes, { name: 'data', sizeBytes: 2 ** 30, fsType: 'ext4' });
  const attach = (node: unknown) => api.request('POST', `${volumes}/${created.body.id}/attach`, { nodeID: node });
  const node = api.nodes[2]!;
  api.offline.add(node);
  const before = api.controller.calls.length;
  expect(await attach(node)).toEqual(
    expect.objectContaining({ status: 503, body: { error: 'node "node-3" is offline' } }),
  );
  expect(api.controller.calls).toHaveLength(before);
  api.offline.delete(node);
  expect((await attach(node)).status).toBe(200);
});
