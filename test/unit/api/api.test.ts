import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../core/errors.js';
import type { DeploymentStatus } from '../../../core/messages.js';
import type { DeploymentId, NodeId, VolumeId } from '../../../core/types.js';
import { bootstrapCluster } from '../../../node-agent/api/bootstrap.js';
import { SESSION_SECONDS, TokenService } from '../../../node-agent/api/tokens.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import { TestEtcd } from '../../setup/etcd.js';
import { ADMIN, type Fixture, startFixture } from './fixture.js';

let etcd: TestEtcd;
let api: Fixture;

beforeAll(async () => {
  etcd = await TestEtcd.start();
});

afterAll(async () => {
  api?.close();
  await etcd?.destroy();
});

beforeEach(async () => {
  api?.close();
  api = await startFixture(etcd);
});

const GIB = 2 ** 30;
const volumes = () => `/namespaces/${api.namespace}/volumes`;
const creation = (patch: object = {}) => ({
  name: 'data',
  namespaceID: api.namespace,
  sizeBytes: 5 * GIB,
  fsType: 'ext4',
  ...patch,
});
async function makeVolume(patch: object = {}) {
  const answer = await api.request('POST', volumes(), creation(patch));
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}

describe('sessions', () => {
  it('login gives the token in the body and in the headers that clients look at', async () => {
    const answer = await api.request('POST', '/auth/login', ADMIN, {});
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ username: 'storageos', isAdmin: true, groups: [] });
    expect(answer.body.session.expiresInSeconds).toBe(300);
    expect(answer.headers.get('authorization')).toBe(`Bearer ${answer.body.session.token}`);
    expect(answer.headers.get('authorization-expires-seconds')).toBe('300');
    expect(answer.headers.get('authorization-expires-in')).toBe('300');
    expect(answer.headers.get('content-type')).toContain('application/json');
    expect(JSON.stringify(answer.body)).not.toContain('argon2');
  });

  it.each([
    ['with Bearer', (token: string) => `Bearer ${token}`],
    ['without Bearer', (token: string) => token],
    ['in lower case', (token: string) => `bearer ${token}`],
  ])('a token is accepted %s', async (_, header) => {
    const token = await api.login(ADMIN.username, ADMIN.password);
    expect(await api.request('GET', '/users/self', undefined, { authorization: header(token) })).toMatchObject({
      status: 200,
      body: { username: 'storageos' },
    });
  });

  it.each([
    ['wrong password', { ...ADMIN, password: 'wrong-password' }, 401],
    ['unknown user', { ...ADMIN, username: 'nobody' }, 401],
    ['no password', { username: 'storageos' }, 400],
    ['not JSON', '{', 400],
    ['empty', '', 400],
    ['another type', { username: 7, password: [] }, 400],
  ])('login with %s is refused', async (_, body, status) => {
    const answer = await api.request('POST', '/auth/login', body, {});
    expect(answer.status).toBe(status);
    expect(Object.keys(answer.body)).toEqual(['error']);
  });

  it.each([
    ['nothing', {}],
    ['garbage', { authorization: 'Bearer abc.def.ghi' }],
    [
      'an unsigned token',
      {
        authorization: `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{}').toString('base64url')}.`,
      },
    ],
  ])('%s opens nothing', async (_, headers) => {
    const answer = await api.request('GET', '/users/self', undefined, headers as Record<string, string>);
    expect(answer).toMatchObject({ status: 401, body: { error: 'authentication required' } });
  });

  it('tokens expire after five minutes and refresh before that', async () => {
    const user = (await api.state.users.list())[0]?.value;
    if (user === undefined) throw new Error('no user');
    const service = new TokenService(new Uint8Array(32).fill(7), systemRandom);
    const [fresh, old] = [
      await service.issue(user, Date.now() - (SESSION_SECONDS - 20) * 1000),
      await service.issue(user, Date.now() - SESSION_SECONDS * 1000),
    ];
    const refreshed = await api.request('POST', '/auth/refresh', undefined, { authorization: fresh });
    expect(refreshed.status).toBe(200);
    expect(refreshed.headers.get('authorization')).toMatch(/^Bearer \S+$/);
    expect((await api.request('POST', '/auth/refresh', undefined, { authorization: old })).status).toBe(401);
    const foreign = new TokenService(new Uint8Array(32).fill(8), systemRandom);
    const forged = await foreign.issue(user, Date.now());
    expect((await api.request('GET', '/users/self', undefined, { authorization: forged })).status).toBe(401);
  });

  it('all tokens of a user end with its sessions', async () => {
    const token = await api.login(ADMIN.username, ADMIN.password);
    const headers = { authorization: token };
    expect((await api.request('DELETE', '/users/self/sessions', undefined, headers)).status).toBe(200);
    expect((await api.request('GET', '/users/self', undefined, headers)).status).toBe(401);
    const next = await api.login(ADMIN.username, ADMIN.password);
    expect((await api.request('GET', '/users/self', undefined, { authorization: next })).status).toBe(200);
  });
});

