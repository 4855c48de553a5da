import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Fixture } from './fixture.js';
import { useApi } from './use-api.js';

let api: Fixture;
let apps: string;

useApi('test', async (given) => {
  api = given;
  apps = (await api.request('POST', '/namespaces', { name: 'apps' })).body.id;
});

const volumesOf = (namespaceID: string, readOnly?: boolean) => ({
  namespaceID,
  resourceType: 'volume',
  ...(readOnly !== undefined && { readOnly }),
});
async function makeGroup(body: object = { name: 'dev', specs: [volumesOf(apps)] }) {
  const answer = await api.request('POST', '/policies', body);
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}
async function makeUser(username: string, groups?: string[] | null) {
  const answer = await api.request('POST', '/users', { username, password: 'long enough', groups });
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}

describe('policy groups', () => {
  it('live from creation to deletion', async () => {
    const made = await makeGroup();
    expect(made).toEqual({
      id: expect.any(String),
      name: 'dev',
      users: [],
      specs: [{ namespaceID: apps, resourceType: 'volume', readOnly: false }],
      createdAt: expect.any(String),
      updatedAt: expect.any(String),
      version: expect.any(String),
    });
    const path = `/policies/${made.id}`;
    expect((await api.request('GET', path)).body).toEqual(made);
    expect((await api.request('GET', '/policies')).body).toEqual([made]);
    expect((await api.request('POST', '/policies', { name: 'dev' })).status).toBe(409);
    const specs = [volumesOf('*', true), { namespaceID: apps, resourceType: '*', readOnly: false }];
    const changed = await api.request('PUT', path, { specs, version: made.version });
    expect(changed).toMatchObject({ status: 200, body: { name: 'dev', specs } });
    expect((await api.request('DELETE', `${path}?version=${changed.body.version}`)).status).toBe(200);
    expect((await api.request('GET', path)).status).toBe(404);
  });

  it.each([undefined, null, []])('may have no rules: %j', async (specs) => {
    const made = await makeGroup({ name: 'empty', specs });
    expect(made.specs).toEqual([]);
    // Go's clients leave out what is empty: the version alone clears the rules.
    const full = await makeGroup();
    const cleared = await api.request('PUT', `/policies/${full.id}`, { version: full.version, specs });
    expect(cleared).toMatchObject({ status: 200, body: { specs: [] } });
  });

  it.each(['cluster', 'namespace', 'node', 'policy', 'user', 'volume', '*'])(
    'may be about %s',
    async (resourceType) => {
      const made = await makeGroup({ name: 'x', specs: [{ namespaceID: '*', resourceType }] });
      expect(made.specs).toEqual([{ namespaceID: '*', resourceType, readOnly: false }]);
    },
  );

  it.each<[string, () => object]>([
    ['no name', () => ({ specs: [] })],
    ['an empty name', () => ({ name: '' })],
    ['a name that is too long', () => ({ name: 'x'.repeat(254) })],
    ['the default namespace', () => ({ name: 'x', specs: [volumesOf(api.namespace)] })],
    ['a namespace that does not exist', () => ({ name: 'x', specs: [volumesOf(randomUUID())] })],
    ['a namespace by name', () => ({ name: 'x', specs: [volumesOf('apps')] })],
    ['no namespace', () => ({ name: 'x', specs: [{ resourceType: 'volume' }] })],
    ['an unknown type', () => ({ name: 'x', specs: [{ namespaceID: '*', resourceType: 'pod' }] })],
    ['more rules than there may be', () => ({ name: 'x', specs: Array(1001).fill(volumesOf('*')) })],
  ])('are refused with %s', async (_, body) => {
    const answer = await api.request('POST', '/policies', body());
    expect(answer).toMatchObject({ status: 400, body: { error: expect.any(String) } });
    expect((await api.request('GET', '/policies')).body).toEqual([]);
    const { id, version } = await makeGroup();
    const { specs } = body() as { specs?: { namespaceID?: string }[] };
    if (specs === undefined || specs.length === 0) return;
    expect((await api.request('PUT', `/policies/${id}`, { specs, version })).status).toBe(400);
  });

  it('stay while they have members, whom they show', async () => {
    const group = await makeGroup();
    const path = `/policies/${group.id}`;
    const [eva, adam] = [await makeUser('eva', [group.id]), await makeUser('adam', [group.id])];
    const shown = (await api.request('GET', path)).body.users;
    expect(shown).toHaveLength(2);
    expect(shown).toEqual(expect.arrayContaining([eva, adam].map(({ id, username }) => ({ id, username }))));
    const remove = () => api.request('DELETE', `${path}?ignore-version=true`);
    expect(await remove()).toMatchObject({ status: 409, body: { error: expect.stringContaining('2 member(s)') } });
    expect((await api.request('PUT', `/users/${eva.id}`, { version: eva.version })).body.groups).toEqual([]);
    expect((await remove()).status).toBe(409);
    expect((await api.request('DELETE', `/users/${adam.id}?ignore-version=true`)).status).toBe(200);
    expect((await remove()).status).toBe(200);
  });
});

describe("a user's groups", () => {
  it.each([undefined, null, []])('may be none: %j', async (groups) => {
    expect((await makeUser('eva', groups)).groups).toEqual([]);
  });

  it('must exist, and count once', async () => {
    const { id } = await makeGroup();
    for (const groups of [[randomUUID()], ['dev'], [id, randomUUID()]]) {
      const body = { username: 'eva', password: 'long enough', groups };
      expect((await api.request('POST', '/users', body)).status).toBe(400);
    }
    const eva = await makeUser('eva', [id, id]);
    expect(eva.groups).toEqual([id]);
    const change = (groups: string[]) => api.request('PUT', `/users/${eva.id}?ignore-version=true`, { groups });
    expect((await change([randomUUID()])).status).toBe(400);
    expect((await change([id, id])).body.groups).toEqual([id]);
  });

  it('are not changed by the user itself, nor are its rights', async () => {
    const { id } = await makeGroup();
    const eva = await makeUser('eva', [id]);
    const headers = { authorization: await api.tokenOf(eva.id) };
    const answer = await api.request(
      'PUT',
      '/users/self?ignore-version=true',
      { groups: [], isAdmin: true, password: 'another one' },
      headers,
    );
    expect(answer).toMatchObject({ status: 200, body: { groups: [id], isAdmin: false } });
    expect(await api.login('eva', 'another one')).toBeDefined();
  });

  it('an administrator who is made or unmade one keeps them', async () => {
    const { id } = await makeGroup();
    const eva = await makeUser('eva', [id]);
    const promoted = await api.request('PUT', `/users/${eva.id}`, {
      isAdmin: true,
      groups: [id],
      version: eva.version,
    });
    expect(promoted.body).toMatchObject({ isAdmin: true, groups: [id] });
    const demoted = await api.request('PUT', `/users/${eva.id}`, { groups: [id], version: promoted.body.version });
    expect(demoted.body).toMatchObject({ isAdmin: false, groups: [id] });
  });
});
