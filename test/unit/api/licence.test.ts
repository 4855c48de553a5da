import { generateKeyPairSync } from 'node:crypto';
import { expect, it } from 'vitest';
import type { LicenceTerms } from '../../../core/licence.js';
import { signLicence } from '../../../node-agent/licence/text.js';
import { type Fixture, licenceKeys } from './fixture.js';
import { useApi } from './use-api.js';

const GIB = 2 ** 30;
const DAY_MS = 24 * 3_600_000;

let api: Fixture;
let clusterID: string;

useApi('test', async (given) => {
  api = given;
  clusterID = (await api.state.cluster()).value.id;
});

let made = 0;
const create = (gib: number) =>
  api.request('POST', `/namespaces/${api.namespace}/volumes`, {
    name: `volume-${made++}`,
    sizeBytes: gib * GIB,
    fsType: 'ext4',
  });
const licence = (patch: Partial<LicenceTerms> = {}, key = licenceKeys.privateKey) =>
  signLicence(
    {
      clusterID,
      customerName: 'Example',
      kind: 'developer',
      clusterCapacityGiB: 100,
      expiresAt: new Date(Date.now() + DAY_MS).toISOString(),
      features: ['nfs'],
      ...patch,
    },
    key,
  );
const shown = async () => (await api.request('GET', '/cluster/licence')).body;
const apply = async (key: string) => api.request('PUT', '/cluster/licence', { key, version: (await shown()).version });
const age = (ms: number) =>
  api.state.updateCluster((cluster) => ({ ...cluster, createdAt: new Date(Date.now() - ms).toISOString() }));

it('without one, volumes of 50 GiB together can be made, and room comes back with a deletion', async () => {
  const first = await create(40);
  expect(first.status).toBe(201);
  expect(await create(11)).toMatchObject({
    status: 451,
    body: { error: expect.stringContaining(`(used ${40 * GIB}, allowed 53687091200, requested ${11 * GIB})`) },
  });
  expect((await create(10)).status).toBe(201);
  expect((await shown()).usedBytes).toBe(50 * GIB);
  const path = `/namespaces/${api.namespace}/volumes/${first.body.id}`;
  await api.request('DELETE', `${path}?ignore-version=true`);
  expect((await create(40)).status).toBe(201);
});

it('after a day without one nothing is made, and what is there can be used', async () => {
  const { body: volume } = await create(5);
  await age(DAY_MS + 1000);
  expect(await create(1)).toMatchObject({ status: 451, body: { error: /without a licence ended at/ } });
  const path = `/namespaces/${api.namespace}/volumes/${volume.id}`;
  expect((await api.request('GET', path)).status).toBe(200);
  expect((await api.request('POST', `${path}/attach`, { nodeID: api.nodes[0] })).status).toBe(200);
  expect((await api.request('DELETE', `${path}/attach?ignore-version=true`)).status).toBe(200);
  expect((await api.request('PUT', `${path}/replicas?ignore-version=true`, { replicas: 1 })).status).toBe(202);
  expect((await api.request('DELETE', `${path}?ignore-version=true`)).status).toBe(200);
  expect((await apply(licence())).status).toBe(200);
  expect((await create(1)).status).toBe(201);
});

it('an applied licence is shown and counts at once; one that has ended stops new volumes', async () => {
  const before = await shown();
  expect(before).toMatchObject({ kind: 'unregistered', clusterCapacityBytes: 50 * GIB, features: [], usedBytes: 0 });
  const key = licence();
  const answer = await api.request('PUT', '/cluster/licence', { key, version: before.version });
  expect(answer).toMatchObject({
    status: 200,
    body: { clusterID, kind: 'developer', customerName: 'Example', clusterCapacityBytes: 100 * GIB, features: ['nfs'] },
  });
  expect(await shown()).toEqual(answer.body);
  expect((await create(90)).status).toBe(201);
  expect((await create(11)).status).toBe(451);
  expect((await api.request('PUT', '/cluster/licence', { key, version: before.version })).status).toBe(412);
  // Somebody else's clock: the licence has been there for two days.
  const { licence: text = '' } = (await api.state.cluster()).value;
  const ended = text.replace(/expiresAt: .*/, 'expiresAt: 2020-01-01T00:00:00.000Z');
  await api.state.updateCluster((cluster) => ({ ...cluster, licence: ended }));
  expect(await create(1)).toMatchObject({ status: 451, body: { error: /the licence ended at 2020/ } });
});

it.each<[string, () => string, RegExp]>([
  ['text that is none', () => 'a key', /SIGNATURE/],
  ['one that is changed', () => licence().replace('100', '999'), /was changed/],
  ['one of somebody else', () => licence({}, generateKeyPairSync('ed25519').privateKey), /not signed/],
  ['one for another cluster', () => licence({ clusterID: '00000000-0000-4000-8000-000000000000' }), /for cluster 0000/],
  ['one that has ended', () => licence({ expiresAt: '2020-01-01T00:00:00Z' }), /ended at 2020/],
])('refuses %s', async (_, key, message) => {
  expect(await apply(key())).toMatchObject({ status: 400, body: { error: expect.stringMatching(message) } });
  expect((await shown()).kind).toBe('unregistered');
});

it.each([{}, { key: '' }, { key: null }, { key: 'x'.repeat(20_000) }, { key: 7 }])('refuses %j', async (body) => {
  expect((await api.request('PUT', '/cluster/licence?ignore-version=true', body)).status).toBe(400);
});

it('a licence goes with the settings and is not shown among them', async () => {
  await apply(licence());
  const { body } = await api.request('GET', '/cluster');
  expect(JSON.stringify(body)).not.toContain('SIGNATURE');
  await api.request('PUT', '/cluster', { logLevel: 'debug', version: body.version });
  expect((await shown()).kind).toBe('developer');
});

it('volumes made at the same moment do not exceed it together', async () => {
  const answers = await Promise.all(Array.from({ length: 30 }, () => create(5)));
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(10);
  expect(answers.filter(({ status }) => status === 451)).toHaveLength(20);
  expect((await shown()).usedBytes).toBe(50 * GIB);
});

it('a sum that is wrong refuses nothing that the volumes leave room for', async () => {
  const { body } = await create(40);
  // As if the record had gone without its transaction.
  await api.state.volumes.remove(body.id);
  expect((await create(30)).status).toBe(201);
  expect((await create(30)).status).toBe(451);
});