describe('users', () => {
  it('are made by administrators, once per name', async () => {
    const made = await api.request('POST', '/users', { username: 'eva', password: 'long enough' });
    expect(made).toMatchObject({ status: 201, body: { username: 'eva', isAdmin: false, groups: [] } });
    const again = await api.request('POST', '/users', { username: 'eva', password: 'long enough' });
    expect(again.status).toBe(409);
    expect((await api.request('POST', '/users', { username: 'x', password: 'short' })).status).toBe(400);
    expect((await api.request('GET', '/users')).body).toHaveLength(2);
    const eva = { authorization: await api.login('eva', 'long enough') };
    expect((await api.request('POST', '/users', { username: 'y', password: 'long enough' }, eva)).status).toBe(403);
    expect((await api.request('GET', '/users', undefined, eva)).body).toHaveLength(1);
    const reset = { version: made.body.version, password: 'another one' };
    expect((await api.request('PUT', `/users/${made.body.id}`, reset)).status).toBe(200);
    expect((await api.request('GET', '/users/self', undefined, eva)).status).toBe(401);
    expect((await api.request('DELETE', `/users/${made.body.id}?ignore-version=true`)).status).toBe(200);
    expect(await api.login('eva', 'another one')).toBeUndefined();
  });

  it('the last administrator stays', async () => {
    expect((await api.request('DELETE', '/users/self?ignore-version=true')).status).toBe(409);
  });

  it('the first one is made only where there are none', async () => {
    const { state } = api;
    const options = { state, clock: systemClock, random: systemRandom };
    const [before] = await state.users.list();
    const cluster = await bootstrapCluster({ ...options, user: { username: 'second', password: 'long enough' } });
    expect((await state.users.list()).map(({ value }) => value)).toEqual([before?.value]);
    expect(cluster).toEqual(await state.cluster());
    expect(await state.namespaces.list()).toHaveLength(1);
  });

  it('without rights may use the default namespace and see nodes, and no more', async () => {
    await api.request('POST', '/users', { username: 'eva', password: 'long enough' });
    const other = await api.request('POST', '/namespaces', { name: 'other' });
    const eva = { authorization: await api.login('eva', 'long enough') };
    const asEva = (method: string, path: string, body?: unknown) => api.request(method, path, body, eva);
    expect((await asEva('POST', volumes(), creation())).status).toBe(201);
    expect((await asEva('GET', '/namespaces')).body).toMatchObject([{ name: 'default' }]);
    expect((await asEva('GET', '/nodes')).status).toBe(200);
    for (const [method, path, body] of [
      ['GET', `/namespaces/${other.body.id}`],
      ['GET', `/namespaces/${other.body.id}/volumes`],
      ['POST', '/namespaces', { name: 'mine' }],
      ['DELETE', `/namespaces/${other.body.id}?ignore-version=true`],
      ['PUT', `/nodes/${api.nodes[0]}/cordon?ignore-version=true`, { cordoned: true }],
      ['DELETE', `/nodes/${api.nodes[0]}?ignore-version=true`],
      ['PUT', '/cluster?ignore-version=true', {}],
    ] as const) {
      expect(await asEva(method, path, body)).toMatchObject({ status: 403, body: { error: 'unauthorised' } });
    }
  });
});

describe('namespaces', () => {
  it('live from creation to deletion', async () => {
    const made = await api.request('POST', '/namespaces', { name: 'apps', labels: { a: 'b' } });
    expect(made).toMatchObject({ status: 201, body: { name: 'apps', labels: { a: 'b' } } });
    const path = `/namespaces/${made.body.id}`;
    expect((await api.request('POST', '/namespaces', { name: 'apps' })).status).toBe(409);
    // A client that leaves out empty values clears the labels with the version alone.
    const cleared = await api.request('PUT', path, { version: made.body.version });
    expect(cleared).toMatchObject({ status: 200, body: { labels: {} } });
    expect((await api.request('PUT', path, { version: made.body.version })).status).toBe(412);
    expect((await api.request('DELETE', `${path}?version=${made.body.version}`)).status).toBe(412);
    expect((await api.request('DELETE', path)).status).toBe(400);
    expect(await api.request('DELETE', `${path}?ignore-version=maybe`)).toMatchObject({
      status: 400,
      body: { error: 'ignore-version: is not a boolean' },
    });
    expect((await api.request('DELETE', `${path}?version=&ignore-version=true`)).status).toBe(200);
    expect((await api.request('GET', path)).status).toBe(404);
  });

  it.each(['UPPER', '', 'a_b', 'x'.repeat(254), 'späti'])('may not be called "%s"', async (name) => {
    expect((await api.request('POST', '/namespaces', { name })).status).toBe(400);
  });

  it('that have volumes, and the default one, stay', async () => {
    const { body } = await api.request('POST', '/namespaces', { name: 'apps' });
    await api.request('POST', `/namespaces/${body.id}/volumes`, creation({ namespaceID: body.id }));
    for (const id of [body.id, api.namespace]) {
      expect((await api.request('DELETE', `/namespaces/${id}?ignore-version=true`)).status).toBe(409);
    }
  });
});

