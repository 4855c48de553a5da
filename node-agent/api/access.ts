/** Who may do what; every endpoint asks here and nowhere else. */

import type { Namespace, User } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';

export const DEFAULT_NAMESPACE = 'default';

/** Users without administrator's rights may work in the default namespace. */
export function mayUseNamespace(user: User, namespace: Namespace): boolean {
  return user.isAdmin || namespace.name === DEFAULT_NAMESPACE;
}

/** Errors: 'forbidden'. */
export function requireNamespace(user: User, namespace: Namespace): void {
  if (!mayUseNamespace(user, namespace)) throw new DomainError('forbidden', 'unauthorised');
}

/** Users, nodes, namespaces and the cluster are changed by administrators. Errors: 'forbidden'. */
export function requireAdmin(user: User): void {
  if (!user.isAdmin) throw new DomainError('forbidden', 'unauthorised');
}
