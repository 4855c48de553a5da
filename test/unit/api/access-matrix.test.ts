/** Every endpoint × everybody who may call it. An endpoint that the table does not know fails. */

import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { PolicySpec } from '../../../core/domain.js';
import type { NamespaceId, UserId } from '../../../core/types.js';
import { ROUTES } from '../../../node-agent/api/routes/index.js';
import { aNamespace, aPolicyGroup, aUser } from '../../setup/records.js';
import type { Fixture } from './fixture.js';
import { useApi } from './use-api.js';

/**
 * Who calls. `nobody`: logged in, no policy. `reader`, `writer`: volumes of namespace `apps`. `other`: everything in
 * another namespace. `auditor`, `operator`: everything everywhere, reading and writing.
 */
const CALLERS = ['anonymous', 'nobody', 'reader', 'writer', 'other', 'auditor', 'operator', 'admin'] as const;
type Caller = (typeof CALLERS)[number];

const USERS = CALLERS.filter((caller) => caller !== 'anonymous');
/** Whom an endpoint lets pass; for namespaced ones in `apps` and in the default namespace. */
type Expected = readonly Caller[] | { readonly apps: readonly Caller[]; readonly default: readonly Caller[] };

const PUBLIC: Expected = CALLERS;
const LOGIN: Expected = USERS;
const ADMIN: Expected = ['admin'];
const SEES_ALL: Expected = ['auditor', 'operator', 'admin'];
const CHANGES_ALL: Expected = ['operator', 'admin'];
const NAMESPACE_READ: Expected = {
  apps: ['reader', 'writer', 'auditor', 'operator', 'admin'],
  default: ['nobody', 'auditor', 'operator', 'admin'],
};
const NAMESPACE_WRITE: Expected = { apps: ['operator', 'admin'], default: ['nobody', 'operator', 'admin'] };
const VOLUME_READ = NAMESPACE_READ;
const VOLUME_WRITE: Expected = {
  apps: ['writer', 'operator', 'admin'],
  default: ['nobody', 'operator', 'admin'],
};

const EXPECTED: Readonly<Record<string, Expected>> = {
  spec: PUBLIC,
  authenticateUser: PUBLIC,
  refreshJwt: LOGIN,
  createUser: ADMIN,
  listUsers: LOGIN,
  getUser: SEES_ALL,
  updateUser: ADMIN,
  deleteUser: ADMIN,
  deleteSessions: ADMIN,
  getAuthenticatedUser: LOGIN,
  updateAuthenticatedUser: LOGIN,
  deleteAuthenticatedUser: LOGIN,
  deleteAuthenticatedUserSessions: LOGIN,
  createPolicyGroup: ADMIN,
  listPolicyGroups: LOGIN,
  getPolicyGroup: SEES_ALL,
  updatePolicyGroup: ADMIN,
  deletePolicyGroup: ADMIN,
  createNamespace: CHANGES_ALL,
  listNamespaces: LOGIN,
  getNamespace: NAMESPACE_READ,
  updateNamespace: NAMESPACE_WRITE,
  deleteNamespace: NAMESPACE_WRITE,
  listNodes: LOGIN,
  getNode: LOGIN,
  updateNode: CHANGES_ALL,
  deleteNode: CHANGES_ALL,
  setComputeOnly: CHANGES_ALL,
  setCordoned: CHANGES_ALL,
  getCluster: LOGIN,
  updateCluster: CHANGES_ALL,
  getLicence: LOGIN,
  updateLicence: CHANGES_ALL,
  getDiagnostics: ADMIN,
  getSingleNodeDiagnostics: ADMIN,
  getLocalDiagnostics: ADMIN,
  schedulerFilter: PUBLIC,
  schedulerPrioritize: PUBLIC,
  createPool: CHANGES_ALL,
  listPools: LOGIN,
  getPool: LOGIN,
  updatePool: CHANGES_ALL,
  deletePool: CHANGES_ALL,
  listOperations: LOGIN,
  createVolume: VOLUME_WRITE,
  listVolumes: VOLUME_READ,
  getVolume: VOLUME_READ,
  updateVolume: VOLUME_WRITE,
  deleteVolume: VOLUME_WRITE,
  attachVolume: VOLUME_WRITE,
  detachVolume: VOLUME_WRITE,
  setReplicas: VOLUME_WRITE,
  setFailureMode: VOLUME_WRITE,
  resizeVolume: VOLUME_WRITE,
  setPlacementStrategy: VOLUME_WRITE,
  setPreferredEvictionCandidates: VOLUME_WRITE,
  addDeploymentOnNode: VOLUME_WRITE,
  evictReplica: VOLUME_WRITE,
  attemptPromotion: VOLUME_WRITE,
  attachNFSVolume: VOLUME_WRITE,
  updateNFSVolumeMountEndpoint: VOLUME_WRITE,
  updateNFSVolumeExports: VOLUME_WRITE,
  listDeployments: VOLUME_READ,
  verifyVolume: VOLUME_WRITE,
  surveyVolume: { apps: ['admin'], default: ['admin'] },
  recoverVolume: { apps: ['admin'], default: ['admin'] },
  listLostVolumes: ADMIN,
  surveyLostVolume: ADMIN,
  recoverLostVolume: ADMIN,
};

let api: Fixture;
let apps: string;
const users = new Map<Caller, UserId>();

