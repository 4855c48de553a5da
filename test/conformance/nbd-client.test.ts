/** The tests' own client against another's server, nbdkit. */

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NbdClient, NbdConnectionError, NbdRequestError } from '../setup/nbd-client.js';

const SIZE = 16 << 20;
const ENOSPC = 28;

let directory: string;
let server: ChildProcess | undefined;

async function serve(...plugin: string[]): Promise<NbdClient> {
  const socket = join(directory, 'socket');
  server = spawn('nbdkit', ['-f', '-U', socket, ...plugin], { stdio: 'ignore' });
  await expect.poll(() => existsSync(socket), { timeout: 10_000 }).toBe(true);
  return await NbdClient.connect(socket);
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'nbd-client-'));
});
afterEach(async () => {
  if (server !== undefined && server.exitCode === null && server.signalCode === null) {
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  }
  rmSync(directory, { recursive: true });
});

it('reads what it wrote, trimmed and zeroed, many requests at a time', async () => {
  const client = await serve('memory', String(SIZE));
  expect(client.sizeBytes).toBe(SIZE);
  const blocks = Array.from({ length: 64 }, () => randomBytes(128 << 10));
  await Promise.all(blocks.map((block, i) => client.write(i * block.length, block)));
  await client.flush();
  await client.trim(0, 4096);
  await client.writeZeroes(8192, 4096);
  blocks[0]!.fill(0, 0, 4096).fill(0, 8192, 12288);
  const read = blocks.map((block, i) => client.read(i * block.length, block.length));
  expect(client.outstanding).toBe(64);
  for (const [i, data] of (await Promise.all(read)).entries()) expect(data.equals(blocks[i]!)).toBe(true);
  client.close();
});

it("passes the server's errors on, and goes on", async () => {
  const client = await serve('--filter=error', 'memory', String(SIZE), 'error-pwrite=ENOSPC', 'error-pwrite-rate=100%');
  const failure = await client.write(0, Buffer.alloc(4096)).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(NbdRequestError);
  expect(failure).toMatchObject({ code: ENOSPC });
  expect(await client.read(0, 16)).toEqual(Buffer.alloc(16));
  client.destroy();
});

it('rejects what a dead server owes, and all that is asked afterwards', async () => {
  const client = await serve('--filter=delay', 'memory', String(SIZE), 'rdelay=60');
  const owed = client.read(0, 4096);
  server?.kill('SIGKILL');
  await expect(owed).rejects.toBeInstanceOf(NbdConnectionError);
  await expect(client.flush()).rejects.toBeInstanceOf(NbdConnectionError);
});

it('says what is no NBD server', async () => {
  await expect(NbdClient.connect(join(directory, 'nothing'))).rejects.toBeInstanceOf(NbdConnectionError);
});
