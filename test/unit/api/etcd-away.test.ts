/** Every endpoint while etcd is stopped: what is only looked at is shown as it was last seen, nothing is changed. */

import { describe, expect, it, vi } from 'vitest';
import type { Epoch } from '../../../core/types.js';
import { ROUTES } from '../../../node-agent/api/routes/index.js';
import type { TestEtcd } from '../../setup/etcd.js';
import { aPolicyGroup, aUser } from '../../setup/records.js';
import { ADMIN, type Fixture } from './fixture.js';
import { useApi } from './use-api.js';

let api: Fixture;
let etcd: TestEtcd;
/** Ids for the paths, by what comes before the parameter. */
let ids: Readonly<Record<string, string>>;

const RESTRICTED = ROUTES.flatMap((route) =>
  route.access === 'public' ? [] : [{ route, access: route.access, name: route.operationId }],
);

useApi('file', async (given, server) => {
  api = given;
  etcd = server;
  const group = aPolicyGroup({ specs: [{ namespaceID: '*', resourceType: 'volume', readOnly: true }] });
  await api.state.policies.create(group);
  const reader = aUser({ groups: [group.id] });
  await api.state.accounts.create(reader);
  const volume = await api.request('POST', `/namespaces/${api.namespace}/volumes`, {
    name: 'data',
    sizeBytes: 2 ** 30,
    fsType: 'ext4',
  });
  const lost = { id: volume.body.id, name: 'lost', namespaceName: 'default', sizeBytes: 1, copies: [] };
  api.controller.lost = { volumes: [{ ...lost, epoch: 1 as Epoch }], silent: [] };
  ids = {
    users: reader.id,
    policies: group.id,
    nodes: api.nodes[0] ?? '',
    namespaces: api.namespace,
    volumes: volume.body.id,
    'lost-volumes': volume.body.id,
  };
  await vi.waitUntil(() => api.state.volumes.cached.get(volume.body.id)?.value.phase === 'ready');
  await vi.waitUntil(() => api.state.memberships.cached.size === 1);
  await etcd.down();
  await vi.waitUntil(() => !api.state.reachable, { timeout: 10_000 });
});
const concrete = (path: string) =>
  path.replaceAll(/([a-z-]+)\/\{\w+\}/g, (_, kind) => `${kind}/${ids[kind] ?? api.nodes[0]}`);

describe('reads', () => {
  const reads = RESTRICTED.filter(({ access, route }) => access.action === 'read' && route.method === 'get');
  it.each(reads.map(({ name, route }) => [name, route] as const))('%s answers', async (_, route) => {
    const { status, body } = await api.request('GET', concrete(route.path));
    // A pool has never existed, a bundle without etcd is not complete.
    expect([200, 404, 502]).toContain(status);
    if (status === 404) expect(body.error).toContain('pool');
  });

  it('logins are granted to users that were seen, and tokens refreshed', async () => {
    const token = await api.login(ADMIN.username, ADMIN.password);
    const headers = { authorization: token };
    expect((await api.request('POST', '/auth/refresh', undefined, headers)).status).toBe(200);
    const unknown = { username: 'nobody', password: 'long enough' };
    expect((await api.request('POST', '/auth/login', unknown, {})).status).toBe(401);
    const wrong = { ...ADMIN, password: 'wrong password' };
    expect((await api.request('POST', '/auth/login', wrong, {})).status).toBe(401);
  });
});

describe('writes', () => {
  const writes = RESTRICTED.filter(({ access }) => access.action === 'write');
  const each = it.concurrent.each(writes.map(({ name, route }) => [name, route] as const));
  each('%s is answered with 503', async (_, route) => {
    const answer = await api.request(route.method.toUpperCase(), concrete(route.path), {});
    expect(answer).toMatchObject({ status: 503, body: { error: expect.stringContaining('etcd') } });
    expect(api.controller.calls).toEqual(['provision 120000']);
  });

  it('are made right after etcd is back, though its watch is not', async () => {
    await etcd.up();
    expect(await api.request('POST', '/namespaces', { name: 'made-behind-it' })).toMatchObject({ status: 201 });
  });
});
