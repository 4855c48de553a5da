import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Receiver, receiveByCopy, receiveDirectly } from '../../../node-agent/frontend/direct-socket.js';
import { seeded } from '../codec/harness.js';

const POISON = 0xdd;

/** Takes what comes into pieces of many sizes of one memory, and pauses now and then. */
class Taker implements Receiver {
  readonly #memory = Buffer.alloc(128 << 10, POISON);
  readonly #random = seeded(5);
  readonly heard: Buffer[] = [];
  paused = 0;
  socket: Socket | undefined;

  target(): Buffer {
    const bytes = this.#random() < 0.3 ? 1 + Math.floor(this.#random() * 40) : 1 + Math.floor(this.#random() * 100_000);
    const from = Math.floor(this.#random() * (this.#memory.length - bytes));
    return this.#memory.subarray(from, from + bytes);
  }

  received(target: Buffer, length: number): boolean {
    this.heard.push(Buffer.from(target.subarray(0, length)));
    target.fill(POISON);
    if (this.#random() > 0.2) return true;
    this.paused++;
    setImmediate(() => this.socket?.resume());
    return false;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.heard);
  }
}

describe.each([
  { how: 'directly', receive: receiveDirectly },
  { how: 'by copy', receive: receiveByCopy },
])('a socket that is read $how', ({ receive }) => {
  let directory: string;
  let server: Server;
  let taker: Taker;
  let accepted: Promise<Socket>;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'direct-'));
    taker = new Taker();
    accepted = new Promise((resolve) => {
      server = createServer({ pauseOnConnect: true }, (socket) => {
        taker.socket = receive(socket, taker);
        resolve(taker.socket);
      });
    });
    await new Promise<void>((resolve) => server.listen(join(directory, 's'), resolve));
  });
  afterEach(async () => {
    taker.socket?.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await rm(directory, { recursive: true, force: true });
  });

  it('brings every byte once and in order, through pauses, and the end behind them', async () => {
    const client = connect(join(directory, 's'));
    const socket = await accepted;
    const ended = new Promise<void>((resolve) => socket.once('end', resolve));
    const sent = randomBytes(3 << 20);
    for (let at = 0; at < sent.length; ) {
      const end = Math.min(sent.length, at + 1 + Math.floor(Math.random() * 200_000));
      const chunk = sent.subarray(at, end);
      await new Promise<void>((resolve) => client.write(chunk, () => resolve()));
      at = end;
    }
    client.end();
    await ended;
    expect(taker.bytes.equals(sent)).toBe(true);
    expect(taker.paused).toBeGreaterThan(0);
  });

  it('answers, and tells when the other end is gone', async () => {
    const client = connect(join(directory, 's'));
    const socket = await accepted;
    const answered = new Promise<Buffer>((resolve) => client.once('data', resolve));
    socket.write('hello');
    expect((await answered).toString()).toBe('hello');
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    client.destroy();
    socket.resume();
    await closed;
  });

  it('lets the server close while it is open', async () => {
    const client = connect(join(directory, 's'));
    const socket = await accepted;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    socket.destroy();
    await closed;
    await new Promise<void>((resolve) => client.once('close', () => resolve()));
    server.listen(join(directory, 's'));
  });
});