describe('nodes', () => {
  const node = (i: number) => api.nodes[i] as NodeId;

  it('show addresses, capacity and health', async () => {
    api.offline.add(node(1));
    const { body } = await api.request('GET', '/nodes');
    const health = Object.fromEntries(body.map((item: { name: string; health: string }) => [item.name, item.health]));
    expect(health).toEqual({ 'node-1': 'online', 'node-2': 'offline', 'node-3': 'online' });
    const one = await api.request('GET', `/nodes/${node(0)}`);
    expect(one.body).toMatchObject({
      ioEndpoint: '127.0.0.9:5703',
      supervisorEndpoint: '127.0.0.9:5704',
      clusteringEndpoint: '127.0.0.9:5710',
      gossipEndpoint: '127.0.0.9:5711',
      capacity: { total: 10 ** 12, free: 9 * 10 ** 11, available: 8 * 10 ** 11, reserved: 10 ** 11 },
      cordoned: false,
    });
    expect(one.body).not.toHaveProperty('cordonedAt');
  });

  it('keep reserved labels that a request leaves out, and refuse to change them', async () => {
    const path = `/nodes/${node(0)}`;
    const on = await api.request('PUT', `${path}/compute-only?ignore-version=true`, { computeOnly: true });
    expect(on.body.labels).toEqual({ 'storageos.com/computeonly': 'true' });
    const labelled = await api.request('PUT', path, { labels: { rack: '7' }, version: on.body.version });
    expect(labelled.body.labels).toEqual({ rack: '7', 'storageos.com/computeonly': 'true' });
    for (const labels of [{ 'storageos.com/computeonly': 'false' }, { 'storageos.com/': 'x' }]) {
      expect((await api.request('PUT', path, { labels, version: labelled.body.version })).status).toBe(400);
    }
    const off = await api.request('PUT', `${path}/compute-only`, { version: labelled.body.version });
    expect(off.body.labels).toEqual({ rack: '7' });
  });

  it('are cordoned and uncordoned', async () => {
    const path = `/nodes/${node(0)}/cordon`;
    const on = await api.request('PUT', `${path}?ignore-version=1`, { cordoned: true });
    expect(on.body).toMatchObject({ cordoned: true, cordonedAt: expect.stringMatching(/^\d{4}-/) });
    const again = await api.request('PUT', path, { cordoned: true, version: on.body.version });
    expect(again.body.version).toBe(on.body.version);
    const off = await api.request('PUT', path, { version: on.body.version });
    expect(off.body.cordoned).toBe(false);
    expect(off.body).not.toHaveProperty('cordonedAt');
  });

  it('can be deleted only when offline and without masters', async () => {
    const volume = await makeVolume();
    const master = volume.master.nodeID as NodeId;
    const remove = (id: NodeId) => api.request('DELETE', `/nodes/${id}?version=&ignore-version=true`);
    expect((await remove(master)).status).toBe(409);
    api.offline.add(master);
    expect((await remove(master)).body.error).toContain('master');
    const other = api.nodes.find((id) => id !== master) as NodeId;
    api.offline.add(other);
    expect((await remove(other)).status).toBe(200);
    expect((await api.request('GET', `/nodes/${other}`)).status).toBe(404);
  });
});

