import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ApiTransport, type TransportOptions } from '../../../client/transport.js';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(handler: Handler): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const answer = (response: ServerResponse, status: number, body: unknown) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

/** Knows one token, `token-<number of logins>`; counts requests beside logins. */
function api(handler: Handler = (_, response) => answer(response, 200, { ok: true })) {
  const seen = { logins: 0, requests: 0 };
  const handle: Handler = (request, response) => {
    request.resume();
    if (request.url === '/v2/auth/login') {
      answer(response, 200, { session: { token: `token-${++seen.logins}`, expiresInSeconds: 300 } });
    } else {
      seen.requests++;
      handler(request, response);
    }
  };
  return { seen, handle };
}

function transport(endpoints: string[], options: Partial<TransportOptions> = {}): ApiTransport {
  return new ApiTransport({
    endpoints: () => endpoints,
    credentials: () => ({ username: 'eva', password: 'secret' }),
    timeoutMs: () => 5_000,
    ...options,
  });
}

/** Nobody listens there: reserved, and on this machine. */
const NOBODY = '127.0.0.1:9';

describe('requests to the API', () => {
  it('go to the next endpoint if they could not be sent, and there first from then on', async () => {
    const { seen, handle } = api();
    const client = transport([NOBODY, await serve(handle)]);
    for (let i = 0; i < 3; i++) expect((await client.request('POST', '/x', { body: {} })).body).toEqual({ ok: true });
    expect(seen).toEqual({ logins: 1, requests: 3 });
  });

  it('that may have had an effect are not sent again; those that read are', async () => {
    const cut = api((_, response) => response.destroy());
    const good = api();
    const endpoints = [await serve(cut.handle), await serve(good.handle)];
    await expect(transport(endpoints).request('POST', '/x', { body: {} })).rejects.toMatchObject({
      failure: 'unreachable',
    });
    expect(good.seen.requests).toBe(0);
    expect((await transport(endpoints).request('GET', '/x')).body).toEqual({ ok: true });
  });

  it('log in once more when the token is refused, and only once', async () => {
    const { seen, handle } = api((request, response) => {
      const known = request.headers.authorization === 'Bearer token-2';
      answer(response, known ? 200 : 401, known ? { ok: true } : { error: 'authentication required' });
    });
    expect((await transport([await serve(handle)]).request('GET', '/x')).body).toEqual({ ok: true });
    expect(seen).toEqual({ logins: 2, requests: 2 });
    const refusing = api((_, response) => answer(response, 401, { error: 'authentication required' }));
    await expect(transport([await serve(refusing.handle)]).request('GET', '/x')).rejects.toMatchObject({ status: 401 });
    expect(refusing.seen).toEqual({ logins: 2, requests: 2 });
  });

  /** Answers the first request of a connection; the next one meets the connection's end. */
  function impatient() {
    const used = new WeakSet<object>();
    const { seen, handle } = api((_, response) => answer(response, 200, { ok: true }));
    const handler: Handler = (request, response) => {
      if (used.has(request.socket)) {
        seen.requests++;
        request.socket.destroy();
        return;
      }
      used.add(request.socket);
      handle(request, response);
    };
    return { seen, handler };
  }

  it('that read use a connection that the server has given up meanwhile, and then another one', async () => {
    const { seen, handler } = impatient();
    const client = transport([await serve(handler)]);
    for (let i = 0; i < 3; i++) expect((await client.request('GET', '/x')).body).toEqual({ ok: true });
    expect(seen.requests).toBeGreaterThan(3);
  });

  it.each(['POST', 'PUT', 'DELETE'])('that change something (%s) use no connection that was kept', async (method) => {
    const { seen, handler } = impatient();
    const client = transport([await serve(handler)]);
    await client.request('GET', '/x');
    expect((await client.request(method, '/x', { body: {} })).body).toEqual({ ok: true });
    expect(seen.requests).toBe(2);
  });

  it.each(['POST', 'PUT', 'DELETE'])(
    'that change something (%s) arrive once, whatever becomes of them',
    async (method) => {
      const { seen, handle } = api((request, response) => {
        if (request.method === 'GET') answer(response, 200, { ok: true });
        else request.socket.destroy();
      });
      const client = transport([await serve(handle)]);
      await client.request('GET', '/x');
      await expect(client.request(method, '/x', { body: {} })).rejects.toMatchObject({ failure: 'unreachable' });
      expect(seen.requests).toBe(2);
    },
  );

  it.each([
    ['no answer', (() => undefined) as Handler],
    [
      'half an answer',
      ((_, response) => void response.writeHead(200, { 'content-length': '100' }).write('{')) as Handler,
    ],
  ])('that get %s end with their time', async (_, handler) => {
    const { handle } = api(handler);
    const client = transport([await serve(handle)]);
    await expect(client.request('GET', '/x', { timeoutMs: 300 })).rejects.toMatchObject({ failure: 'timeout' });
  });

  it.each([
    ['not JSON', (response: ServerResponse) => response.writeHead(200).end('<html>'), { failure: 'malformed' }],
    [
      'an error',
      (response: ServerResponse) => answer(response, 409, { error: 'in use' }),
      { status: 409, reason: 'in use' },
    ],
    ['an error without words', (response: ServerResponse) => response.writeHead(503).end(), { status: 503 }],
  ])('say what is wrong with %s', async (_, respond, expected) => {
    const { handle } = api((_request, response) => void respond(response));
    await expect(transport([await serve(handle)]).request('GET', '/x')).rejects.toMatchObject(expected);
  });

  it('say that no node runs', async () => {
    await expect(transport([]).request('GET', '/x')).rejects.toMatchObject({ failure: 'unreachable' });
    await expect(transport([NOBODY]).request('GET', '/x')).rejects.toThrow(/ECONNREFUSED.*is a node running/);
  });
});
