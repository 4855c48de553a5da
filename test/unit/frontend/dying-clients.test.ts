/** Clients that go away in the middle of requests, payloads and answers leave no shared memory held. */

import { randomBytes, randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import type { VolumeId } from '../../../core/types.js';
import { CMD, MAGIC_OPTION, MAGIC_REQUEST, OPT, REQUEST_BYTES } from '../../../node-agent/frontend/nbd-protocol.js';
import { seeded } from '../codec/harness.js';
import { openWorld, testVolume, type World } from './attached-volume.js';

const CLIENTS = 40;
const REQUESTS = 6;
const MAX_BLOCKS = 256;
const BLOCK = 4096;

let world: World | undefined;
afterEach(() => world?.close());

function request(command: number, offset: number, length: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(REQUEST_BYTES);
  header.writeUInt32BE(MAGIC_REQUEST, 0);
  header.writeUInt16BE(command, 6);
  header.writeUInt32BE(offset, 20);
  header.writeUInt32BE(length, 24);
  return Buffer.concat([header, payload]);
}

/** Past the handshake, with nothing more read. */
async function client(path: string): Promise<Socket> {
  const socket = connect(path);
  socket.on('error', () => undefined);
  const option = Buffer.alloc(8);
  option.writeUInt32BE(OPT.exportName, 0);
  socket.write(Buffer.concat([Buffer.from([0, 0, 0, 3]), MAGIC_OPTION, option]));
  await new Promise<void>((resolve) => socket.once('data', () => resolve()));
  socket.pause();
  return socket;
}

it.each([0, 1, 2])('whenever they go (%i)', async (seed) => {
  world = await openWorld({ engine: 'wasm' });
  const id = randomUUID() as VolumeId;
  const { socketPath } = await world.attach(testVolume({ id, encryption: true }), { key: randomBytes(64) });
  const { memory } = world.codec;
  const random = seeded(seed + 1);
  const noise = randomBytes(MAX_BLOCKS * BLOCK);
  let used = 0;
  const one = async (): Promise<void> => {
    const socket = await client(socketPath);
    const requests = Array.from({ length: REQUESTS }, () => {
      // Now and then partial blocks, which are read before they are written.
      const length = (1 + Math.floor(random() * MAX_BLOCKS)) * BLOCK - (random() < 0.2 ? 100 : 0);
      const offset = Math.floor(random() * 1000) * BLOCK;
      const write = random() < 0.5;
      return request(write ? CMD.write : CMD.read, offset, length, write ? noise.subarray(0, length) : Buffer.alloc(0));
    });
    const bytes = Buffer.concat(requests);
    // All of it, some of it; its answers read, or not.
    socket.write(random() < 0.3 ? bytes : bytes.subarray(0, Math.floor(random() * bytes.length)));
    if (random() < 0.3) socket.resume();
    for (let turns = random() * 20; turns > 0; turns--) {
      await new Promise((resolve) => setImmediate(resolve));
      used = Math.max(used, memory.totalBytes - memory.freeBytes);
    }
    socket.destroy();
  };
  for (let i = 0; i < CLIENTS; i += 4) await Promise.all([one(), one(), one(), one()]);
  await expect.poll(() => world!.host.get(id)!.connections, { timeout: 10_000 }).toBe(0);
  await expect.poll(() => memory.totalBytes - memory.freeBytes, { timeout: 10_000 }).toBe(0);
  expect(used).toBeGreaterThan(0);
});