describe('creating volumes', () => {
  it('answers with the volume when it is ready', async () => {
    const volume = await makeVolume({ labels: { 'storageos.com/replicas': '1', app: 'x' }, description: 'd' });
    expect(volume).toMatchObject({
      name: 'data',
      description: 'd',
      attachedOn: '',
      attachmentType: 'detached',
      fsType: 'ext4',
      sizeBytes: 5 * GIB,
      labels: { 'storageos.com/replicas': '1', app: 'x' },
      master: { health: 'online', promotable: true, hostname: 'node-1' },
      replicas: [{ health: 'ready', promotable: true, hostname: 'node-2' }],
    });
    expect((await api.request('GET', volumes())).body).toEqual([volume]);
    expect((await api.request('GET', `${volumes()}/${volume.id}`)).body).toEqual(volume);
    const record = await api.state.volumes.require(volume.id);
    expect(record.value).toMatchObject({ compression: true, encryption: false, replicas: 1, blockSize: 4096 });
  });

  it.each([
    [{ sizeBytes: GIB - 1 }, 400],
    [{ sizeBytes: 1.5 }, 400],
    [{ sizeBytes: 2 ** 60 }, 400],
    [{ sizeBytes: '5GiB' }, 400],
    [{ sizeBytes: undefined }, 400],
    [{ name: 'Data' }, 400],
    [{ name: undefined }, 400],
    [{ fsType: 'ntfs' }, 400],
    [{ namespaceID: randomUUID() }, 400],
    [{ labels: { 'storageos.com/replicas': '6' } }, 400],
    [{ labels: { 'storageos.com/replicas': '1.0' } }, 400],
    [{ labels: { 'storageos.com/failure-mode': 'often' } }, 400],
    [{ labels: { 'storageos.com/encryption': 'perhaps' } }, 400],
    [{ labels: { 'storageos.com/unheard-of': 'x' } }, 400],
    [{ labels: { 'storageos.com/failure-mode': '2', 'storageos.com/replicas': '1' } }, 409],
    [{ labels: { a: 7 } }, 400],
    [{ description: 'x'.repeat(5000) }, 400],
  ])('refuses %j with %i and leaves nothing behind', async (patch, status) => {
    const answer = await api.request('POST', volumes(), creation(patch));
    expect(answer.status).toBe(status);
    expect(answer.body).toEqual({ error: expect.any(String) });
    expect((await api.request('GET', volumes())).body).toEqual([]);
    expect(api.controller.calls).toEqual([]);
  });

  it.each(['9007199254740993', '18446744073709551615'])('says of size %s how large a number may be', async (size) => {
    const body = `{"name":"data","fsType":"ext4","sizeBytes":${size}}`;
    expect(await api.request('POST', volumes(), body)).toMatchObject({
      status: 400,
      body: { error: 'sizeBytes: must be a whole number below 2^53' },
    });
  });

  it('tolerates null and missing members, and rounds the size up to whole blocks', async () => {
    const volume = await makeVolume({ labels: null, description: null, namespaceID: undefined, sizeBytes: GIB + 1 });
    expect(volume).toMatchObject({ sizeBytes: GIB + 4096, labels: {}, description: '' });
  });

  it.each([
    ['true', { compression: false, encryption: true }],
    ['false', { compression: true, encryption: false }],
  ])('takes compression and encryption from labels (%s)', async (value, expected) => {
    const labels = { 'storageos.com/nocompress': value, 'storageos.com/encryption': value };
    const { id } = await makeVolume({ labels });
    expect((await api.state.volumes.require(id)).value).toMatchObject(expected);
  });

  it('refuses a name that is taken', async () => {
    await makeVolume();
    expect(await api.request('POST', volumes(), creation())).toMatchObject({
      status: 409,
      body: { error: expect.stringContaining('already exists') },
    });
  });

  it('says 507 without room and leaves the name free', async () => {
    const labels = { 'storageos.com/replicas': '3' };
    expect((await api.request('POST', volumes(), creation({ labels }))).status).toBe(507);
    expect((await api.request('GET', volumes())).body).toEqual([]);
    await makeVolume();
  });

  it('says 503 without Temporal and leaves the name free', async () => {
    for (const path of [volumes(), `${volumes()}?async-max=1s`]) {
      api.controller.failure = new DomainError('controller-unavailable', 'Temporal does not answer');
      const answer = await api.request('POST', path, creation());
      if (path === volumes())
        expect(answer).toMatchObject({ status: 503, body: { error: expect.stringMatching(/not made/) } });
      else expect(answer.status).toBe(202);
      await expect.poll(async () => (await api.request('GET', volumes())).body).toEqual([]);
    }
  });

  it('goes on behind the client that does not wait', async () => {
    const answer = await api.request('POST', `${volumes()}?async-max=1m30s`, creation());
    expect(answer).toMatchObject({ status: 202, body: { msg: expect.stringMatching(/accepted.*timeout of 90s/) } });
    expect(api.controller.calls).toEqual(['provision 90000']);
    await expect.poll(async () => (await api.request('GET', volumes())).body[0]?.master.health).toBe('online');
  });

  it('takes async-max from the header too, the query before it', async () => {
    const token = await api.login(ADMIN.username, ADMIN.password);
    const headers = { authorization: token, 'async-max': '1500ms' };
    expect((await api.request('POST', volumes(), creation({ name: 'a' }), headers)).status).toBe(202);
    expect((await api.request('POST', `${volumes()}?async-max=2h`, creation({ name: 'b' }), headers)).status).toBe(202);
    expect(api.controller.calls).toEqual(['provision 1500', 'provision 7200000']);
  });

  it('says 202 to one who waited in vain while the work goes on', async () => {
    api.controller.slow = true;
    expect((await api.request('POST', volumes(), creation())).status).toBe(202);
  });

  it.each(['', '5', '-5s', '0', '0s', 'soon', '1x'])('refuses async-max "%s"', async (text) => {
    const answer = await api.request('POST', `${volumes()}?async-max=${text}`, creation());
    expect(answer.status).toBe(400);
    expect((await api.request('GET', volumes())).body).toEqual([]);
  });

  it.each(['', '5', 'soon'])(
    'refuses async-max "%s" in the header, also beside a good one in the query',
    async (text) => {
      const headers = { authorization: await api.login(ADMIN.username, ADMIN.password), 'async-max': text };
      for (const path of [volumes(), `${volumes()}?async-max=2h`]) {
        expect((await api.request('POST', path, creation(), headers)).status).toBe(400);
      }
      expect((await api.request('GET', volumes())).body).toEqual([]);
    },
  );

  it.each(['', 'yes', '2'])('refuses ignore-version "%s"', async (text) => {
    const volume = await makeVolume();
    expect((await api.request('DELETE', `${volumes()}/${volume.id}?ignore-version=${text}`)).status).toBe(400);
    expect((await api.request('GET', `${volumes()}/${volume.id}`)).status).toBe(200);
  });
});

