import { z } from 'zod';
import type { User } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import type { Versioned } from '../../state/cluster-state.js';
import { MAX_USERNAME_CHARS } from '../../state/schemas.js';
import type { ApiServices } from '../context.js';
import { MAX_PASSWORD_CHARS } from '../passwords.js';
import { type Route, route } from '../route.js';
import { userSessionSchema } from '../schemas/user.js';
import { SESSION_SECONDS } from '../tokens.js';
import { userView } from '../views.js';

const credentials = z.object({
  username: z.string().min(1).max(MAX_USERNAME_CHARS),
  password: z.string().min(1).max(MAX_PASSWORD_CHARS),
});

const sessionBegun = {
  description: 'The user, and a token in the body and in the headers.',
  body: userSessionSchema,
  headers: {
    Authorization: '`Bearer`, a space, and the token.',
    'Authorization-Expires-Seconds': 'Life of the token in seconds.',
    'Authorization-Expires-In': 'The same under another name.',
  },
};

/**
 * The token is in the body and in the header, whose form some clients split at the space; both names that
 * clients know for the header with its life are sent.
 */
async function session(services: ApiServices, user: Versioned<User>) {
  const token = await services.tokens.issue(user.value, Date.parse(services.now()));
  const seconds = String(SESSION_SECONDS);
  return {
    status: 200,
    headers: {
      Authorization: `Bearer ${token}`,
      'Authorization-Expires-Seconds': seconds,
      'Authorization-Expires-In': seconds,
    },
    body: { ...userView(user), session: { expiresInSeconds: SESSION_SECONDS, token } },
  } as const;
}

/** The user, if the password is right. An unknown name takes as long as a wrong password. */
async function verified(
  { dependencies, passwords }: ApiServices,
  username: string,
  password: string,
  signal: AbortSignal,
): Promise<Versioned<User> | undefined> {
  const { users, reachable } = dependencies.state;
  const named = [...users.cached.values()].find(({ value }) => value.username === username);
  let user: Versioned<User> | undefined;
  // The watch may be behind a creation or a change of the password.
  if (named !== undefined) user = await users.getOrLastSeen(named.value.id);
  else if (reachable) user = await users.findByName(username);
  return (await passwords.verify(user?.value.passwordHash, password, signal)) ? user : undefined;
}

export const authRoutes: readonly Route[] = [
  route({
    operationId: 'authenticateUser',
    method: 'post',
    path: '/auth/login',
    summary: 'Begin a session',
    access: 'public',
    body: credentials,
    responses: { 200: sessionBegun },
    errors: [401, 429, 503],
    handler: async ({ body, remoteAddress, signal, requestId }, services) => {
      const { username, password } = body;
      const attempt = services.logins.admit(username, remoteAddress);
      const user = await verified(services, username, password, signal).catch((error) => {
        attempt.abandoned();
        throw error;
      });
      if (user === undefined) {
        // Without the name: people type passwords where names belong.
        services.dependencies.logger.warn({ requestId, address: remoteAddress }, 'login refused');
        throw new DomainError('unauthenticated', 'unknown user or wrong password');
      }
      attempt.succeeded();
      return session(services, user);
    },
  }),

  route({
    operationId: 'refreshJwt',
    method: 'post',
    path: '/auth/refresh',
    summary: 'Get another token for a session that has not expired',
    access: { resource: 'self', action: 'read' },
    responses: { 200: sessionBegun },
    handler: async ({ user }, services) => {
      const found = await services.dependencies.state.users.getOrLastSeen(user.id);
      // Sessions that ended since the token was looked at must not live on in a new one.
      if (found?.value.sessionGeneration !== user.sessionGeneration) {
        throw new DomainError('unauthenticated', 'authentication required');
      }
      return session(services, found);
    },
  }),
];
