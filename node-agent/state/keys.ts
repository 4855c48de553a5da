/** The key layout in etcd, below the cluster's prefix (docs/ARCHITECTURE.md, "State in etcd"). */

export const KINDS = [
  'volumes',
  'memberships',
  'attachments',
  'nodes',
  'liveness',
  'namespaces',
  'users',
  'policies',
  'tombstones',
  'disks',
  'closed',
] as const;

export type Kind = (typeof KINDS)[number];

export const CLUSTER_KEY = 'cluster';
/** Written by every change that rests on what accounts there are; see accounts.ts. */
export const ACCOUNTS_KEY = 'accounts';
/** The sum of all volumes' sizes; see volume-records.ts. */
export const PROVISIONED_KEY = 'provisioned';

/** Who copies, or waits for its turn to; see cluster-slots.ts. */
export const SYNC_SLOTS_PREFIX = 'syncs/';

export function objectKey(kind: Kind, id: string): string {
  return `${kind}/${id}`;
}

/** Kinds whose objects have a name that is unique within a scope. */
export type NamedKind = 'volumes' | 'nodes' | 'namespaces' | 'users' | 'policies';

/** Scope of names that are unique in the whole cluster. */
export const CLUSTER_SCOPE = '-';

/** Its value is the id of the object that has the name. */
export function nameKey(kind: NamedKind, scope: string, name: string): string {
  return `names/${kind}/${scope}/${encodeURIComponent(name)}`;
}

/** Prefix of all names of a scope. */
export function nameScope(kind: NamedKind, scope: string): string {
  return `names/${kind}/${scope}/`;
}

/** Kind and id of an object's key; undefined for keys that hold no object. */
export function parseKey(key: string): { kind: Kind; id: string } | undefined {
  const slash = key.indexOf('/');
  const kind = KINDS.find((candidate) => candidate === key.slice(0, slash));
  return kind === undefined ? undefined : { kind, id: key.slice(slash + 1) };
}

/** The least string greater than every string that begins with `prefix` (ASCII). */
export function prefixEnd(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}
