/** What endpoints say about who may call them, and the one place where that is enforced. The rules: core/access.ts. */

import { type AccessRequest, type Action, type Caller, callerOf, mayAccess, type Resource } from '../../core/access.js';
import type { Namespace, User } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { NamespaceId } from '../../core/types.js';
import type { ClusterState, Versioned } from '../state/cluster-state.js';

export type Access = 'public' | Restricted;

/** `public`: without login. */
export interface Restricted {
  readonly resource: Resource;
  readonly action: Action;
  /** Within the namespace of the path, or that namespace itself. */
  readonly namespaced?: true;
  /** A list that every login may ask for; its handler shows what `call.may` allows. */
  readonly listed?: true;
}

/** Whether the endpoint changes what etcd holds. */
export function isChange(access: Access): boolean {
  return access !== 'public' && access.action === 'write';
}

/** The user with what policies say at this moment; what was last seen of them while etcd does not answer. */
export async function resolveCaller({ policies }: Pick<ClusterState, 'policies'>, user: User): Promise<Caller> {
  // Nothing that a policy says counts for administrators.
  if (user.isAdmin || user.groups.length === 0) return { user, specs: [] };
  const known = new Map((await policies.listOrLastSeen()).map(({ value }) => [value.id, value]));
  return callerOf(user, (id) => known.get(id));
}

/**
 * Lets the request pass, with the namespace of its path if the endpoint is namespaced.
 * Errors: 'forbidden'; 'not-found' if there is no such namespace.
 */
export async function authorise(
  { namespaces }: Pick<ClusterState, 'namespaces'>,
  caller: Caller,
  access: Restricted,
  params: Readonly<Record<string, unknown>>,
): Promise<Versioned<Namespace> | undefined> {
  const { resource, action, namespaced, listed } = access;
  const item = typeof params.id === 'string' ? params.id : undefined;
  let namespace: Versioned<Namespace> | undefined;
  if (namespaced) {
    const id = (resource === 'namespace' ? params.id : params.namespaceID) as NamespaceId;
    namespace = await namespaces.getOrLastSeen(id);
    if (namespace === undefined) throw new DomainError('not-found', `namespace ${id} not found`);
  }
  const request: AccessRequest = { resource, action, namespace: namespace?.value, item };
  if (!listed && !mayAccess(caller, request)) throw new DomainError('forbidden', 'unauthorised');
  if (resource === 'user' && action === 'write' && item === caller.user.id) {
    throw new DomainError('forbidden', 'use /users/self to change your own account');
  }
  return namespace;
}
