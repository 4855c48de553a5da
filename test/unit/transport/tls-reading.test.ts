import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthority, type TlsIdentity } from '../../../node-agent/pki/index.js';
import { tlsOptions } from '../../../node-agent/replication/server.js';
import { readInto } from '../../../node-agent/replication/tls-reading.js';
import { CLUSTER, eventually, identity, nodeIds } from './helpers.js';

let issued: TlsIdentity;

beforeAll(async () => {
  issued = await identity(await createAuthority({ cluster: CLUSTER }), nodeIds(1)[0]!);
});

const open: (() => void)[] = [];
afterAll(() => {
  for (const close of open) close();
});

/** Both ends of a connection, each as it is handed over: in the turn in which it is introduced. */
async function pair(accepted: (socket: TLSSocket) => void, dialled: (socket: TLSSocket) => void): Promise<void> {
  const server = createServer(tlsOptions(issued));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.once('secureConnection', accepted);
  const options = { host: '127.0.0.1', port, ca: issued.ca, checkServerIdentity: () => undefined };
  const socket = connect(options, () => dialled(socket));
  open.push(() => {
    socket.destroy();
    server.close();
  });
  await once(socket, 'secureConnect');
}

/** Receives into pieces of changing lengths, and says what it got and whether nothing came by other ways. */
class Sink {
  readonly received: Buffer[] = [];
  readonly chunks: Buffer[] = [];
  direct = false;
  readonly #targets = [7, 100, 20_000, 65_536].map((length) => Buffer.alloc(length));
  #next = 0;

  read(socket: TLSSocket): void {
    this.direct = readInto(socket, {
      target: () => this.#targets[this.#next++ % this.#targets.length]!,
      received: (target, length) => {
        this.received.push(Buffer.from(target.subarray(0, length)));
        target.fill(0xee);
        return true;
      },
    });
    socket.on('data', (chunk: Buffer) => this.chunks.push(chunk));
  }

  get bytes(): Buffer {
    return Buffer.concat([...this.chunks, ...this.received]);
  }
}

describe('a TLS connection', () => {
  it.each(['accepted', 'dialled'] as const)('is read into memory of our choice where it was %s', async (end) => {
    const sent = Buffer.alloc(300_000, 'a text that does not repeat itself at powers of two, ');
    const sink = new Sink();
    const write = (socket: TLSSocket): void => {
      // Together with the last word of the introduction, and later.
      socket.write(sent.subarray(0, 1_000));
      socket.write(sent.subarray(1_000));
    };
    await pair(
      (socket) => (end === 'accepted' ? sink.read(socket) : write(socket)),
      (socket) => (end === 'dialled' ? sink.read(socket) : write(socket)),
    );
    await eventually(() => sink.bytes.length >= sent.length, 'all is there');
    // What this Node has other names for comes as events, and costs more.
    expect(sink.direct).toBe(true);
    expect(sink.chunks).toEqual([]);
    expect(sink.bytes.equals(sent)).toBe(true);
  });

  it('is left as it is where Node has other names', () => {
    const receiver = { target: () => Buffer.alloc(1), received: () => true };
    expect(readInto({} as TLSSocket, receiver)).toBe(false);
  });
});
