import type { Hono } from 'hono';
import { z } from 'zod';
import type { User } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import type { Versioned } from '../../state/cluster-state.js';
import { MAX_USERNAME_CHARS } from '../../state/schemas.js';
import type { ApiServices } from '../context.js';
import { MAX_PASSWORD_CHARS } from '../passwords.js';
import { type ApiContext, type ApiEnvironment, readBody } from '../request.js';
import { SESSION_SECONDS } from '../tokens.js';
import { userView } from '../views.js';

const credentials = z.object({
  username: z.string().min(1).max(MAX_USERNAME_CHARS),
  password: z.string().min(1).max(MAX_PASSWORD_CHARS),
});

/**
 * The token is in the body and in the header, whose form some clients split at the space; both names that
 * clients know for the header with its life are sent.
 */
async function session(services: ApiServices, c: ApiContext, user: Versioned<User>): Promise<Response> {
  const token = await services.tokens.issue(user.value, Date.parse(services.now()));
  c.header('Authorization', `Bearer ${token}`);
  c.header('Authorization-Expires-Seconds', String(SESSION_SECONDS));
  c.header('Authorization-Expires-In', String(SESSION_SECONDS));
  return c.json({ ...userView(user), session: { expiresInSeconds: SESSION_SECONDS, token } });
}

/** The token with or without the word "Bearer" before it. */
function bearer(c: ApiContext): string {
  const text = c.req.header('authorization')?.trim() ?? '';
  return text.replace(/^bearer +/i, '');
}

/** The user whose valid token the request carries. Errors: 'unauthenticated'. */
export async function authenticate(services: ApiServices, c: ApiContext): Promise<Versioned<User>> {
  const token = bearer(c);
  if (token === '') throw new DomainError('unauthenticated', 'authentication required');
  const { user: id, issuedAtMs } = await services.tokens.verify(token, Date.parse(services.now()));
  const user = await services.dependencies.state.users.getOrLastSeen(id);
  if (user === undefined || issuedAtMs < Date.parse(user.value.sessionsValidFrom)) {
    throw new DomainError('unauthenticated', 'authentication required');
  }
  return user;
}

export function authRoutes(app: Hono<ApiEnvironment>, services: ApiServices): void {
  const { users } = services.dependencies.state;

  app.post('/auth/login', async (c) => {
    const { username, password } = await readBody(c, credentials);
    const named = [...users.cached.values()].find(({ value }) => value.username === username);
    // The watch may be behind a creation or a change of the password.
    const user = named === undefined ? await users.findByName(username) : await users.getOrLastSeen(named.value.id);
    if (!(await services.passwords.verify(user?.value.passwordHash, password)) || user === undefined) {
      throw new DomainError('unauthenticated', 'unknown user or wrong password');
    }
    return session(services, c, user);
  });

  app.post('/auth/refresh', async (c) => session(services, c, await authenticate(services, c)));
}
