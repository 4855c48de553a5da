import { describe, expect, it } from 'vitest';
import { type AccessRequest, callerOf, mayAccess, type Resource } from '../../../core/access.js';
import type { PolicyGroup, PolicySpec } from '../../../core/domain.js';
import type { NamespaceId, PolicyGroupId } from '../../../core/types.js';
import { aUser } from '../../setup/records.js';

const HOME = { id: '00000000-0000-4000-8000-000000000001' as NamespaceId, name: 'default' };
const APPS = { id: '00000000-0000-4000-8000-000000000002' as NamespaceId, name: 'apps' };
const OTHER = { id: '00000000-0000-4000-8000-000000000003' as NamespaceId, name: 'other' };
const GROUP = '00000000-0000-4000-8000-000000000004' as PolicyGroupId;

const spec = (namespaceID: PolicySpec['namespaceID'], resourceType: PolicySpec['resourceType'], readOnly = false) => ({
  namespaceID,
  resourceType,
  readOnly,
});

function callerWith(...specs: PolicySpec[]) {
  const group: PolicyGroup = { id: GROUP, name: 'g', specs, createdAt: '', updatedAt: '' };
  return callerOf(aUser({ groups: [GROUP] }), (id) => (id === GROUP ? group : undefined));
}

const EVERYTHING: readonly AccessRequest[] = (
  [
    'cluster',
    'diagnostics',
    'licence',
    'namespace',
    'node',
    'policy',
    'pool',
    'self',
    'user',
    'volume',
  ] satisfies Resource[]
).flatMap((resource) =>
  (['read', 'write'] as const).flatMap((action) =>
    [undefined, HOME, APPS, OTHER].map((namespace) => ({ resource, action, namespace })),
  ),
);
const brief = ({ resource, action, namespace }: AccessRequest) =>
  `${action} ${resource}${namespace === undefined ? '' : ` ${namespace.name}`}`;
const allowed = (specs: readonly PolicySpec[]) =>
  EVERYTHING.filter((request) => mayAccess(callerWith(...specs), request)).map(brief);

/** What nobody is denied, whatever policies say. */
const ALWAYS = EVERYTHING.filter(
  ({ resource, action }) =>
    resource === 'self' || (action === 'read' && ['cluster', 'licence', 'node', 'pool'].includes(resource)),
).map(brief);
const beyond = (specs: readonly PolicySpec[]) => allowed(specs).filter((text) => !ALWAYS.includes(text));

describe('what a caller may do', () => {
  it('administrators: everything', () => {
    const admin = { user: aUser({ isAdmin: true }), specs: [] };
    expect(EVERYTHING.filter((request) => !mayAccess(admin, request))).toEqual([]);
  });

  it('without a policy: everything that belongs to the default namespace', () => {
    expect(allowed([])).toEqual(expect.arrayContaining(ALWAYS));
    expect(beyond([]).filter((text) => !text.endsWith(' default'))).toEqual([]);
    expect(beyond([])).toEqual(expect.arrayContaining(['read volume default', 'write volume default']));
  });

  it('no policy opens diagnostics or the writing of users and policies', () => {
    const all = beyond([spec('*', '*')]);
    expect(all).toContain('write node');
    expect(all).toContain('read user');
    for (const denied of ['read diagnostics', 'write diagnostics', 'write user', 'write policy']) {
      expect(all.filter((text) => text.startsWith(denied))).toEqual([]);
    }
  });

  it.each<[string, PolicySpec[], string[]]>([
    [
      'volumes of one namespace',
      [spec(APPS.id, 'volume')],
      ['read namespace apps', 'read volume apps', 'write volume apps'],
    ],
    ['volumes of one namespace, reading', [spec(APPS.id, 'volume', true)], ['read namespace apps', 'read volume apps']],
    [
      'all of one namespace',
      [spec(APPS.id, '*')],
      [
        'read namespace apps',
        'write namespace apps',
        'read policy apps',
        'write cluster apps',
        'write licence apps',
        'write node apps',
        'write pool apps',
        'read user apps',
        'read volume apps',
        'write volume apps',
      ],
    ],
    [
      'volumes everywhere, reading',
      [spec('*', 'volume', true)],
      [
        ...['default', 'apps', 'other'].map((name) => `read namespace ${name}`),
        ...['', ' default', ' apps', ' other'].map((name) => `read volume${name}`),
      ],
    ],
    [
      'a type that belongs to no namespace, in one',
      [spec(APPS.id, 'user', true)],
      ['read namespace apps', 'read user apps'],
    ],
    [
      'the most generous of several counts',
      [spec(APPS.id, 'volume', true), spec(APPS.id, 'volume')],
      ['read namespace apps', 'read volume apps', 'write volume apps'],
    ],
  ])('%s', (_, specs, expected) => {
    expect([...beyond(specs)].sort()).toEqual([...expected].sort());
  });

  it('one sees oneself and the groups that one is in', () => {
    const caller = callerWith(spec(APPS.id, 'volume'));
    const reads = (resource: Resource, item: string) => mayAccess(caller, { resource, action: 'read', item });
    expect([reads('user', caller.user.id), reads('user', aUser().id)]).toEqual([true, false]);
    expect([reads('policy', GROUP), reads('policy', aUser().id)]).toEqual([true, false]);
    expect(mayAccess(caller, { resource: 'user', action: 'write', item: caller.user.id })).toBe(false);
  });

  it('a group that is gone, or empty, leaves one as if without a policy', () => {
    const gone = callerOf(aUser({ groups: [GROUP] }), () => undefined);
    for (const caller of [gone, callerWith()]) {
      expect(mayAccess(caller, { resource: 'volume', action: 'write', namespace: HOME })).toBe(true);
      expect(mayAccess(caller, { resource: 'volume', action: 'read', namespace: APPS })).toBe(false);
    }
  });
});
