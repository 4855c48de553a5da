/**
 * Who may do what. Administrators may do everything; what everybody else may do follows from the policy groups
 * that they are members of (docs/internals/access.md). Pure: `node-agent/api/access.ts` asks before an endpoint's
 * handler runs, and nobody else decides.
 */

import type { PolicyGroup, PolicySpec, User } from './domain.js';
import type { NamespaceId, PolicyGroupId } from './types.js';

/** Where users without any policy may do everything; no policy can name it. */
export const DEFAULT_NAMESPACE = 'default';
/** In a policy: every namespace, or every type of resource. */
export const ANY = '*';

/** What policies are about. */
export const RESOURCE_TYPES = ['cluster', 'namespace', 'node', 'policy', 'user', 'volume'] as const;
export type ResourceType = (typeof RESOURCE_TYPES)[number];

/** What an endpoint is about. `self`: the caller's own account and session. */
export type Resource = ResourceType | 'diagnostics' | 'licence' | 'pool' | 'self';
export type Action = 'read' | 'write';

/** The type by which policies cover a resource; undefined: no policy gives it. */
const TYPE = {
  cluster: 'cluster',
  diagnostics: undefined,
  licence: 'cluster',
  namespace: 'namespace',
  node: 'node',
  policy: 'policy',
  pool: 'node',
  self: undefined,
  user: 'user',
  volume: 'volume',
} as const satisfies Readonly<Record<Resource, ResourceType | undefined>>;

/** One thing that somebody wants to do. */
export interface AccessRequest {
  readonly resource: Resource;
  readonly action: Action;
  /** The namespace in which, or which; none: the whole cluster. */
  readonly namespace?: { readonly id: NamespaceId; readonly name: string } | undefined;
  /** Id of a user or of a policy group. */
  readonly item?: string | undefined;
}

/** Somebody who is logged in, with what policies say about them. */
export interface Caller {
  readonly user: User;
  readonly specs: readonly PolicySpec[];
}

/** `group` says what is known of a policy group; one that is gone gives nothing. */
export function callerOf(user: User, group: (id: PolicyGroupId) => PolicyGroup | undefined): Caller {
  return { user, specs: user.groups.flatMap((id) => group(id)?.specs ?? []) };
}

/** What every client needs in order to show anything at all: names of nodes, version and room of the cluster. */
const OPEN_TO_READERS: ReadonlySet<Resource> = new Set(['cluster', 'licence', 'node', 'pool']);

export function mayAccess({ user, specs }: Caller, request: AccessRequest): boolean {
  const { resource, action, namespace, item } = request;
  if (user.isAdmin || resource === 'self') return true;
  if (action === 'read' && OPEN_TO_READERS.has(resource)) return true;
  // Who may change users or policies could make itself an administrator.
  if (action === 'write' && (resource === 'user' || resource === 'policy')) return false;
  if (resource === 'user' && item === user.id) return true;
  if (resource === 'policy' && user.groups.some((id) => id === item)) return true;
  const type = TYPE[resource];
  if (type === undefined) return false;
  if (specs.length === 0) return namespace?.name === DEFAULT_NAMESPACE;
  return specs.some(
    (spec) =>
      (spec.namespaceID === ANY || spec.namespaceID === namespace?.id) &&
      (action === 'read' || !spec.readOnly) &&
      (spec.resourceType === ANY || spec.resourceType === type || isSightOfNamespace(request)),
  );
}

/** Whoever may use anything in a namespace may see the namespace itself. */
function isSightOfNamespace({ resource, action, namespace }: AccessRequest): boolean {
  return resource === 'namespace' && action === 'read' && namespace !== undefined;
}
