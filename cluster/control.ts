/**
 * The supervisor's control socket: one request a connection, as a line of JSON; the answer is lines of JSON, of
 * which the last has `ok`. Only the supervisor's own user can open it.
 */

import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { ClusterError } from './errors.js';

const MAX_REQUEST_BYTES = 4096;
const MAX_CONNECTIONS = 16;
const CONNECT_TIMEOUT_MS = 2_000;

const requestSchema = z.discriminatedUnion('command', [
  z.object({ command: z.literal('status') }),
  z.object({ command: z.literal('stop') }),
  z.object({ command: z.enum(['stop-server', 'start-server']), server: z.enum(['etcd', 'temporal']) }),
  z.object({ command: z.enum(['kill-node', 'stop-node', 'start-node']), node: z.string().min(1).max(253) }),
]);

export type ControlRequest = z.infer<typeof requestSchema>;

export type ControlAnswer =
  | { readonly ok: true; readonly result?: unknown }
  | { readonly ok: false; readonly error: string };

/** `handle` resolves to the answer's result; its error's message is the answer's error. */
export async function serveControl(
  path: string,
  handle: (request: ControlRequest) => Promise<unknown>,
): Promise<Server> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // Left behind by a supervisor that was killed: the data directory's lock says that there is no other.
  rmSync(path, { force: true });
  const server = createServer((socket) => void answer(socket, handle));
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return server;
}

async function answer(socket: Socket, handle: (request: ControlRequest) => Promise<unknown>): Promise<void> {
  socket.on('error', () => socket.destroy());
  let reply: ControlAnswer;
  try {
    const request = requestSchema.safeParse(JSON.parse(await firstLine(socket)));
    if (!request.success) throw new ClusterError('invalid', 'no such command');
    reply = { ok: true, result: await handle(request.data) };
  } catch (error) {
    reply = { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
  socket.end(`${JSON.stringify(reply)}\n`);
}

function firstLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
      else if (text.length > MAX_REQUEST_BYTES) reject(new ClusterError('invalid', 'request too long'));
    });
    socket.once('close', () => reject(new ClusterError('invalid', 'no request')));
  });
}

/** Errors: ClusterError('not-running'); ClusterError('node') with what the supervisor said. */
export async function callControl(path: string, request: ControlRequest): Promise<unknown> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const opening = connect(path);
    opening.setTimeout(CONNECT_TIMEOUT_MS, () => opening.destroy(new Error('no answer')));
    opening.once('connect', () => {
      opening.setTimeout(0);
      resolve(opening);
    });
    opening.once('error', (cause) => {
      reject(new ClusterError('not-running', 'No cluster is running on this data directory.', { cause }));
    });
  });
  socket.write(`${JSON.stringify(request)}\n`);
  for await (const line of createInterface({ input: socket })) {
    const reply = JSON.parse(line) as ControlAnswer;
    if (!reply.ok) throw new ClusterError('node', reply.error);
    return reply.result;
  }
  throw new ClusterError('not-running', 'The cluster went away before it answered.');
}
