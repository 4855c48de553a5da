/** The NBD server against clients that do not keep to the protocol. */

import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VolumeId } from '../../../core/types.js';
import type { AttachedVolume } from '../../../node-agent/frontend/host.js';
import { NbdHandshake } from '../../../node-agent/frontend/nbd-handshake.js';
import { CMD, MAX_OPTION_BYTES, NbdProtocolError, OPT } from '../../../node-agent/frontend/nbd-protocol.js';
import { NbdRequestParser, type Verdict } from '../../../node-agent/frontend/nbd-requests.js';
import { openWorld, testVolume, type World } from './attached-volume.js';
import { POISON, TestMemory } from './test-memory.js';

const exported = { name: 'volume', sizeBytes: 1 << 30, flags: 1, preferredBlockBytes: 4096 };

function option(type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(16);
  header.write('IHAVEOPT', 'latin1');
  header.writeUInt32BE(type, 8);
  header.writeUInt32BE(data.length, 12);
  return Buffer.concat([header, data]);
}

function goData(name: string, infos: readonly number[] = []): Buffer {
  const data = Buffer.alloc(6 + name.length + 2 * infos.length);
  data.writeUInt32BE(name.length);
  data.write(name, 4, 'latin1');
  data.writeUInt16BE(infos.length, 4 + name.length);
  infos.forEach((info, i) => {
    data.writeUInt16BE(info, 6 + name.length + 2 * i);
  });
  return data;
}

function request(
  command: number,
  options: { offset?: number; length?: number; flags?: number; cookie?: number } = {},
): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt32BE(0x25609513);
  header.writeUInt16BE(options.flags ?? 0, 4);
  header.writeUInt16BE(command, 6);
  header.writeUInt32BE(options.cookie ?? 1, 12);
  header.writeBigUInt64BE(BigInt(options.offset ?? 0), 16);
  header.writeUInt32BE(options.length ?? 0, 24);
  return header;
}

const CLIENT_FLAGS = Buffer.from([0, 0, 0, 3]);

/** Types of the replies to options, in order. */
function replyTypes(output: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at < output.length; at += 20 + output.readUInt32BE(at + 16)) {
    expect(output.subarray(at, at + 8).toString('hex')).toBe('0003e889045565a9');
    types.push(output.readUInt32BE(at + 12));
  }
  return types;
}

function negotiate(...input: Buffer[]) {
  const handshake = new NbdHandshake({ export: exported });
  handshake.takeOutput();
  handshake.feed(Buffer.concat([CLIENT_FLAGS, ...input]));
  return { handshake, output: Buffer.concat(handshake.takeOutput()) };
}

