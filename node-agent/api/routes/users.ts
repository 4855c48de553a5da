import type { Hono } from 'hono';
import { z } from 'zod';
import type { User } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import type { UserId } from '../../../core/types.js';
import type { Versioned } from '../../state/cluster-state.js';
import { MAX_USERNAME_CHARS } from '../../state/schemas.js';
import { requireAdmin } from '../access.js';
import type { ApiServices } from '../context.js';
import { MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS } from '../passwords.js';
import {
  type ApiEnvironment,
  expectedVersion,
  noContent,
  optional,
  pathId,
  readBody,
  versionField,
} from '../request.js';
import { userView } from '../views.js';

const password = z.string().min(MIN_PASSWORD_CHARS).max(MAX_PASSWORD_CHARS);
const groups = optional(z.array(z.string().min(1).max(253)).max(1000));

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
const ownChange = z.object({ password: optional(password), version: versionField });

export function userRoutes(app: Hono<ApiEnvironment>, services: ApiServices): void {
  const { state, random } = services.dependencies;

  async function find(id: UserId): Promise<Versioned<User>> {
    const found = await state.users.getOrLastSeen(id);
    if (found === undefined) throw new DomainError('not-found', `user ${id} not found`);
    return found;
  }

  /** A new password ends the user's sessions. */
  async function withPassword(text: string | undefined): Promise<Partial<User>> {
    if (text === undefined) return {};
    return { passwordHash: await services.passwords.hash(text), sessionsValidFrom: services.now() };
  }

  /** The last administrator stays. */
  function keepAnAdministrator(id: UserId): void {
    const others = [...state.users.cached.values()].some(({ value }) => value.isAdmin && value.id !== id);
    if (!others) throw new DomainError('in-use', 'the last administrator can be neither deleted nor demoted');
  }

  async function remove(user: User, version: string | undefined): Promise<void> {
    if (user.isAdmin) keepAnAdministrator(user.id);
    await state.users.remove(user.id, version);
  }

  app.post('/users', async (c) => {
    requireAdmin(c.get('user'));
    const body = await readBody(c, creation);
    const now = services.now();
    const created = await state.users.create({
      id: random.uuid() as UserId,
      username: body.username,
      passwordHash: await services.passwords.hash(body.password),
      isAdmin: body.isAdmin ?? false,
      groups: body.groups ?? [],
      sessionsValidFrom: now,
      createdAt: now,
      updatedAt: now,
    });
    return c.json(userView(created), 201);
  });

  app.get('/users', async (c) => {
    const user = c.get('user');
    const all = await state.users.listOrLastSeen();
    return c.json(all.filter(({ value }) => user.isAdmin || value.id === user.id).map(userView));
  });

  app.get('/users/self', async (c) => c.json(userView(await find(c.get('user').id))));

  app.put('/users/self', async (c) => {
    const body = await readBody(c, ownChange);
    const version = expectedVersion(c, body.version);
    const patch = await withPassword(body.password);
    const updatedAt = services.now();
    const { id } = c.get('user');
    return c.json(userView(await state.users.update(id, (user) => ({ ...user, ...patch, updatedAt }), version)));
  });

  app.delete('/users/self', async (c) => {
    await remove(c.get('user'), expectedVersion(c, c.req.query('version')));
    return noContent(c);
  });

  const endSessions = (id: UserId) =>
    state.users.update(id, (user) => ({ ...user, sessionsValidFrom: services.now() }));

  app.delete('/users/self/sessions', async (c) => {
    await endSessions(c.get('user').id);
    return noContent(c);
  });

  app.get('/users/:id', async (c) => {
    const id = pathId<UserId>(c, 'id');
    if (id !== c.get('user').id) requireAdmin(c.get('user'));
    return c.json(userView(await find(id)));
  });

  app.put('/users/:id', async (c) => {
    requireAdmin(c.get('user'));
    const id = pathId<UserId>(c, 'id');
    if (id === c.get('user').id) throw new DomainError('forbidden', 'use /users/self to change your own account');
    const body = await readBody(c, change);
    const version = expectedVersion(c, body.version);
    const patch = await withPassword(body.password);
    const updatedAt = services.now();
    const isAdmin = body.isAdmin ?? false;
    const updated = await state.users.update(
      id,
      (user) => ({ ...user, ...patch, isAdmin, groups: body.groups ?? [], updatedAt }),
      version,
    );
    return c.json(userView(updated));
  });

  app.delete('/users/:id', async (c) => {
    requireAdmin(c.get('user'));
    const version = expectedVersion(c, c.req.query('version'));
    const { value } = await state.users.require(pathId<UserId>(c, 'id'));
    await remove(value, version);
    return noContent(c);
  });

  app.delete('/users/:id/sessions', async (c) => {
    requireAdmin(c.get('user'));
    await endSessions(pathId<UserId>(c, 'id'));
    return noContent(c);
  });
}
