import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Append, PeerMessage, ReadReply, WriteRequest } from '../../../core/messages.js';
import { type Batch, MAX_BATCH_PAYLOAD_BYTES } from '../../../core/record.js';
import type { NodeId } from '../../../core/types.js';
import { FRAME, type Frame, FrameParser, HEADER_BYTES, WireError } from '../../../node-agent/replication/wire.js';
import { type EncodedFrame, HeadWriter } from '../../../node-agent/replication/wire-fields.js';
import { decodePeerMessage, encodePeerMessage, type PeerAddress } from '../../../node-agent/replication/wire-peer.js';
import {
  decodeFrontendMessage,
  decodeSessionMessage,
  encodeFrontendMessage,
  encodeSessionMessage,
} from '../../../node-agent/replication/wire-session.js';
import { address, frontendMessages, peerMessages, sessionMessages } from './arbitraries.js';

const NODE = '11111111-2222-4333-8444-555555555555' as NodeId;

function bytes(frame: EncodedFrame): Buffer {
  return Buffer.concat([frame.head, frame.payload]);
}

/** Feeds `stream` in pieces of the given sizes, repeated. */
function parse(stream: Buffer, sizes: readonly number[]): Frame[] {
  const parser = new FrameParser();
  const frames: Frame[] = [];
  let at = 0;
  for (let i = 0; at < stream.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    frames.push(...parser.push(stream.subarray(at, at + size)));
    at += size;
  }
  return frames;
}

/** The same, received where the parser says; what it has not taken in its turn is overwritten then. */
function receive(stream: Buffer, sizes: readonly number[], lend?: FrameParser['lend']): Frame[] {
  const parser = new FrameParser();
  if (lend !== undefined) parser.lend = lend;
  const frames: Frame[] = [];
  let at = 0;
  for (let i = 0; at < stream.length; i++) {
    const target = parser.target();
    const length = stream.copy(target, 0, at, at + (sizes[i % sizes.length] ?? 1));
    frames.push(...parser.received(target, length));
    parser.target().fill(0xee);
    at += length;
  }
  return frames;
}

const sizes = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 8 });

describe('messages between deployments', () => {
  it.each(Object.entries(peerMessages))('%s goes through the wire unchanged, however it is cut', (_type, arbitrary) => {
    fc.assert(
      fc.property(address, arbitrary as typeof peerMessages.append, sizes, (to, message, cut) => {
        const [frame, ...more] = parse(bytes(encodePeerMessage(to as PeerAddress, message)), cut);
        expect(more).toEqual([]);
        expect(decodePeerMessage(frame!, NODE)).toEqual({ ...to, fromNode: NODE, message });
      }),
      { numRuns: 50 },
    );
  });

  it('are received in place as they are, however they are cut, several one after the other', () => {
    const several = fc.array(fc.oneof(...Object.values(peerMessages)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(address, several, fc.boolean(), sizes, (to, messages, leased, cut) => {
        const stream = Buffer.concat(messages.map((message) => bytes(encodePeerMessage(to as PeerAddress, message))));
        const lend = (length: number) => ({
          bytes: Buffer.alloc(length),
          exclusive: true,
          retain: () => {},
          release: () => {},
        });
        const frames = receive(stream, cut, leased ? lend : undefined);
        expect(Buffer.concat(frames.map(({ head, payload }) => Buffer.concat([head, payload])))).toEqual(
          Buffer.concat(
            messages.map((message) => {
              const { head, payload } = encodePeerMessage(to as PeerAddress, message);
              return Buffer.concat([head.subarray(HEADER_BYTES), payload]);
            }),
          ),
        );
      }),
      { numRuns: 100 },
    );
  });

  it('keep their order when several arrive in one piece', () => {
    const to = { volume: NODE, from: NODE, to: NODE } as unknown as PeerAddress;
    const messages = fc.sample(fc.oneof(...Object.values(peerMessages)), { numRuns: 200, seed: 1 });
    const stream = Buffer.concat(messages.map((message) => bytes(encodePeerMessage(to, message))));
    for (const cut of [[stream.length], [65_536], [1, 17, 1000], [15, 16, 17]]) {
      expect(parse(stream, cut).map((frame) => decodePeerMessage(frame, NODE).message)).toEqual(messages);
    }
  });
});

/** A message whose payload is leased: one that is made up, its bytes, and what is read from them. */
interface Leased {
  readonly arbitrary: fc.Arbitrary<{ readonly batch: Batch }>;
  readonly encode: (message: { readonly batch: Batch }) => EncodedFrame;
  readonly decode: (frame: Frame) => { readonly batch: Batch };
}

const TO = { volume: NODE, from: NODE, to: NODE } as unknown as PeerAddress;

function ofPeers(arbitrary: fc.Arbitrary<{ readonly batch: Batch }>): Leased {
  return {
    arbitrary,
    encode: (message) => encodePeerMessage(TO, message as PeerMessage),
    decode: (frame) => decodePeerMessage(frame, NODE).message as Append,
  };
}

const LEASED: Readonly<Record<string, Leased>> = {
  append: ofPeers(peerMessages.append),
  backfill: ofPeers(peerMessages.backfill),
  write: {
    arbitrary: frontendMessages.write,
    encode: (message) => encodeFrontendMessage(message as WriteRequest),
    decode: (frame) => decodeFrontendMessage(frame) as WriteRequest,
  },
  data: {
    arbitrary: sessionMessages.data,
    encode: (message) => encodeSessionMessage(message as ReadReply),
    decode: (frame) => decodeSessionMessage(frame) as ReadReply,
  },
};

describe('payloads that are kept only by who holds them', () => {
  it.each(Object.entries(LEASED))('arrive in leased memory, held once, however they are cut: %s', (_type, leased) => {
    const pieces = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(leased.arbitrary, pieces, fc.boolean(), (message, cut, whole) => {
        const stream = bytes(leased.encode(message));
        const end = whole ? stream.length : stream.length - 1;
        let lent = 0;
        let held = 0;
        const parser = new FrameParser();
        parser.lend = (length) => {
          lent++;
          held++;
          const release = (): void => {
            held--;
          };
          return { bytes: Buffer.alloc(length), exclusive: true, retain: () => {}, release };
        };
        const frames: Frame[] = [];
        for (let at = 0, i = 0; at < end; i++) {
          const size = cut[i % cut.length]!;
          frames.push(...parser.push(stream.subarray(at, Math.min(end, at + size))));
          at += size;
        }
        parser.end();
        expect(held).toBe(whole ? lent : 0);
        expect(frames.length).toBe(whole ? 1 : 0);
        for (const frame of frames) {
          const arrived = leased.decode(frame);
          expect({ ...arrived, batch: { ...arrived.batch, lease: undefined } }).toEqual(message);
          expect(arrived.batch.lease).toBe(frame.lease);
          frame.lease?.release();
        }
        expect(held).toBe(0);
        if (message.batch.payload.length > 40) expect(lent).toBe(1);
      }),
      { numRuns: 50 },
    );
  });
});

