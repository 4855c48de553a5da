/** Whose request it is. */

import type { User } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { Versioned } from '../state/cluster-state.js';
import type { ApiServices } from './context.js';
import type { ApiContext } from './request.js';

/** The token with or without the word "Bearer" before it. */
function bearer(c: ApiContext): string {
  const text = c.req.header('authorization')?.trim() ?? '';
  return text.replace(/^bearer +/i, '');
}

/** The user whose valid token the request carries. Errors: 'unauthenticated'. */
export async function authenticate(services: ApiServices, c: ApiContext): Promise<Versioned<User>> {
  const token = bearer(c);
  if (token === '') throw new DomainError('unauthenticated', 'authentication required');
  const { user: id, generation } = await services.tokens.verify(token, Date.parse(services.now()));
  const user = await services.dependencies.state.users.getOrLastSeen(id);
  if (user === undefined || generation !== user.value.sessionGeneration) {
    throw new DomainError('unauthenticated', 'authentication required');
  }
  return user;
}
