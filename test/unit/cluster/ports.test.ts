import { createServer, type Server } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { PortClaims } from '../../../cluster/ports.js';
import { settlePorts } from '../../../cluster/servers.js';

const HOST = '127.0.0.1';
const claims: PortClaims[] = [];
const servers: Server[] = [];

function newClaims(): PortClaims {
  const made = new PortClaims();
  claims.push(made);
  return made;
}

afterEach(() => {
  for (const made of claims.splice(0)) made.release();
  for (const server of servers.splice(0)) server.close();
});

function listen(port: number): Promise<number> {
  const server = createServer();
  servers.push(server);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, HOST, () => resolve((server.address() as { port: number }).port));
  });
}

it('clusters that start at the same moment take different ports, whatever they would like to have', async () => {
  const layouts = await Promise.all(Array.from({ length: 8 }, () => settlePorts(undefined, newClaims())));
  expect(new Set(layouts.flatMap((layout) => Object.values(layout))).size).toBe(8 * 4);
});

it('a port stays claimed while no server listens there, and is free for others behind the release', async () => {
  const [first, second] = [newClaims(), newClaims()];
  const port = await first.claim(HOST);
  expect(await second.claim(HOST, port)).not.toBe(port);
  first.release();
  expect(await second.claim(HOST, port)).toBe(port);
});

it('a port that another program has is not claimed', async () => {
  const taken = await listen(0);
  const [first, second] = [newClaims(), newClaims()];
  expect(await first.claim(HOST, taken)).not.toBe(taken);
  servers.splice(0)[0]?.close();
  expect(await second.claim(HOST, taken)).toBe(taken);
});