describe('changing volumes', () => {
  it('labels are replaced as a whole, reserved ones repeated unchanged', async () => {
    const labels = { 'storageos.com/replicas': '1', 'csi.storage.k8s.io/pvc/name': 'claim', app: 'x' };
    const volume = await makeVolume({ labels });
    const path = `${volumes()}/${volume.id}`;
    const { version } = volume;
    for (const changed of [
      {},
      { ...labels, 'storageos.com/replicas': '2' },
      { ...labels, 'storageos.com/new': 'x' },
      { ...labels, 'csi.storage.k8s.io/pvc/name': 'other' },
    ]) {
      expect((await api.request('PUT', path, { labels: changed, version })).status).toBe(400);
    }
    const next = { ...labels, app: 'y' };
    const answer = await api.request('PUT', path, { labels: next, description: 'new', version });
    expect(answer).toMatchObject({ status: 200, body: { labels: next, description: 'new' } });
    expect((await api.request('PUT', path, { labels: next, version })).status).toBe(412);
    expect((await api.request('PUT', path, { labels: next })).status).toBe(400);
    expect((await api.request('PUT', `${path}?ignore-version=true`, { labels: next })).status).toBe(200);
    expect((await api.request('PUT', path, { labels: next, version: 'x'.repeat(31) })).status).toBe(400);
  });

  it('one of 100 writers with the same version wins, three times over', async () => {
    const volume = await makeVolume();
    const path = `${volumes()}/${volume.id}`;
    let { version } = volume;
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          api.request('PUT', path, { labels: { writer: `${round}-${i}` }, version }),
        ),
      );
      const won = answers.filter(({ status }) => status === 200);
      expect(won).toHaveLength(1);
      expect(answers.filter(({ status }) => status === 412)).toHaveLength(99);
      const now = (await api.request('GET', path)).body;
      expect(now.labels).toEqual(won[0]?.body.labels);
      version = now.version;
    }
  });

  it('replicas: always 202, the workflow is told, the label shows the target', async () => {
    const volume = await makeVolume();
    const path = `${volumes()}/${volume.id}/replicas`;
    const answer = await api.request('PUT', path, { replicas: 2, version: volume.version });
    expect(answer).toMatchObject({ status: 202, body: { msg: expect.stringContaining('accepted') } });
    expect(api.controller.calls).toContain('changed');
    const now = (await api.request('GET', `${volumes()}/${volume.id}`)).body;
    expect(now.labels).toEqual({ 'storageos.com/replicas': '2' });
    expect((await api.request('PUT', path, { replicas: 6, version: now.version })).status).toBe(400);
    expect((await api.request('PUT', path, { replicas: 1, version: volume.version })).status).toBe(412);
    expect((await api.request('PUT', path, { version: now.version })).status).toBe(202);
    expect((await api.state.volumes.require(volume.id)).value.replicas).toBe(0);
    api.controller.failure = new DomainError('controller-unavailable', 'away');
    expect((await api.request('PUT', `${path}?ignore-version=true`, { replicas: 1 })).status).toBe(202);
  });

  it.each([
    [{ mode: 'soft' }, 200, 'soft'],
    [{ mode: 'alwayson' }, 200, 'alwayson'],
    [{ failureThreshold: 1 }, 200, '1'],
    [{}, 200, '0'],
    [{ mode: 'often' }, 400, undefined],
    [{ failureThreshold: 6 }, 400, undefined],
    [{ failureThreshold: 2 }, 409, undefined],
    [{ failureThreshold: 1, mode: 'soft' }, 400, undefined],
  ])('failure mode %j gives %i', async (body, status, label) => {
    const volume = await makeVolume({ labels: { 'storageos.com/replicas': '1' } });
    const answer = await api.request('PUT', `${volumes()}/${volume.id}/failure-mode`, {
      ...body,
      version: volume.version,
    });
    expect(answer.status).toBe(status);
    if (status === 200) expect(answer.body.labels['storageos.com/failure-mode']).toBe(label);
  });

  it('a failure mode that is set again changes no version; one that the state does not allow is 422', async () => {
    const volume = await makeVolume({ labels: { 'storageos.com/replicas': '1' } });
    const path = `${volumes()}/${volume.id}/failure-mode?ignore-version=true`;
    const first = await api.request('PUT', path, { mode: 'hard' });
    expect((await api.request('PUT', path, { mode: 'hard' })).body.version).toBe(first.body.version);
    await api.request('PUT', `${volumes()}/${volume.id}/replicas?ignore-version=true`, { replicas: 2 });
    expect((await api.request('PUT', path, { mode: 'soft' })).status).toBe(200);
    expect(await api.request('PUT', path, { mode: 'hard' })).toMatchObject({ status: 422, body: { error: /"1"/ } });
  });
});

