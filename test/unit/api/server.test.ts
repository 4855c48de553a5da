import { once } from 'node:events';
import { connect } from 'node:net';
import { Hono } from 'hono';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ApiEnvironment } from '../../../node-agent/api/request.js';
import { type ApiServer, listen } from '../../../node-agent/api/server.js';

const open: ApiServer[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function start(app: Hono<ApiEnvironment>): Promise<ApiServer> {
  const server = await listen(app, { host: '127.0.0.1', port: 0 });
  open.push(server);
  return server;
}

const hello = () => new Hono<ApiEnvironment>().get('/hello', (c) => c.json({ hello: 'world' }));

describe('the API server', () => {
  it('answers, and says which address is taken', async () => {
    const { address } = await start(hello());
    expect(await (await fetch(`http://127.0.0.1:${address.port}/hello`)).json()).toEqual({ hello: 'world' });
    await expect(listen(hello(), { host: '127.0.0.1', port: address.port })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    });
  });

  it('finishes what it has begun before it closes, and takes nothing more', async () => {
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    let arrived = () => {};
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const app = new Hono<ApiEnvironment>().get('/slow', async (c) => {
      arrived();
      await released;
      return c.json({ done: true });
    });
    const server = await start(app);
    const url = `http://127.0.0.1:${server.address.port}/slow`;
    const answer = fetch(url).then((response) => response.json());
    await arrival;
    const closed = server.close();
    await expect(fetch(url)).rejects.toThrow();
    release();
    expect(await answer).toEqual({ done: true });
    await closed;
  });

  it.each([
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['no host', 'GET /hello HTTP/1.1\r\n\r\n', 400],
    ['a host that is none', 'GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n', 400],
    ['a target that is none', 'GET hello HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['headers that are too long', `GET /hello HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(40_000)}\r\n\r\n`, 431],
  ])('answers %s with JSON', async (_, request, status) => {
    const { address } = await start(hello());
    const socket = connect(address.port, '127.0.0.1');
    socket.on('error', () => {});
    const closed = once(socket, 'close');
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
      if (answer.endsWith('}')) socket.end();
    });
    socket.write(request);
    await closed;
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(head).toMatch(/content-type: application\/json/i);
    expect(JSON.parse(body)).toEqual({ error: expect.any(String) });
  });

  it('closes at once although somebody has connected and says nothing', async () => {
    const server = await start(hello());
    const [silent, used] = [connect(server.address.port, '127.0.0.1'), connect(server.address.port, '127.0.0.1')];
    const ended = [silent, used].map((socket) => once(socket, 'close'));
    await Promise.all([silent, used].map((socket) => once(socket, 'connect')));
    used.write('GET /hello HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(used, 'data');
    // Its grace never ends: nothing waits for it.
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval'] });
    try {
      await server.close();
    } finally {
      vi.useRealTimers();
    }
    await Promise.all(ended);
  });

  it('outlives garbage and clients that only knock', async () => {
    const { address } = await start(hello());
    for (const bytes of ['', '\r\n\r\n', 'x'.repeat(100_000), 'GET /hello HTTP/9.9\r\n\r\n']) {
      const socket = connect(address.port, '127.0.0.1');
      socket.on('error', () => {}).resume();
      await once(socket, 'connect');
      // A reset is as good as an end; `once` would reject it.
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.end(bytes);
      await closed;
    }
    expect((await fetch(`http://127.0.0.1:${address.port}/hello`)).status).toBe(200);
  });
});
