/**
 * Version 1 of the protocol, as the release before spoke it, and what versions 2 and 3 have added: bytes that their
 * code wrote. As long as OLDEST_VERSION is 1, they are read and written the same way.
 */

import { readFileSync } from 'node:fs';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import type { NodeId } from '../../../core/types.js';
import { decodeAnswer, decodeHello } from '../../../node-agent/replication/hello.js';
import {
  FRAME,
  type Frame,
  FrameParser,
  OLDEST_VERSION,
  PROTOCOL_VERSION,
} from '../../../node-agent/replication/wire.js';
import { type EncodedFrame, HeadWriter } from '../../../node-agent/replication/wire-fields.js';
import { decodePeerMessage, encodePeerMessage, type PeerAddress } from '../../../node-agent/replication/wire-peer.js';
import {
  decodeFrontendMessage,
  decodeSessionMessage,
  encodeFrontendMessage,
  encodeSessionMessage,
} from '../../../node-agent/replication/wire-session.js';
import { CLUSTER, eventually, identity, nodeIds, TestCluster } from './helpers.js';

interface Sample {
  /** Buffers as `{"hex": …}`. */
  readonly message: { readonly type: string };
  readonly bytes: string;
}

interface Fixture {
  readonly address: PeerAddress;
  readonly peer: readonly Sample[];
  readonly frontend: readonly Sample[];
  readonly session: readonly Sample[];
  readonly hello: string;
  readonly welcome: string;
}

function readFixture<F>(name: string): F {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'), (_key, value) =>
    typeof value?.hex === 'string' ? Buffer.from(value.hex, 'hex') : value,
  );
}

const fixture = readFixture<Fixture>('version-1.json');
const added = readFixture<Pick<Fixture, 'address' | 'peer'>>('version-3.json');

function frameOf(hex: string): Frame {
  const [frame, ...more] = new FrameParser().push(Buffer.from(hex, 'hex'));
  expect(more).toEqual([]);
  return frame!;
}

const hexOf = ({ head, payload }: EncodedFrame): string => Buffer.concat([head, payload]).toString('hex');

function expectPeerMessage(to: PeerAddress, sample: Sample): void {
  const fromNode = '11111111-2222-4333-8444-555555555555' as NodeId;
  const { message, ...address } = decodePeerMessage(frameOf(sample.bytes), fromNode);
  expect({ message, ...address }).toEqual({ message: sample.message, ...to, fromNode });
  expect(hexOf(encodePeerMessage(to, message))).toBe(sample.bytes);
}

describe('what versions 2 and 3 have added', () => {
  it.each(added.peer.map((sample, i) => [`${sample.message.type} (${i})`, sample] as const))('%s', (_, sample) => {
    expectPeerMessage(added.address, sample);
  });
});

describe.runIf(OLDEST_VERSION === 1)('what version 1 wrote', () => {
  it.each(fixture.peer.map((sample, i) => [`${sample.message.type} (${i})`, sample] as const))('%s', (_, sample) => {
    expectPeerMessage(fixture.address, sample);
  });

  it.each(fixture.frontend.map((sample, i) => [`${sample.message.type} (${i})`, sample] as const))(
    '%s',
    (_, sample) => {
      const message = decodeFrontendMessage(frameOf(sample.bytes));
      expect(message).toEqual(sample.message);
      expect(hexOf(encodeFrontendMessage(message))).toBe(sample.bytes);
    },
  );

  it.each(fixture.session.map((sample, i) => [`${sample.message.type} (${i})`, sample] as const))('%s', (_, sample) => {
    const message = decodeSessionMessage(frameOf(sample.bytes));
    expect(message).toEqual(sample.message);
    expect(hexOf(encodeSessionMessage(message))).toBe(sample.bytes);
  });

  it('introductions', () => {
    expect(decodeHello(frameOf(fixture.hello))).toMatchObject({ oldestVersion: 1, newestVersion: 1 });
    expect(decodeAnswer(frameOf(fixture.welcome))).toEqual({ version: 1 });
  });
});

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** A node of the release before, that says what the fixture has it say; and what it hears. */
async function oldNode(
  cluster: TestCluster,
  self: NodeId,
  of: { id: NodeId; endpoint: { host: string; port: number } },
) {
  const frames: Frame[] = [];
  const parser = new FrameParser();
  const own = await identity(cluster.authority, self);
  const socket: TLSSocket = tlsConnect({ ...of.endpoint, ...own, checkServerIdentity: () => undefined });
  cleanups.push(() => socket.destroy());
  socket.on('error', () => {}).on('data', (chunk) => frames.push(...parser.push(chunk)));
  const hello = JSON.stringify({
    protocol: 'storageos-replication',
    oldestVersion: 1,
    newestVersion: 1,
    node: self,
    to: of.id,
    cluster: CLUSTER,
    purpose: { kind: 'peer' },
  });
  socket.write(new HeadWriter(hello.length).bytes(Buffer.from(hello)).seal(FRAME.hello).head);
  await eventually(() => frames.some(({ type }) => type === FRAME.welcome), 'welcome');
  return { socket, frames };
}

describe('beside a node of version 1', () => {
  it('both speak version 1, and each understands the other', async () => {
    const cluster = await TestCluster.create();
    cleanups.push(() => cluster.stop());
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const present = await cluster.add(high);
    const { socket, frames } = await oldNode(cluster, low, present);
    expect(decodeAnswer(frames.find(({ type }) => type === FRAME.welcome)!)).toEqual({ version: 1 });
    await eventually(() => present.network.isUp(low), 'up');
    expect(present.network.version(low)).toBe(1);
    for (const { bytes } of fixture.peer) socket.write(Buffer.from(bytes, 'hex'));
    await eventually(() => present.messages.length === fixture.peer.length, 'all messages');
    expect(present.messages.map(({ message }) => message)).toEqual(fixture.peer.map(({ message }) => message));
    const [{ message }] = present.messages as [(typeof present.messages)[number]];
    present.network.send(low, encodePeerMessage(fixture.address, message));
    await eventually(() => frames.some(({ type }) => type === FRAME[message.type]), 'the answer');
  });

  it('two of the present release speak the newest version', async () => {
    const cluster = await TestCluster.create();
    cleanups.push(() => cluster.stop());
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const a = await cluster.add(low);
    const b = await cluster.add(high);
    a.network.setInterest(new Set([high]));
    await eventually(() => a.network.isUp(high) && b.network.isUp(low), 'both up');
    expect([a.network.version(high), b.network.version(low)]).toEqual([PROTOCOL_VERSION, PROTOCOL_VERSION]);
    expect(a.network.version(low)).toBe(0);
  });
});
