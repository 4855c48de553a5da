/** `version` guards every object that can be changed: of any number of writers that saw the same one, one wins. */

import { describe, expect, it } from 'vitest';
import type { UserId } from '../../../core/types.js';
import { signLicence } from '../../../node-agent/licence/text.js';
import { aPolicyGroup } from '../../setup/records.js';
import { type Fixture, licenceKeys } from './fixture.js';
import { useApi } from './use-api.js';

const WRITERS = 100;

let api: Fixture;

useApi('file', (given) => {
  api = given;
});

interface Subject {
  /** Where it is read. */
  readonly path: string;
  /** Where it is written; where it is read by default. */
  readonly target?: string;
  /** What the writer `i` writes, without the version. */
  readonly body: (i: number) => object;
  /** What of the object says which writer has won. */
  readonly shows: (object: Record<string, unknown>, i: number) => unknown;
}

let made = 0;
async function make(path: string, body: object): Promise<string> {
  const answer = await api.request('POST', path, body);
  expect([answer.status, api.troubles]).toEqual([201, []]);
  return `${path}/${answer.body.id}`;
}
const name = () => `object-${made++}`;
const volumes = () => `/namespaces/${api.namespace}/volumes`;
const volume = () => make(volumes(), { name: name(), sizeBytes: 2 ** 30, fsType: 'ext4' });
const labels = { body: (i: number) => ({ labels: { writer: `${i}` } }), shows: labelOf };

/** How often each status came. */
function countOf(statuses: readonly number[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const status of statuses) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

function labelOf(object: Record<string, unknown>, i: number) {
  return (object.labels as Record<string, string>).writer === `${i}`;
}

const SUBJECTS: Readonly<Record<string, () => Promise<Subject>>> = {
  namespace: async () => ({ path: await make('/namespaces', { name: name() }), ...labels }),
  node: async () => ({ path: `/nodes/${api.nodes[0]}`, ...labels }),
  volume: async () => ({ path: await volume(), ...labels }),
  user: async () => {
    // One group for each writer, so that the rights of the user say who has won.
    const groups = Array.from({ length: WRITERS }, () => aPolicyGroup());
    await Promise.all(groups.map((group) => api.state.policies.create(group)));
    return {
      path: await make('/users', { username: name(), password: 'long enough' }),
      body: (i) => ({ groups: [groups[i]?.id] }),
      shows: (object, i) => (object.groups as string[])[0] === groups[i]?.id,
    };
  },
  'policy group': async () => ({
    path: await make('/policies', { name: name() }),
    body: (i) => ({ specs: Array.from({ length: i + 1 }, () => ({ namespaceID: '*', resourceType: 'volume' })) }),
    shows: (object, i) => (object.specs as unknown[]).length === i + 1,
  }),
  cluster: async () => ({
    path: '/cluster',
    body: (i) => ({ logLevel: (['debug', 'info', 'warn', 'error'] as const)[i % 4] }),
    shows: (object, i) => object.logLevel === ['debug', 'info', 'warn', 'error'][i % 4],
  }),
  licence: async () => {
    const { clusterID } = (await api.request('GET', '/cluster/licence')).body;
    const expiresAt = new Date(Date.now() + 86_400_000).toISOString();
    const terms = { clusterID, customerName: '', kind: 'x', expiresAt, features: [] };
    return {
      path: '/cluster/licence',
      body: (i) => ({ key: signLicence({ ...terms, clusterCapacityGiB: 1000 + i }, licenceKeys.privateKey) }),
      shows: (object, i) => object.clusterCapacityBytes === (1000 + i) * 2 ** 30,
    };
  },
};

describe.each(Object.entries(SUBJECTS))('%s', (_, subject) => {
  it(`one of ${WRITERS} writers wins, and what it wrote is there`, async () => {
    const { path, target = path, body, shows } = await subject();
    const { version } = (await api.request('GET', path)).body;
    const answers = await Promise.all(
      Array.from({ length: WRITERS }, (_, i) => api.request('PUT', target, { ...body(i), version })),
    );
    const statuses = answers.map(({ status }) => status);
    expect([countOf(statuses), api.troubles]).toEqual([{ 200: 1, 412: WRITERS - 1 }, []]);
    const winner = statuses.indexOf(200);
    const now = (await api.request('GET', path)).body;
    expect([shows(now, winner), now.version]).toEqual([true, answers[winner]?.body.version]);
    expect(now.version).not.toBe(version);
    expect((await api.request('PUT', target, { ...body(0), version: now.version })).status).toBe(200);
  });

  it('a version that was never given, none, and one that is too long are refused', async () => {
    const { path, target = path, body } = await subject();
    const put = async (version?: string) => (await api.request('PUT', target, { ...body(1), version })).status;
    expect([await put('MQ'), await put(), await put(''), await put('x'.repeat(31))]).toEqual([412, 400, 400, 400]);
    expect((await api.request('PUT', `${target}?ignore-version=true`, body(1))).status).toBe(200);
  });
});

it.each<[string, () => Promise<string>]>([
  ['namespace', () => make('/namespaces', { name: name() })],
  ['user', () => make('/users', { username: name(), password: 'long enough' })],
  ['policy group', () => make('/policies', { name: name() })],
  ['volume', volume],
])('a %s is deleted by one of 20, with the version that it has', async (_, subject) => {
  const path = await subject();
  const { version } = (await api.request('GET', path)).body;
  expect((await api.request('DELETE', `${path}?version=MQ`)).status).toBe(412);
  expect((await api.request('DELETE', path)).status).toBe(400);
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => api.request('DELETE', `${path}?version=${version}`)),
  );
  const counts = countOf(answers.map(({ status }) => status));
  expect([counts, api.troubles]).toEqual([{ 200: 1, 404: 19 }, []]);
  expect((await api.request('GET', path)).status).toBe(404);
});

it('writers that ignore the version all succeed, and none is lost', async () => {
  const path = await make('/users', { username: name(), password: 'long enough' });
  const id = path.split('/').at(-1) as UserId;
  const before = (await api.state.users.require(id)).value.sessionGeneration;
  const answers = await Promise.all(Array.from({ length: 30 }, () => api.request('DELETE', `${path}/sessions`)));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  expect((await api.state.users.require(id)).value.sessionGeneration).toBe(before + 30);
});