describe('the handshake', () => {
  it('greets with fixed newstyle and no zeroes', () => {
    const handshake = new NbdHandshake({ export: exported });
    expect(Buffer.concat(handshake.takeOutput()).toString('latin1')).toBe('NBDMAGICIHAVEOPT\0\x03');
  });

  it.each(['', 'volume'])('goes into transmission for the name "%s", keeping what follows', (name) => {
    const { handshake, output } = negotiate(option(OPT.go, goData(name, [3])), Buffer.from('rest'));
    expect(replyTypes(output)).toEqual([3, 3, 1]);
    expect(handshake.state).toBe('transmission');
    expect(handshake.takeRest().toString()).toBe('rest');
  });

  it.each([
    ['an unknown name', option(OPT.go, goData('other')), 0x80000006],
    ['a length beyond the data', option(OPT.go, Buffer.from([255, 255, 255, 255, 0, 0])), 0x80000003],
    ['no data', option(OPT.go), 0x80000003],
    ['too many infos', option(OPT.info, Buffer.from([0, 0, 0, 0, 0, 9, 0, 3])), 0x80000003],
    ['LIST with data', option(OPT.list, Buffer.from('x')), 0x80000003],
    ['STRUCTURED_REPLY with data', option(OPT.structuredReply, Buffer.from('x')), 0x80000003],
    ['TLS', option(5), 0x80000001],
    ['an unknown option', option(12345, Buffer.from('whatever')), 0x80000001],
  ])('refuses %s and goes on', (_, input, type) => {
    const { handshake, output } = negotiate(input, option(OPT.list));
    expect(replyTypes(output)).toEqual([type, 2, 1]);
    expect(handshake.state).toBe('negotiating');
  });

  it('pads the oldest reply only for clients that want it', () => {
    const asked = option(OPT.exportName, Buffer.from('volume'));
    expect(negotiate(asked).output).toHaveLength(10);
    const old = new NbdHandshake({ export: exported });
    old.takeOutput();
    old.feed(Buffer.concat([Buffer.from([0, 0, 0, 1]), asked]));
    expect(Buffer.concat(old.takeOutput())).toHaveLength(134);
    expect(old.state).toBe('transmission');
  });

  it.each([
    ['unknown client flags', [Buffer.from([0, 0, 0, 4])]],
    ['a bad magic', [CLIENT_FLAGS, Buffer.alloc(16)]],
    ['an unknown name by EXPORT_NAME', [CLIENT_FLAGS, option(OPT.exportName, Buffer.from('other'))]],
    ['an endless option', [CLIENT_FLAGS, option(OPT.go, Buffer.alloc(MAX_OPTION_BYTES + 1))]],
    ['endless options', [CLIENT_FLAGS, ...Array.from({ length: 200 }, () => option(OPT.list))]],
  ])('ends with %s', (_, input) => {
    const handshake = new NbdHandshake({ export: exported });
    expect(() => handshake.feed(Buffer.concat(input))).toThrow(NbdProtocolError);
  });

  it('comes to the same end however the bytes are cut, and never fails otherwise', () => {
    const piece = fc.oneof(
      fc.constant(option(OPT.list)),
      fc.constant(option(OPT.structuredReply)),
      fc.constant(option(OPT.go, goData('volume', [0, 1, 3]))),
      fc.constant(option(OPT.go, goData('nothing'))),
      fc.tuple(fc.nat(20), fc.uint8Array({ maxLength: 40 })).map(([type, data]) => option(type, Buffer.from(data))),
      fc.uint8Array({ maxLength: 40 }).map((data) => Buffer.from(data)),
    );
    const play = (input: Buffer, cuts: readonly number[]) => {
      const handshake = new NbdHandshake({ export: exported });
      const output: Buffer[] = [];
      let end = 'more';
      try {
        let at = 0;
        for (const cut of [...cuts.map((n) => n % (input.length + 1)).sort((a, b) => a - b), input.length]) {
          if (handshake.state === 'negotiating') handshake.feed(input.subarray(at, cut));
          at = cut;
          output.push(...handshake.takeOutput());
        }
        end = handshake.state;
      } catch (error) {
        if (!(error instanceof NbdProtocolError)) throw error;
        end = 'refused';
        output.push(...handshake.takeOutput());
      }
      return { end, output: Buffer.concat(output).toString('hex') };
    };
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 8 }), (pieces, cuts) => {
        const input = Buffer.concat([CLIENT_FLAGS, ...pieces]);
        expect(play(input, cuts)).toEqual(play(input, []));
      }),
      { numRuns: 500 },
    );
  });
});

