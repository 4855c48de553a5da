import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose';
import { describe, expect, it, vi } from 'vitest';
import { LoginGuard, NAME_LIMITS } from '../../../node-agent/api/login-guard.js';
import { KEY_SECONDS, SESSION_SECONDS, TokenService } from '../../../node-agent/api/tokens.js';
import { systemRandom } from '../../../node-agent/clock.js';
import { deriveKey } from '../../../node-agent/keys/index.js';
import { aUser } from '../../setup/records.js';
import { ADMIN, type Fixture, SECRET } from './fixture.js';
import { useApi } from './use-api.js';

const NOW = Date.parse('2026-01-02T03:59:58Z');
const user = aUser({ sessionGeneration: 3 });
const service = new TokenService(SECRET, systemRandom);
const refused = { code: 'unauthenticated', message: 'authentication required' };

describe('tokens', () => {
  it('say who, under which generation, and until when; no more', async () => {
    const payload = decodeJwt(await service.issue(user, NOW));
    expect(payload).toEqual({
      sub: user.id,
      iss: 'storageos',
      gen: 3,
      iat: NOW / 1000,
      exp: NOW / 1000 + SESSION_SECONDS,
      jti: expect.any(String),
    });
    expect(await service.verify(await service.issue(user, NOW), NOW)).toEqual({ user: user.id, generation: 3 });
  });

  it('are valid for five minutes, also when the key changes within them', async () => {
    const token = await service.issue(user, NOW);
    const later = new TokenService(SECRET, systemRandom);
    expect(decodeProtectedHeader(await later.issue(user, NOW + 60_000)).kid).not.toBe(decodeProtectedHeader(token).kid);
    await later.verify(token, NOW + SESSION_SECONDS * 1000 - 1);
    await expect(later.verify(token, NOW + SESSION_SECONDS * 1000)).rejects.toMatchObject(refused);
  });

  it('are signed with another key every hour, and a key is refused two hours later whatever the token says', async () => {
    const [, payload, signature] = (await service.issue(user, NOW)).split('.');
    const { kid } = decodeProtectedHeader(await service.issue(user, NOW + KEY_SECONDS * 1000));
    const header = Buffer.from(JSON.stringify({ alg: 'HS256', typ: 'JWT', kid })).toString('base64url');
    await expect(service.verify(`${header}.${payload}.${signature}`, NOW)).rejects.toMatchObject(refused);
    // Who has got hold of a key can sign what they like, but not for longer than that.
    const key = deriveKey(SECRET, `api session tokens ${Math.floor(NOW / 1000 / KEY_SECONDS)}`);
    const forged = await new SignJWT({ sub: user.id, iss: 'storageos', gen: 3, iat: 0, exp: NOW })
      .setProtectedHeader({ alg: 'HS256', kid: String(Math.floor(NOW / 1000 / KEY_SECONDS)) })
      .sign(key);
    await service.verify(forged, NOW);
    for (const hours of [2, 24]) {
      await expect(service.verify(forged, NOW + hours * KEY_SECONDS * 1000)).rejects.toMatchObject(refused);
    }
  });

  it.each(['', 'a', 'a.b.c', '-1', '1e9', '99999999999'])('a key named "%s" is none', async (kid) => {
    const [, payload, signature] = (await service.issue(user, NOW)).split('.');
    const header = Buffer.from(JSON.stringify({ alg: 'HS256', typ: 'JWT', kid })).toString('base64url');
    await expect(service.verify(`${header}.${payload}.${signature}`, NOW)).rejects.toMatchObject(refused);
  });

  it('of another cluster, or changed, are refused', async () => {
    const other = new TokenService(new Uint8Array(32).fill(9), systemRandom);
    await expect(service.verify(await other.issue(user, NOW), NOW)).rejects.toMatchObject(refused);
    const [header, payload = '', signature] = (await service.issue(user, NOW)).split('.');
    const claims = { ...JSON.parse(Buffer.from(payload, 'base64url').toString()), sub: aUser().id };
    const changed = Buffer.from(JSON.stringify(claims)).toString('base64url');
    await expect(service.verify(`${header}.${changed}.${signature}`, NOW)).rejects.toMatchObject(refused);
  });
});

