/** Who may do what; every endpoint says what it needs, and is asked for here and nowhere else. */

import type { Namespace, User } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { NamespaceId } from '../../core/types.js';
import type { Versioned } from '../state/cluster-state.js';
import type { ApiServices } from './context.js';

export const DEFAULT_NAMESPACE = 'default';

/** What an endpoint is about. `self`: the caller's own account and session. */
export type Resource =
  | 'cluster'
  | 'diagnostics'
  | 'licence'
  | 'namespace'
  | 'node'
  | 'policy'
  | 'pool'
  | 'self'
  | 'user'
  | 'volume';

/** `public`: without login. `namespaced`: within the namespace of the path. */
export type Access =
  | 'public'
  | { readonly resource: Resource; readonly action: 'read' | 'write'; readonly namespaced?: true };

/** Whether the endpoint changes what etcd holds. */
export function isChange(access: Access): boolean {
  return access !== 'public' && access.action === 'write';
}

/** Users without administrator's rights may work in the default namespace. */
export function mayUseNamespace(user: User, namespace: Namespace): boolean {
  return user.isAdmin || namespace.name === DEFAULT_NAMESPACE;
}

/** The parameter of the path that names the namespace of a namespaced endpoint. */
function namespaceId(access: Access, params: Readonly<Record<string, unknown>>): NamespaceId {
  const isItself = access !== 'public' && access.resource === 'namespace';
  return (isItself ? params.id : params.namespaceID) as NamespaceId;
}

/**
 * Lets the request pass, with the namespace of its path if the endpoint is namespaced.
 * Errors: 'forbidden'; 'not-found' if there is no such namespace.
 */
export async function authorise(
  services: ApiServices,
  user: User,
  access: Exclude<Access, 'public'>,
  params: Readonly<Record<string, unknown>>,
): Promise<Versioned<Namespace> | undefined> {
  const { resource, action, namespaced } = access;
  const open = resource === 'self' || resource === 'volume' || (action === 'read' && resource !== 'diagnostics');
  const ofAnother = resource === 'user' && params.id !== undefined && params.id !== user.id;
  if ((!open || ofAnother) && !user.isAdmin) throw new DomainError('forbidden', 'unauthorised');
  if (!namespaced) return undefined;
  const id = namespaceId(access, params);
  const found = await services.dependencies.state.namespaces.getOrLastSeen(id);
  if (found === undefined) throw new DomainError('not-found', `namespace ${id} not found`);
  if (!mayUseNamespace(user, found.value)) throw new DomainError('forbidden', 'unauthorised');
  return found;
}