useApi('file', async (given) => {
  api = given;
  const [inApps, elsewhere] = [aNamespace({ name: 'apps' }), aNamespace({ name: 'elsewhere' })];
  for (const namespace of [inApps, elsewhere]) await api.state.createNamespace(namespace);
  apps = inApps.id;
  const policies: Partial<Record<Caller, PolicySpec>> = {
    reader: { namespaceID: inApps.id, resourceType: 'volume', readOnly: true },
    writer: { namespaceID: inApps.id, resourceType: 'volume', readOnly: false },
    other: { namespaceID: elsewhere.id, resourceType: '*', readOnly: false },
    auditor: { namespaceID: '*', resourceType: '*', readOnly: true },
    operator: { namespaceID: '*', resourceType: '*', readOnly: false },
  };
  for (const caller of USERS) {
    const spec = policies[caller];
    const group = aPolicyGroup({ name: caller, specs: spec === undefined ? [] : [spec] });
    if (spec !== undefined) await api.state.policies.create(group);
    const groups = spec === undefined ? [] : [group.id];
    const user = aUser({ username: caller, isAdmin: caller === 'admin', groups });
    users.set(caller, user.id);
    await api.state.accounts.create(user);
  }
});

async function headersOf(caller: Caller): Promise<Record<string, string>> {
  const id = users.get(caller);
  return id === undefined ? {} : { authorization: await api.tokenOf(id) };
}

/** Who is let through to the endpoint. Its other parameters name nothing that exists, its body is empty. */
async function admitted(path: string, method: string, namespace: string): Promise<Caller[]> {
  const passed: Caller[] = [];
  for (const caller of CALLERS) {
    const concrete = path
      .replace('{namespaceID}', namespace)
      .replace('/namespaces/{id}', `/namespaces/${namespace}`)
      .replaceAll(/\{\w+\}/g, () => randomUUID());
    const { status } = await api.request(method.toUpperCase(), concrete, undefined, await headersOf(caller));
    if (caller === 'anonymous' ? status !== 401 : status !== 403) passed.push(caller);
    if (caller !== 'anonymous') expect([path, caller, status]).not.toEqual([path, caller, 401]);
  }
  return passed;
}

it('every endpoint is in the table', () => {
  const ids = ROUTES.map(({ operationId }) => operationId);
  expect(ids.filter((id) => EXPECTED[id] === undefined)).toEqual([]);
  expect(new Set(ids).size).toBe(ids.length);
});

describe('who may call', () => {
  it.each(ROUTES.map((route) => [route.operationId, route] as const))('%s', async (operationId, route) => {
    const expected = EXPECTED[operationId];
    if (expected === undefined) throw new Error(`no entry for ${operationId}`);
    if ('apps' in expected) {
      expect(await admitted(route.path, route.method, apps)).toEqual(expected.apps);
      expect(await admitted(route.path, route.method, api.namespace)).toEqual(expected.default);
    } else {
      expect(await admitted(route.path, route.method, apps)).toEqual(expected);
    }
  });
});

describe('what lists show', () => {
  const shown = async (caller: Caller, path: string): Promise<string[]> => {
    const { body } = await api.request('GET', path, undefined, await headersOf(caller));
    return body.map((item: { name?: string; username?: string }) => item.name ?? item.username).sort();
  };

  it.each<[Caller, string[]]>([
    ['nobody', ['default']],
    ['reader', ['apps']],
    ['other', ['elsewhere']],
    ['auditor', ['apps', 'default', 'elsewhere']],
    ['admin', ['apps', 'default', 'elsewhere']],
  ])('namespaces to %s', async (caller, names) => {
    expect(await shown(caller, '/namespaces')).toEqual(names);
  });

  it.each<[Caller, string[], string[]]>([
    ['nobody', ['nobody'], []],
    ['reader', ['reader'], ['reader']],
    ['auditor', [...USERS, 'storageos'], ['auditor', 'operator', 'other', 'reader', 'writer']],
    ['admin', [...USERS, 'storageos'], ['auditor', 'operator', 'other', 'reader', 'writer']],
  ])('users and policy groups to %s', async (caller, names, groups) => {
    expect(await shown(caller, '/users')).toEqual([...names].sort());
    expect(await shown(caller, '/policies')).toEqual(groups);
  });

  it('members of a group that the reader may see', async () => {
    const groupOf = async (caller: Caller) => {
      const { body } = await api.request('GET', '/policies', undefined, await headersOf(caller));
      return body.find(({ name }: { name: string }) => name === 'reader');
    };
    const id = users.get('reader');
    const group = await groupOf('reader');
    expect(group).toMatchObject({ users: [{ id, username: 'reader' }] });
    expect(await groupOf('admin')).toEqual(group);
    const path = `/policies/${group.id}`;
    expect((await api.request('GET', path, undefined, await headersOf('reader'))).body).toEqual(group);
    expect((await api.request('GET', path, undefined, await headersOf('writer'))).status).toBe(403);
    expect((await api.request('GET', `/users/${id}`, undefined, await headersOf('reader'))).status).toBe(200);
  });
});

it('a change of the rules counts with the next request', async () => {
  const namespace = aNamespace({ name: 'later' });
  await api.state.createNamespace(namespace);
  const path = `/namespaces/${namespace.id}/volumes`;
  const group = aPolicyGroup({
    specs: [{ namespaceID: namespace.id as NamespaceId, resourceType: '*', readOnly: true }],
  });
  await api.state.policies.create(group);
  const user = aUser({ groups: [group.id] });
  await api.state.accounts.create(user);
  const status = async () =>
    (await api.request('GET', path, undefined, { authorization: await api.tokenOf(user.id) })).status;
  expect(await status()).toBe(200);
  await api.state.policies.update(group.id, (current) => ({ ...current, specs: [] }));
  expect(await status()).toBe(403);
});