describe('the request parser', () => {
  it('finds the same requests however the bytes are cut', () => {
    const wanted = fc.record({
      command: fc.constantFrom(CMD.read, CMD.write, CMD.flush, CMD.trim, 77),
      offset: fc.nat(1 << 30),
      // The last are long enough for memory of their own, and for headers to be read by themselves.
      length: fc.oneof(
        { weight: 4, arbitrary: fc.nat(300) },
        { weight: 1, arbitrary: fc.integer({ min: 30_000, max: 90_000 }) },
      ),
      flags: fc.nat(31),
    });
    fc.assert(
      fc.property(
        fc.array(wanted, { maxLength: 12 }),
        fc.array(fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1000, max: 200_000 })), {
          minLength: 1,
          maxLength: 10,
        }),
        fc.infiniteStream(fc.constantFrom<Verdict>('take', 'discard', 'wait')),
        (requests, sizes, verdicts) => {
          const payloads = requests.map((r, i) => Buffer.alloc(r.command === CMD.write ? r.length : 0, i + 1));
          const input = Buffer.concat(
            requests.flatMap((r, i) => [request(r.command, { ...r, cookie: i }), payloads[i] ?? Buffer.alloc(0)]),
          );
          const memory = new TestMemory();
          const parser = new NbdRequestParser(memory);
          const given: Verdict[] = [];
          const found: { cookie: number; offset: number; payload: Buffer | undefined }[] = [];
          for (let at = 0; at < input.length; ) {
            const target = parser.target();
            const length = Math.min(sizes[at % sizes.length] ?? 1, target.length, input.length - at);
            input.copy(target, 0, at, at + length);
            at += length;
            parser.received(target, length);
            for (;;) {
              let waited = false;
              const next = parser.next(() => {
                const verdict = verdicts.next().value;
                if (verdict === 'wait') waited = true;
                else given.push(verdict);
                return verdict;
              });
              if (next === undefined && waited) {
                parser.park();
                memory.window.fill(POISON);
                continue;
              }
              if (next === undefined) break;
              const { header, payload, lease } = next;
              found.push({ cookie: header.cookieLow, offset: header.offset, payload: payload && Buffer.from(payload) });
              lease?.release();
            }
            parser.park();
            memory.window.fill(POISON);
          }
          parser.close();
          expect(memory.held).toBe(0);
          expect(found.map(({ cookie }) => cookie)).toEqual(requests.map((_, i) => i));
          found.forEach(({ payload, offset }, i) => {
            expect(offset).toBe(requests[i]?.offset);
            if (requests[i]?.command !== CMD.write || given[i] === 'discard') expect(payload).toBeUndefined();
            else expect(payload?.equals(payloads[i] ?? Buffer.alloc(0))).toBe(true);
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  it('lends a payload that is in memory of its own, so that nobody has to copy it', () => {
    const memory = new TestMemory();
    const parser = new NbdRequestParser(memory);
    const long = 20 << 10;
    for (const { length, cut, leased } of [
      { length: 4096, cut: 0, leased: false },
      { length: 4096, cut: 100, leased: true },
      { length: long, cut: 0, leased: false },
      { length: long, cut: 100, leased: true },
    ]) {
      const bytes = Buffer.concat([request(CMD.write, { offset: 0, length, cookie: 1 }), Buffer.alloc(length, 7)]);
      parser.push(bytes.subarray(0, bytes.length - cut));
      const first = parser.next(() => 'take');
      if (cut > 0) parser.push(bytes.subarray(bytes.length - cut));
      const found = first ?? parser.next(() => 'take');
      expect(found?.payload?.equals(Buffer.alloc(length, 7))).toBe(true);
      expect(found?.lease !== undefined).toBe(leased);
      expect(memory.held).toBe(leased ? 1 : 0);
      found?.lease?.release();
      expect(memory.held).toBe(0);
    }
  });

  it('gives the memory of an unfinished payload back when the client is gone', () => {
    const memory = new TestMemory();
    const parser = new NbdRequestParser(memory);
    parser.push(request(CMD.write, { offset: 0, length: 64 << 10, cookie: 1 }));
    expect(parser.next(() => 'take')).toBeUndefined();
    expect(memory.held).toBe(1);
    parser.received(parser.target(), 100);
    parser.close();
    expect(memory.held).toBe(0);
  });

  it('refuses what is no request', () => {
    const parser = new NbdRequestParser(new TestMemory());
    parser.push(Buffer.alloc(28, 7));
    expect(() => parser.next(() => 'take')).toThrow(NbdProtocolError);
  });
});

describe('a server', () => {
  let world: World;
  let attached: AttachedVolume;

  beforeAll(async () => {
    world = await openWorld();
    attached = await world.attach(testVolume({ id: randomUUID() as VolumeId }));
  });
  afterAll(() => world.close());

  const dial = (): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const socket = connect(attached.socketPath, () => resolve(socket));
      socket.once('error', reject);
    });

  /** All that the server says until it hangs up or has said `bytes`. */
  const listen = (socket: Socket, bytes = Number.POSITIVE_INFINITY): Promise<Buffer> =>
    new Promise((resolve) => {
      const heard: Buffer[] = [];
      let length = 0;
      socket.on('data', (chunk: Buffer) => {
        heard.push(chunk);
        length += chunk.length;
        if (length >= bytes) resolve(Buffer.concat(heard));
      });
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(Buffer.concat(heard)));
    });

  it('cuts garbage off and serves the next client', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ minLength: 20, maxLength: 200 }).map((data) => Buffer.concat([Buffer.from([255]), data])),
          fc
            .uint8Array({ minLength: 28, maxLength: 200 })
            .map((data) => Buffer.concat([CLIENT_FLAGS, option(OPT.go, goData('')), Buffer.from([0]), data])),
        ),
        async (garbage) => {
          const socket = await dial();
          const heard = listen(socket);
          socket.write(garbage);
          await heard;
          socket.destroy();
        },
      ),
      { numRuns: 40 },
    );
    const socket = await dial();
    const heard = listen(socket);
    socket.write(
      Buffer.concat([
        CLIENT_FLAGS,
        option(OPT.exportName),
        request(CMD.read, { length: 4096 }),
        request(CMD.disconnect),
      ]),
    );
    expect((await heard).length).toBe(18 + 10 + 16 + 4096);
    await expect.poll(() => world.host.list()[0]?.connections).toBe(0);
  });

  it('reads over the payload of a write that it refuses', async () => {
    const socket = await dial();
    const heard = listen(socket);
    socket.write(
      Buffer.concat([
        CLIENT_FLAGS,
        option(OPT.exportName),
        request(CMD.write, { length: 8192, offset: 64 << 20, cookie: 1 }),
        Buffer.alloc(8192, 1),
        request(CMD.write, { length: 4096, flags: 0x8000, cookie: 2 }),
        Buffer.alloc(4096, 1),
        request(CMD.flush, { cookie: 3 }),
        request(99, { cookie: 4 }),
      ]),
    );
    // Answers may come in any order; a refusal comes at once.
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.write(request(CMD.disconnect));
    const replies = (await heard).subarray(28);
    const byCookie = new Map<number, number>();
    for (let at = 0; at < replies.length; at += 16)
      byCookie.set(replies.readUInt32BE(at + 12), replies.readUInt32BE(at + 4));
    expect([...byCookie].sort()).toEqual([
      [1, 28],
      [2, 22],
      [3, 0],
      [4, 22],
    ]);
  });

  it('takes no more than the budget, from however many clients, and serves all in the end', async () => {
    const primary = world.primaryOf(attached.volume);
    primary.frozen = true;
    const clients = await Promise.all(Array.from({ length: 6 }, dial));
    const perClient = 3;
    const answers = clients.map((socket) => listen(socket, 28 + perClient * (16 + (8 << 20))));
    for (const socket of clients) {
      const reads = Array.from({ length: perClient }, (_, i) =>
        request(CMD.read, { offset: i << 20, length: 8 << 20, cookie: i }),
      );
      socket.write(Buffer.concat([CLIENT_FLAGS, option(OPT.exportName), ...reads]));
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { pendingBytes } = world.host.list()[0]?.frontend ?? expect.fail('not attached');
    expect(pendingBytes).toBeGreaterThan(0);
    expect(pendingBytes).toBeLessThanOrEqual(64 << 20);
    primary.frozen = false;
    primary.cut();
    for (const heard of await Promise.all(answers)) expect(heard.length).toBe(28 + perClient * (16 + (8 << 20)));
    for (const socket of clients) socket.destroy();
  });

  it('lets go of what a client held that went away', async () => {
    const size = 32 << 20;
    for (let i = 0; i < 5; i++) {
      const socket = await dial();
      const heard = listen(socket, 28);
      socket.write(
        Buffer.concat([CLIENT_FLAGS, option(OPT.exportName), request(CMD.write, { length: size }), Buffer.alloc(1000)]),
      );
      await heard;
      await new Promise((resolve) => setTimeout(resolve, 10));
      socket.destroy();
    }
    const socket = await dial();
    const heard = listen(socket);
    socket.write(
      Buffer.concat([
        CLIENT_FLAGS,
        option(OPT.exportName),
        request(CMD.read, { length: size }),
        request(CMD.disconnect),
      ]),
    );
    expect((await heard).length).toBe(28 + 16 + size);
  });
});