describe('messages of a session', () => {
  it.each(Object.entries(frontendMessages))('%s goes through the wire unchanged', (_type, arbitrary) => {
    fc.assert(
      fc.property(arbitrary as typeof frontendMessages.write, sizes, (message, cut) => {
        const [frame] = parse(bytes(encodeFrontendMessage(message)), cut);
        expect(decodeFrontendMessage(frame!)).toEqual(message);
      }),
      { numRuns: 50 },
    );
  });

  it.each(Object.entries(sessionMessages))('%s goes through the wire unchanged', (_type, arbitrary) => {
    fc.assert(
      fc.property(arbitrary as typeof sessionMessages.data, sizes, (message, cut) => {
        const [frame] = parse(bytes(encodeSessionMessage(message)), cut);
        expect(decodeSessionMessage(frame!)).toEqual(message);
      }),
      { numRuns: 50 },
    );
  });
});

describe('hostile bytes', () => {
  const decoders = [
    (frame: Frame) => decodePeerMessage(frame, NODE),
    decodeFrontendMessage,
    decodeSessionMessage,
  ] as const;

  /** Everything that can be done to a stream ends in messages or in a WireError. */
  function survive(stream: Buffer, cut: readonly number[]): number {
    let frames: Frame[];
    try {
      frames = parse(stream, cut);
    } catch (error) {
      if (error instanceof WireError) return 1;
      throw error;
    }
    let refused = 0;
    for (const frame of frames) {
      for (const decode of decoders) {
        try {
          decode(frame);
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
          refused += 1;
        }
      }
    }
    return refused;
  }

  it('never do more than close the connection', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), sizes, (garbage, cut) => {
        survive(Buffer.from(garbage), cut);
      }),
      { numRuns: 2000 },
    );
  });

  it('inside a sound frame never do more than close the connection', () => {
    const type = fc.constantFrom(...Object.values(FRAME));
    fc.assert(
      fc.property(type, fc.boolean(), fc.uint8Array({ maxLength: 300 }), (code, flag, garbage) => {
        try {
          survive(bytes(new HeadWriter(garbage.length).bytes(garbage).flag(flag).seal(code)), [100]);
        } catch (error) {
          if (!(error instanceof WireError)) throw error;
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('are found out by the checksum wherever a bit of header or head flips', () => {
    const to = { volume: NODE, from: NODE, to: NODE } as unknown as PeerAddress;
    const [message] = fc.sample(peerMessages.promised, { numRuns: 1, seed: 3 });
    const sound = bytes(encodePeerMessage(to, message!));
    for (let bit = 0; bit < sound.length * 8; bit++) {
      const broken = Buffer.from(sound);
      broken.writeUInt8(broken.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      let frames: Frame[] = [];
      try {
        frames = parse(broken, [broken.length]);
      } catch (error) {
        expect(error).toBeInstanceOf(WireError);
      }
      // A longer length makes the parser wait for more, within its bounds.
      expect(frames).toEqual([]);
    }
  });

  it('cannot make the parser take memory beyond the limits of their type', () => {
    for (const [type, head, payload] of [
      [FRAME.ping, 513, 0],
      [FRAME.append, 1 << 16, 0],
      [FRAME.append, 100, MAX_BATCH_PAYLOAD_BYTES + 1],
      [FRAME.flush, 100, 1],
      [FRAME.hello, 5000, 0],
      [FRAME.request, 0xffff_ffff, 0],
      [FRAME.promise, 2 << 20, 0],
    ] as const) {
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeUInt8(type, 4);
      header.writeUInt32LE(head, 8);
      header.writeUInt32LE(payload, 12);
      expect(() => new FrameParser().push(header)).toThrow(WireError);
    }
    const unknown = Buffer.alloc(HEADER_BYTES);
    unknown.writeUInt8(200, 4);
    expect(() => new FrameParser().push(unknown)).toThrow(WireError);
  });

  it('cannot smuggle numbers beyond 2^53 - 1 in', () => {
    const frame = new HeadWriter(16).u64(0).bytes(Buffer.alloc(8, 0xff)).seal(FRAME.open);
    const [parsed] = parse(bytes(frame), [1000]);
    expect(() => decodeFrontendMessage(parsed!)).toThrow(WireError);
  });
});
