import { z } from 'zod';
import type { User } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import type { PolicyGroupId, UserId } from '../../../core/types.js';
import type { Versioned } from '../../state/cluster-state.js';
import { MAX_GROUPS_OF_USER, MAX_USERNAME_CHARS } from '../../state/schemas.js';
import type { ApiServices } from '../context.js';
import { MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS } from '../passwords.js';
import { id, optional, versionField } from '../request.js';
import { created, done, ok, type Route, route } from '../route.js';
import { userSchema } from '../schemas/user.js';
import { userView } from '../views.js';

const password = z.string().min(MIN_PASSWORD_CHARS).max(MAX_PASSWORD_CHARS);
const groups = optional(z.array(id<PolicyGroupId>('Id of a policy group.')).max(MAX_GROUPS_OF_USER));

const creation = z.object({
  username: z.string().min(1).max(MAX_USERNAME_CHARS),
  password,
  isAdmin: optional(z.boolean()),
  groups,
});
const change = z.object({
  password: optional(password),
  isAdmin: optional(z.boolean()),
  groups,
  version: versionField,
});

const user = { description: 'The user.', body: userSchema };
const gone = { description: 'The account is gone, and its sessions with it.' };
const ended = { description: 'All sessions have ended.' };
const params = { id: id<UserId>('Id of the user.') };
const OWN_READ = { resource: 'self', action: 'read' } as const;
const OWN_WRITE = { resource: 'self', action: 'write' } as const;

async function find({ dependencies }: ApiServices, id: UserId): Promise<Versioned<User>> {
  const found = await dependencies.state.users.getOrLastSeen(id);
  if (found === undefined) throw new DomainError('not-found', `user ${id} not found`);
  return found;
}

const unique = <T>(items: readonly T[]): T[] => [...new Set(items)];

const withoutSessions = (user: User): User => ({ ...user, sessionGeneration: user.sessionGeneration + 1 });

/** Gives a user another password, which ends all sessions; the same user without one. */
async function passwordChange(
  { passwords }: ApiServices,
  text: string | undefined,
  signal: AbortSignal,
): Promise<(user: User) => User> {
  if (text === undefined) return (user) => user;
  const passwordHash = await passwords.hash(text, signal);
  return (user) => withoutSessions({ ...user, passwordHash });
}

async function endSessions({ dependencies }: ApiServices, id: UserId): Promise<void> {
  await dependencies.state.accounts.update(id, withoutSessions);
}

export const userRoutes: readonly Route[] = [
  route({
    operationId: 'createUser',
    method: 'post',
    path: '/users',
    summary: 'Make a user',
    access: { resource: 'user', action: 'write' },
    body: creation,
    responses: { 201: user },
    errors: [409],
    handler: async ({ body, signal }, services) => {
      const { state, random } = services.dependencies;
      const now = services.now();
      const made = await state.accounts.create({
        id: random.uuid() as UserId,
        username: body.username,
        passwordHash: await services.passwords.hash(body.password, signal),
        isAdmin: body.isAdmin ?? false,
        groups: unique(body.groups ?? []),
        sessionGeneration: 0,
        createdAt: now,
        updatedAt: now,
      });
      return created(userView(made));
    },
  }),

  route({
    operationId: 'listUsers',
    method: 'get',
    path: '/users',
    summary: 'The users that the caller may see: all, or itself',
    access: { resource: 'user', action: 'read', listed: true },
    responses: { 200: { description: 'The users.', body: z.array(userSchema) } },
    handler: async ({ may }, { dependencies }) => {
      const all = await dependencies.state.users.listOrLastSeen();
      const seen = all.filter(({ value }) => may({ resource: 'user', action: 'read', item: value.id }));
      return ok(seen.map(userView));
    },
  }),

  route({
    operationId: 'getAuthenticatedUser',
    method: 'get',
    path: '/users/self',
    summary: 'The caller',
    access: OWN_READ,
    responses: { 200: user },
    errors: [404],
    handler: async (call, services) => ok(userView(await find(services, call.user.id))),
  }),

  route({
    operationId: 'updateAuthenticatedUser',
    method: 'put',
    path: '/users/self',
    summary: "Change the caller's password",
    access: OWN_WRITE,
    versioned: 'body',
    body: z.object({ password: optional(password), version: versionField }),
    responses: { 200: user },
    errors: [404],
    handler: async (call, services) => {
      const changed = await passwordChange(services, call.body.password, call.signal);
      const updatedAt = services.now();
      const updated = await services.dependencies.state.accounts.update(
        call.user.id,
        (current) => ({ ...changed(current), updatedAt }),
        call.expectedVersion,
      );
      return ok(userView(updated));
    },
  }),

  route({
    operationId: 'deleteAuthenticatedUser',
    method: 'delete',
    path: '/users/self',
    summary: "Remove the caller's account",
    access: OWN_WRITE,
    versioned: 'query',
    responses: { 200: gone },
    errors: [404, 409],
    handler: async (call, services) => {
      await services.dependencies.state.accounts.remove(call.user.id, call.expectedVersion);
      return done;
    },
  }),

  route({
    operationId: 'deleteAuthenticatedUserSessions',
    method: 'delete',
    path: '/users/self/sessions',
    summary: 'End all sessions of the caller',
    access: OWN_WRITE,
    responses: { 200: ended },
    errors: [404, 412],
    handler: async (call, services) => {
      await endSessions(services, call.user.id);
      return done;
    },
  }),

  route({
    operationId: 'getUser',
    method: 'get',
    path: '/users/{id}',
    summary: 'A user',
    access: { resource: 'user', action: 'read' },
    params,
    responses: { 200: user },
    handler: async ({ params }, services) => ok(userView(await find(services, params.id))),
  }),

  route({
    operationId: 'updateUser',
    method: 'put',
    path: '/users/{id}',
    summary: "Change another user's password, rights and groups",
    access: { resource: 'user', action: 'write' },
    params,
    versioned: 'body',
    body: change,
    responses: { 200: user },
    errors: [409],
    handler: async ({ params, body, expectedVersion, signal }, services) => {
      const changed = await passwordChange(services, body.password, signal);
      const updatedAt = services.now();
      const { isAdmin = false, groups = [] } = body;
      const updated = await services.dependencies.state.accounts.update(
        params.id,
        (current) => ({ ...changed(current), isAdmin, groups: unique(groups), updatedAt }),
        expectedVersion,
      );
      return ok(userView(updated));
    },
  }),

  route({
    operationId: 'deleteUser',
    method: 'delete',
    path: '/users/{id}',
    summary: 'Remove a user',
    access: { resource: 'user', action: 'write' },
    params,
    versioned: 'query',
    responses: { 200: gone },
    errors: [409],
    handler: async ({ params, expectedVersion }, { dependencies: { state } }) => {
      await state.accounts.remove(params.id, expectedVersion);
      return done;
    },
  }),

  route({
    operationId: 'deleteSessions',
    method: 'delete',
    path: '/users/{id}/sessions',
    summary: 'End all sessions of a user',
    access: { resource: 'user', action: 'write' },
    params,
    responses: { 200: ended },
    errors: [412],
    handler: async ({ params }, services) => {
      await endSessions(services, params.id);
      return done;
    },
  }),
];
