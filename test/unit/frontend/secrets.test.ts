/** What an agent's codec knows of an encrypted volume is gone when the volume is detached, and when the agent stops. */

import { randomBytes, randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { VolumeId } from '../../../core/types.js';
import type { CipherEngine } from '../../../node-agent/codec/index.js';
import { compileKernels, instantiateKernels } from '../../../node-agent/codec/kernels.js';
import { CMD, MAGIC_OPTION, MAGIC_REQUEST, OPT, REQUEST_BYTES } from '../../../node-agent/frontend/nbd-protocol.js';
import { openWorld, testVolume, type World } from './attached-volume.js';

const LENGTH = 128 << 10;
const GREETING_BYTES = 18;
const EXPORT_BYTES = 10;
const SIMPLE_REPLY_BYTES = 16;
const BOTH_KEYS = 2;

class Client {
  readonly #socket: Socket;
  #heard: Buffer = Buffer.alloc(0);
  #wake = (): void => {};

  constructor(path: string) {
    this.#socket = connect(path);
    this.#socket.on('data', (chunk: Buffer) => {
      this.#heard = Buffer.concat([this.#heard, chunk]);
      this.#wake();
    });
  }

  async hear(bytes: number): Promise<Buffer> {
    while (this.#heard.length < bytes) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const heard = this.#heard.subarray(0, bytes);
    this.#heard = this.#heard.subarray(bytes);
    return heard;
  }

  async handshake(): Promise<void> {
    await this.hear(GREETING_BYTES);
    const option = Buffer.alloc(8);
    option.writeUInt32BE(OPT.exportName, 0);
    this.#socket.write(Buffer.concat([Buffer.from([0, 0, 0, 3]), MAGIC_OPTION, option]));
    await this.hear(EXPORT_BYTES);
  }

  async ask(command: number, payload: Buffer, answerBytes: number): Promise<Buffer> {
    const header = Buffer.alloc(REQUEST_BYTES);
    header.writeUInt32BE(MAGIC_REQUEST, 0);
    header.writeUInt16BE(command, 6);
    header.writeUInt32BE(LENGTH, 24);
    this.#socket.write(Buffer.concat([header, payload]));
    return (await this.hear(SIMPLE_REPLY_BYTES + answerBytes)).subarray(SIMPLE_REPLY_BYTES);
  }
}

describe.each<CipherEngine>(['wasm', 'native'])('engine %s', (engine) => {
  let world: World | undefined;
  afterEach(() => world?.close());

  it.each(['detached', 'stopped'] as const)('keys and plain text are zeroed when the volume is %s', async (how) => {
    world = await openWorld({ engine });
    const id = randomUUID() as VolumeId;
    const key = randomBytes(64);
    const { socketPath } = await world.attach(testVolume({ id, encryption: true }), { key });
    const client = new Client(socketPath);
    await client.handshake();
    const plain = randomBytes(LENGTH);
    await client.ask(CMD.write, plain, 0);
    expect((await client.ask(CMD.read, Buffer.alloc(0), LENGTH)).equals(plain)).toBe(true);

    const memory = Buffer.from(world.codec.memory.window.buffer);
    const { at } = instantiateKernels(await compileKernels());
    const keys = memory.subarray(at.DATA_KEYS, at.DATA_KEYS + BOTH_KEYS * at.KEYS_BYTES);
    expect(keys.every((byte) => byte === 0)).toBe(false);
    expect(memory.includes(plain.subarray(0, 64))).toBe(true);

    if (how === 'detached') await world.host.detach(id);
    else await world.codec.close();
    expect(keys.every((byte) => byte === 0)).toBe(true);
    // The last answer's memory is zeroed when the socket is done with it.
    if (how === 'stopped') await world.host.detach(id);
    await new Promise((resolve) => setImmediate(resolve));
    for (let from = 0; from < LENGTH; from += 4096) {
      expect(memory.includes(plain.subarray(from, from + 64))).toBe(false);
    }
    for (let from = 0; from < key.length; from += 16)
      expect(memory.includes(key.subarray(from, from + 16))).toBe(false);
    expect(world.codec.memory.freeBytes).toBe(world.codec.memory.totalBytes);
  });
});