describe('sessions', () => {
  let api: Fixture;

  useApi('test', (given) => {
    api = given;
  });

  const self = async (token: string) =>
    (await api.request('GET', '/users/self', undefined, { authorization: token })).status;
  const refresh = async (token: string) =>
    (await api.request('POST', '/auth/refresh', undefined, { authorization: token })).status;

  it.each<[string, (id: string, version: string) => [string, string, unknown?]]>([
    ['ending them', (id) => ['DELETE', `/users/${id}/sessions`]],
    ['another password', (id, version) => ['PUT', `/users/${id}`, { password: 'another one', version }]],
    ['deleting the user', (id, version) => ['DELETE', `/users/${id}?version=${version}`]],
  ])('end with %s, all of them, whichever node issued them', async (_, call) => {
    const made = (await api.request('POST', '/users', { username: 'eva', password: 'long enough' })).body;
    const tokens = await Promise.all([api.tokenOf(made.id), api.tokenOf(made.id)]);
    // A node whose clock is ahead issues tokens that seem to be younger than the end of the sessions.
    tokens.push(await service.issue((await api.state.users.require(made.id)).value, Date.now() + 60_000));
    for (const token of tokens) expect(await self(token)).toBe(200);
    const [method, path, body] = call(made.id, made.version);
    expect((await api.request(method, path, body)).status).toBe(200);
    for (const token of tokens) expect([await self(token), await refresh(token)]).toEqual([401, 401]);
  });

  it('that end while one of them is being refreshed do not live on in the new token', async () => {
    const made = (await api.request('POST', '/users', { username: 'eva', password: 'long enough' })).body;
    const token = await api.tokenOf(made.id);
    const { users } = api.state;
    const read = users.getOrLastSeen.bind(users);
    const reading = vi.spyOn(users, 'getOrLastSeen').mockImplementationOnce(async (id) => {
      const seen = await read(id);
      await api.state.accounts.update(made.id, (user) => ({ ...user, sessionGeneration: user.sessionGeneration + 1 }));
      return seen;
    });
    try {
      expect(await refresh(token)).toBe(401);
    } finally {
      reading.mockRestore();
    }
  });

  it('that end while a change waits for etcd do not make it', async () => {
    const made = (await api.request('POST', '/users', { username: 'eva', password: 'long enough', isAdmin: true }))
      .body;
    const authorization = await api.tokenOf(made.id);
    const { state } = api;
    const away = vi.spyOn(state, 'reachable', 'get').mockReturnValueOnce(false);
    const waiting = vi.spyOn(state, 'whenReachable').mockImplementationOnce(async () => {
      await state.accounts.remove(made.id, made.version);
      await vi.waitUntil(() => state.users.cached.get(made.id) === undefined);
      return true;
    });
    try {
      expect(await api.request('POST', '/namespaces', { name: 'late' }, { authorization })).toMatchObject({
        status: 401,
      });
      expect(waiting).toHaveBeenCalledOnce();
    } finally {
      away.mockRestore();
      waiting.mockRestore();
    }
  });

  it('begin with an answer that nobody keeps; without one, the client is told how to ask', async () => {
    const login = await api.request('POST', '/auth/login', ADMIN, {});
    expect(login.headers.get('cache-control')).toBe('no-store');
    const refused = await api.request('GET', '/users/self', undefined, {});
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
  });

  it('go on when another user is changed, and when rights change', async () => {
    const made = (await api.request('POST', '/users', { username: 'eva', password: 'long enough' })).body;
    const token = await api.tokenOf(made.id);
    await api.request('POST', '/users', { username: 'adam', password: 'long enough' });
    await api.request('PUT', `/users/${made.id}`, { isAdmin: true, version: made.version });
    expect(await self(token)).toBe(200);
  });

  it("one's own account is changed at /users/self and nowhere else", async () => {
    const { id, version } = (await api.request('GET', '/users/self')).body;
    for (const [method, path, body] of [
      ['PUT', `/users/${id}`, { version }],
      ['DELETE', `/users/${id}?version=${version}`],
      ['DELETE', `/users/${id}/sessions`],
    ] as const) {
      expect(await api.request(method, path, body)).toMatchObject({ status: 403, body: { error: /users\/self/ } });
    }
  });

  it('guessing ends with 429 for the right password too, and tells nothing about who exists', async () => {
    await api.request('POST', '/users', { username: 'eva', password: 'long enough' });
    await api.login(ADMIN.username, ADMIN.password);
    const outcomes = async (username: string) => {
      const answers = [];
      // Three nodes share the allowance.
      for (let i = 0; i < NAME_LIMITS.burst / 3 + 1; i++) {
        answers.push(await api.request('POST', '/auth/login', { username, password: `guess number ${i}` }, {}));
      }
      // How long is left depends on how fast this goes.
      return answers.map(({ status, body }) => [status, body.error.replace(/\d+ s/, '… s')]);
    };
    const known = await outcomes('eva');
    expect(known.map(([status]) => status)).toEqual([...Array.from({ length: NAME_LIMITS.burst / 3 }, () => 401), 429]);
    const right = await api.request('POST', '/auth/login', { username: 'eva', password: 'long enough' }, {});
    expect(right.status).toBe(429);
    expect(Number(right.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await outcomes('nobody')).toEqual(known);
    // Somebody who has logged in from here before is not kept out by what others do here.
    expect((await api.request('POST', '/auth/login', ADMIN, {})).status).toBe(200);
  });
});

it('the guard holds for attempts that are made at the same moment', () => {
  const guard = new LoginGuard({ now: () => 0, nodes: () => 1 });
  const admitted = Array.from({ length: 100 }, () => {
    try {
      return guard.admit('eva', '10.0.0.1');
    } catch {
      return undefined;
    }
  }).filter((attempt) => attempt !== undefined);
  expect(admitted).toHaveLength(NAME_LIMITS.burst);
});
