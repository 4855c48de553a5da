import { once } from 'node:events';
import { request } from 'node:https';
import { connect } from 'node:net';
import { Hono } from 'hono';
import { afterEach, describe, expect, it } from 'vitest';
import type { NodeId } from '../../../core/types.js';
import type { ApiEnvironment } from '../../../node-agent/api/request.js';
import { type ApiServer, listen } from '../../../node-agent/api/server.js';
import { createAuthority, issueNodeCertificate } from '../../../node-agent/pki/index.js';

const open: ApiServer[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function start(app: Hono<ApiEnvironment>, tls?: { cert: string; key: string }): Promise<ApiServer> {
  const server = await listen(app, { host: '127.0.0.1', port: 0, ...(tls !== undefined && { tls }) });
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

  it('speaks TLS where it has a certificate', async () => {
    const authority = await createAuthority({ cluster: 'test' });
    const node = '11111111-2222-4333-8444-555555555555' as NodeId;
    const { certificate, key } = await issueNodeCertificate(authority, {
      node,
      name: 'node-1',
      addresses: ['127.0.0.1'],
    });
    const { address } = await start(hello(), { cert: certificate, key });
    const status = await new Promise<number | undefined>((resolve, reject) => {
      request({ host: '127.0.0.1', port: address.port, path: '/hello', ca: authority.certificate }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
    expect(status).toBe(200);
    await expect(fetch(`http://127.0.0.1:${address.port}/hello`)).rejects.toThrow();
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