describe('attaching', () => {
  it('goes to one node at a time and can be repeated', async () => {
    const volume = await makeVolume();
    const path = `${volumes()}/${volume.id}/attach`;
    const attach = (node: unknown) => api.request('POST', path, { nodeID: node });
    expect((await attach('node-1')).status).toBe(400);
    expect((await attach(randomUUID())).status).toBe(404);
    expect(await attach(api.nodes[1])).toMatchObject({ status: 200, body: '' });
    expect((await api.request('GET', `${volumes()}/${volume.id}`)).body).toMatchObject({
      attachedOn: api.nodes[1],
      attachedOnHost: 'node-2',
      attachmentType: 'host',
    });
    expect((await attach(api.nodes[1])).status).toBe(200);
    expect(await attach(api.nodes[2])).toMatchObject({ status: 409, body: { error: expect.stringMatching(/node-2/) } });
    expect((await api.request('DELETE', `${volumes()}/${volume.id}?ignore-version=true`)).status).toBe(422);
    expect((await api.request('DELETE', path)).status).toBe(400);
    expect((await api.request('DELETE', `${path}?version=MQ`)).status).toBe(412);
    expect((await api.request('DELETE', `${path}?ignore-version=true`)).status).toBe(200);
    expect((await api.request('DELETE', `${path}?ignore-version=true`)).status).toBe(200);
  });

  it('needs a volume that is ready', async () => {
    api.controller.slow = true;
    await api.request('POST', volumes(), creation());
    const [volume] = (await api.request('GET', volumes())).body;
    const answer = await api.request('POST', `${volumes()}/${volume.id}/attach`, { nodeID: api.nodes[0] });
    expect(answer).toMatchObject({ status: 422, body: { error: expect.stringContaining('"provisioning"') } });
  });
});

describe('deleting volumes', () => {
  it('checks the version, passes offline-delete on, and is gone', async () => {
    const volume = await makeVolume();
    const path = `${volumes()}/${volume.id}`;
    expect((await api.request('DELETE', path)).status).toBe(400);
    expect((await api.request('DELETE', `${path}?version=MQ&ignore-version=false`)).status).toBe(412);
    expect((await api.request('DELETE', `${path}?version=&ignore-version=true&offline-delete=perhaps`)).status).toBe(
      400,
    );
    const answer = await api.request('DELETE', `${path}?version=${volume.version}&offline-delete=true`);
    expect(answer).toMatchObject({ status: 200, body: '' });
    expect(api.controller.calls).toContain('remove offline');
    expect((await api.request('GET', path)).status).toBe(404);
  });

  it('says 202 while it goes on', async () => {
    const volume = await makeVolume();
    api.controller.slow = true;
    const path = `${volumes()}/${volume.id}?version=&ignore-version=true&offline-delete=false`;
    expect((await api.request('DELETE', path)).status).toBe(202);
  });
});

describe('what a volume shows of its copies', () => {
  it('copies that are away, lost, recovering or syncing', async () => {
    const volume = await makeVolume({ labels: { 'storageos.com/replicas': '2' } });
    const path = `${volumes()}/${volume.id}`;
    const id = volume.id as VolumeId;
    const healths = async () => {
      const { master, replicas } = (await api.request('GET', path)).body;
      return [master.health, ...replicas.map((replica: { health: string }) => replica.health)];
    };
    expect(await healths()).toEqual(['online', 'ready', 'ready']);
    const [first, second] = volume.replicas as { id: DeploymentId; nodeID: NodeId }[];
    if (first === undefined || second === undefined) throw new Error('two replicas');
    api.offline.add(first.nodeID);
    expect(await healths()).toEqual(['online', 'failed', 'ready']);
    api.offline.clear();
    const closed = async (copy: { id: string; nodeID: string }, ids: string[]) => {
      const { capacity } = (await api.state.nodes.require(copy.nodeID as NodeId)).value;
      const report = { capacity, unusableCopies: 0, closed: ids as DeploymentId[] };
      await api.state.nodeRecords.report(copy.nodeID as NodeId, report);
    };
    await closed(volume.master, [volume.master.id]);
    await closed(second, [second.id]);
    await expect.poll(healths).toEqual(['offline', 'ready', 'failed']);
    await closed(volume.master, []);
    await closed(second, []);
    await expect.poll(healths).toEqual(['online', 'ready', 'ready']);
    await api.state.memberships.update(id, (membership) => ({
      ...membership,
      inSync: [membership.primary.deployment],
      outOfSync: [{ deployment: first.id, reason: 'gone', since: '2026-01-01T00:00:00Z' }],
    }));
    expect(await healths()).toEqual(['online', 'recovering', 'provisioned']);
    const sync = {
      target: first.id,
      kind: 'delta',
      blocksTotal: 0,
      blocksDone: 0,
      bytesCopied: 0,
      blocksPerSecond: 0,
      bytesPerSecond: 0,
      startedAtMs: 0,
    };
    const syncing = (patch: Partial<typeof sync>) =>
      api.statuses.set(volume.master.id, { sync: { ...sync, ...patch } } as DeploymentStatus);
    syncing({});
    expect(await healths()).toEqual(['online', 'syncing', 'provisioned']);
    // Nothing is known of what there is to copy; nothing remaining would look like the end.
    expect((await api.request('GET', path)).body.replicas[0].syncProgress).toBeUndefined();
    syncing({ blocksTotal: 110_000, blocksDone: 100_000, bytesCopied: 1, blocksPerSecond: 250, bytesPerSecond: 1 });
    expect(await healths()).toEqual(['online', 'syncing', 'provisioned']);
    const [replica] = (await api.request('GET', path)).body.replicas;
    expect(replica).toMatchObject({
      promotable: false,
      syncProgress: {
        bytesTotal: 110_000 * 4096,
        bytesRemaining: 10_000 * 4096,
        throughputBytes: 250 * 4096,
        estimatedSecondsRemaining: 40,
      },
    });
    const [listed] = (await api.request('GET', volumes())).body;
    expect(listed.replicas[0].health).toBe('syncing');
  });

  it('that it refuses writes, although its master is well', async () => {
    const volume = await makeVolume();
    expect(volume.readOnly).toBe(false);
    await api.state.memberships.update(volume.id, (membership) => ({ ...membership, readOnly: true }));
    expect((await api.request('GET', `${volumes()}/${volume.id}`)).body).toMatchObject({
      readOnly: true,
      master: { health: 'online' },
    });
  });

  it('what they say of themselves, if they answer', async () => {
    const volume = await makeVolume({ labels: { 'storageos.com/replicas': '1' } });
    const [replica] = volume.replicas;
    const told = { role: 'primary', serving: true, usedBytes: 7000, badBlocks: 2 } as const;
    const scrub = { doneBytes: 300, totalBytes: 1000, passes: 4, endedMs: Date.parse('2026-01-02T03:04:05Z') };
    api.statuses.set(volume.master.id, { ...told, scrub } as DeploymentStatus);
    const path = `${volumes()}/${volume.id}/deployments`;
    const master = { id: volume.master.id, nodeID: volume.master.nodeID, hostname: 'node-1', answered: true, ...told };
    const { endedMs: _, ...shown } = scrub;
    expect(await api.request('GET', path)).toMatchObject({
      status: 200,
      body: [
        { ...master, scrub: { ...shown, lastPassEndedAt: '2026-01-02T03:04:05.000Z' } },
        { id: replica.id, nodeID: replica.nodeID, hostname: 'node-2', answered: false },
      ],
    });
    api.statuses.set(volume.master.id, { ...told, scrub: { ...scrub, passes: 0, endedMs: null } } as DeploymentStatus);
    const never = (await api.request('GET', path)).body[0];
    expect(never).toEqual({ ...master, scrub: { ...shown, passes: 0 } });
    api.offline.add(volume.master.nodeID);
    expect((await api.request('GET', path)).body[0].answered).toBe(false);
  });

  it('verify compares all copies', async () => {
    const volume = await makeVolume();
    const answer = await api.request('PUT', `${volumes()}/${volume.id}/debug/verify`);
    expect(answer).toMatchObject({ status: 200, body: { identical: true } });
  });
});

describe('the rest', () => {
  it('cluster and licence', async () => {
    await makeVolume();
    const cluster = await api.request('GET', '/cluster');
    expect(cluster.body).toMatchObject({ disableTelemetry: true, logLevel: 'info', logFormat: 'default' });
    const changed = await api.request('PUT', '/cluster', { logLevel: 'debug', version: cluster.body.version });
    expect(changed.body).toMatchObject({ logLevel: 'debug', disableTelemetry: false });
    expect((await api.request('PUT', '/cluster', { version: cluster.body.version })).status).toBe(412);
    expect((await api.request('GET', '/cluster/licence')).body).toMatchObject({
      clusterID: cluster.body.id,
      kind: 'unregistered',
      clusterCapacityBytes: 53687091200,
      usedBytes: 5 * GIB,
      features: [],
    });
  });

  it.each([
    ['GET', '/nowhere', 404],
    ['GET', '/nodes/not-an-id', 400],
    ['GET', `/nodes/${'0'.repeat(8)}-0000-0000-0000-000000000000`, 404],
    ['PATCH', '/nodes', 405],
    ['POST', '/users/self', 405],
    ['POST', '/namespaces', 400],
  ])('%s %s is a JSON error %i', async (method, path, status) => {
    const answer = await api.request(method, path);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('content-type')).toContain('application/json');
    expect(answer.body).toEqual({ error: expect.any(String) });
  });

  it('a body that is too large is refused', async () => {
    const answer = await api.request('POST', '/namespaces', { name: 'x', labels: { a: 'y'.repeat(1 << 20) } });
    expect(answer.status).toBe(400);
  });

  it('defects tell nothing outside', async () => {
    api.controller.verify = () => Promise.reject(new Error('a secret path'));
    const volume = await makeVolume();
    const answer = await api.request('PUT', `${volumes()}/${volume.id}/debug/verify`);
    expect(answer).toMatchObject({ status: 500, body: { error: 'internal error' } });
  });

  it('/healthz needs no login and names the engine of the codec', async () => {
    const response = await api.app.request('/healthz');
    expect([response.status, await response.json()]).toEqual([
      200,
      { status: 'ok', node: api.nodes[0], etcd: 'connected', codec: { engine: 'wasm', offloadBytes: null } },
    ]);
  });

  it('with etcd stopped reads answer and writes say 503, until it is back', async () => {
    const volume = await makeVolume({ labels: { 'storageos.com/replicas': '1' } });
    const path = `${volumes()}/${volume.id}`;
    await expect.poll(() => api.state.volumes.cached.get(volume.id)?.value.phase).toBe('ready');
    await expect.poll(() => api.state.memberships.cached.size).toBe(1);
    await etcd.down();
    try {
      for (const read of [path, volumes(), '/nodes', '/namespaces', '/users/self', '/cluster', '/cluster/licence']) {
        expect([read, (await api.request('GET', read)).status]).toEqual([read, 200]);
      }
      expect((await api.request('GET', path)).body).toMatchObject({ name: 'data', master: { health: 'online' } });
      for (const [method, write, body] of [
        ['POST', volumes(), creation({ name: 'b' })],
        ['PUT', `${path}?ignore-version=true`, { labels: volume.labels }],
        ['PUT', `${path}/replicas?ignore-version=true`, { replicas: 2 }],
        ['POST', `${path}/attach`, { nodeID: api.nodes[0] }],
        ['DELETE', `${path}/attach?ignore-version=true`],
        ['DELETE', `${path}?ignore-version=true`],
        ['POST', '/namespaces', { name: 'x' }],
        ['PUT', `/nodes/${api.nodes[0]}/cordon?ignore-version=true`, { cordoned: true }],
      ] as const) {
        const answer = await api.request(method, write, body);
        expect([write, answer.status]).toEqual([write, 503]);
        expect(answer.body.error).toContain('etcd');
      }
      expect(await (await api.app.request('/healthz')).json()).toMatchObject({ etcd: 'unreachable' });
    } finally {
      await etcd.up();
    }
    await expect.poll(() => api.state.reachable, { timeout: 10_000 }).toBe(true);
    expect((await api.request('POST', '/namespaces', { name: 'x' })).status).toBe(201);
  });
});
