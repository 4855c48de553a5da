import { createServer, type Server, type Socket, connect as tcpConnect } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../core/errors.js';
import type { FrontendMessage, SessionMessage } from '../../../core/messages.js';
import type { SessionLink } from '../../../core/ports.js';
import type {
  DeploymentId,
  Epoch,
  Generation,
  Incarnation,
  NodeId,
  SessionNumber,
  VolumeId,
} from '../../../core/types.js';
import { createAuthority } from '../../../node-agent/pki/index.js';
import { PeerUnreachableError } from '../../../node-agent/replication/errors.js';
import { encodeHello } from '../../../node-agent/replication/hello.js';
import { FRAME, type Frame, FrameParser } from '../../../node-agent/replication/wire.js';
import { HeadWriter } from '../../../node-agent/replication/wire-fields.js';
import { encodePeerMessage } from '../../../node-agent/replication/wire-peer.js';
import { CLUSTER, eventually, identity, nodeIds, TestCluster, type TestNode } from './helpers.js';

const VOLUME = '11111111-2222-4333-8444-555555555555' as VolumeId;
const FROM = '22222222-2222-4333-8444-555555555555' as DeploymentId;
const TO = '33333333-2222-4333-8444-555555555555' as DeploymentId;
const INCARNATION = '44444444-2222-4333-8444-555555555555' as Incarnation;

let cluster: TestCluster;
const cleanups: (() => void)[] = [];

beforeEach(async () => {
  cluster = await TestCluster.create();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) cleanup();
  await cluster.stop();
});

function say(from: TestNode, to: TestNode, lease: number): void {
  const message = { type: 'lease', epoch: 1 as Epoch, incarnation: INCARNATION, lease } as const;
  from.network.send(to.id, encodePeerMessage({ volume: VOLUME, from: FROM, to: TO }, message));
}

/** A TCP relay in front of a node, which can stop passing bytes on without closing anything. */
async function relay(target: TestNode): Promise<{ block(): void; cut(): void }> {
  const sockets = new Set<Socket>();
  let blocked = false;
  const server: Server = createServer((near) => {
    const far = tcpConnect(target.endpoint.port, target.endpoint.host);
    for (const [a, b] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(a);
      a.on('data', (chunk) => !blocked && b.write(chunk));
      a.on('close', () => b.destroy());
      a.on('error', () => b.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cluster.addresses.set(target.id, { host: '127.0.0.1', port: (server.address() as { port: number }).port });
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  cleanups.push(() => {
    cut();
    server.close();
  });
  return {
    cut,
    block: () => {
      blocked = true;
    },
  };
}

describe('peers', () => {
  it('share one connection, in either direction and in order, when both dial at once', async () => {
    for (let round = 0; round < 5; round++) {
      const [low, high] = nodeIds(2) as [NodeId, NodeId];
      const a = await cluster.add(low);
      const b = await cluster.add(high);
      a.network.setInterest(new Set([high]));
      b.network.setInterest(new Set([low]));
      await eventually(() => a.network.isUp(high) && b.network.isUp(low), 'both up');
      for (let i = 0; i < 500; i++) {
        say(a, b, i);
        say(b, a, i);
      }
      await eventually(() => a.messages.length === 500 && b.messages.length === 500, 'all messages');
      for (const { messages } of [a, b]) {
        expect(messages.map(({ message }) => (message as { lease: number }).lease)).toEqual(
          Array.from({ length: 500 }, (_, i) => i),
        );
      }
      expect(a.messages[0]).toMatchObject({ fromNode: high, volume: VOLUME, from: FROM, to: TO });
      expect(a.log).toEqual([`up ${high}`]);
      expect(b.log).toEqual([`up ${low}`]);
    }
  });

  it('both learn of a break, and find each other again', async () => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const a = await cluster.add(low);
    const b = await cluster.add(high);
    const wire = await relay(b);
    a.network.setInterest(new Set([high]));
    await eventually(() => a.network.isUp(high) && b.network.isUp(low), 'both up');
    const downs = ({ log }: TestNode): number => log.filter((line) => line.startsWith('down')).length;
    for (let round = 1; round <= 3; round++) {
      const before = [downs(a), downs(b)] as const;
      wire.cut();
      await eventually(() => downs(a) > before[0] && downs(b) > before[1], 'both see it');
      await eventually(() => a.network.isUp(high) && b.network.isUp(low), 'up again');
    }
    for (const [node, peer] of [
      [a, high],
      [b, low],
    ] as const) {
      expect(node.log).toEqual(node.log.map((_, i) => `${i % 2 === 0 ? 'up' : 'down'} ${peer}`));
    }
  });

  it('count a silent connection as down', async () => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const settings = { pingMs: 50, silenceMs: 200, dialTimeoutMs: 300 };
    const a = await cluster.add(low, { settings });
    const b = await cluster.add(high, { settings });
    const wire = await relay(b);
    a.network.setInterest(new Set([high]));
    await eventually(() => a.network.isUp(high) && b.network.isUp(low), 'both up');
    wire.block();
    await eventually(() => !a.network.isUp(high) && !b.network.isUp(low), 'down');
    expect(a.log).toEqual([`up ${high}`, `down ${high}`]);
  });

  it('are down when more bytes wait for them than the queue may hold', async () => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const a = await cluster.add(low, { settings: { maxQueueBytes: 1 << 20 } });
    const b = await cluster.add(high);
    a.network.setInterest(new Set([high]));
    await eventually(() => a.network.isUp(high), 'up');
    const message = {
      type: 'append',
      epoch: 1 as Epoch,
      incarnation: INCARNATION,
      orderEpoch: 1,
      firstSequence: 1,
      durable: false,
      batch: { entries: Buffer.alloc(32 * 16), payload: Buffer.alloc(1 << 20) },
    } as never;
    for (let i = 0; i < 64; i++) {
      a.network.send(b.id, encodePeerMessage({ volume: VOLUME, from: FROM, to: TO }, message));
    }
    await eventually(() => a.log.includes(`down ${high}`), 'down');
  });

  it('close a connection that nobody needs', async () => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const a = await cluster.add(low, { settings: { idleMs: 50 } });
    await cluster.add(high);
    expect(await a.network.request(high, 'status', 1, 5000)).toEqual({ method: 'status', args: 1 });
    await eventually(() => a.log.includes(`down ${high}`), 'closed');
    expect(await a.network.request(high, 'status', 2, 5000)).toEqual({ method: 'status', args: 2 });
  });
});

describe('requests', () => {
  it('are answered, or fail with what the other node says', async () => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const a = await cluster.add(low);
    await cluster.add(high, {
      events: {
        request: async (node, method, args) => {
          if (method === 'fail') throw new DomainError('not-found', 'nothing here');
          if (method === 'crash') throw new TypeError('x is not a function');
          if (method === 'hang') return new Promise(() => {});
          return { node, args };
        },
      },
    });
    expect(await a.network.request(high, 'echo', { x: [1] }, 5000)).toEqual({ node: low, args: { x: [1] } });
    await expect(a.network.request(high, 'fail', null, 5000)).rejects.toMatchObject({ code: 'not-found' });
    await expect(a.network.request(high, 'crash', null, 5000)).rejects.toMatchObject({ code: 'internal' });
    await expect(a.network.request(high, 'hang', null, 50)).rejects.toBeInstanceOf(PeerUnreachableError);
  });

  it('fail at once when the node cannot be reached or goes away', async () => {
    const [low, high, absent] = nodeIds(3) as [NodeId, NodeId, NodeId];
    const a = await cluster.add(low);
    await expect(a.network.request(absent, 'x', null, 60_000)).rejects.toBeInstanceOf(PeerUnreachableError);
    cluster.addresses.set(absent, { host: '127.0.0.1', port: 1 });
    await expect(a.network.request(absent, 'x', null, 60_000)).rejects.toBeInstanceOf(PeerUnreachableError);
    const b = await cluster.add(high, { events: { request: () => new Promise(() => {}) } });
    const wire = await relay(b);
    const hanging = a.network.request(high, 'x', null, 60_000);
    hanging.catch(() => {});
    await eventually(() => a.network.isUp(high) && b.network.isUp(low), 'both up');
    wire.cut();
    await expect(hanging).rejects.toMatchObject({ code: 'node-unavailable', node: high });
  });
});

describe('who may connect', () => {
  const settings = { dialTimeoutMs: 500 };

  async function refused(a: TestNode, to: NodeId): Promise<void> {
    await expect(a.network.request(to, 'x', null, 5000)).rejects.toBeInstanceOf(PeerUnreachableError);
  }

  it('not a node of another authority', async () => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const stranger = await identity(await createAuthority({ cluster: CLUSTER }), low);
    const b = await cluster.add(high, { settings });
    await refused(await cluster.add(low, { settings, identity: stranger }), high);
    // Even if it trusts us, we don't trust it.
    const trusting = { ...stranger, ca: cluster.authority.certificate };
    await refused(await cluster.add(low, { settings, identity: trusting }), high);
    expect(b.log).toEqual([]);
  });

  it('not a node that claims to be another, and not to a node that is another', async () => {
    const [low, high, third] = nodeIds(3) as [NodeId, NodeId, NodeId];
    const b = await cluster.add(high, { settings });
    await refused(await cluster.add(low, { settings, identity: await identity(cluster.authority, third) }), high);
    const a = await cluster.add(low, { settings });
    cluster.addresses.set(third, b.endpoint);
    await refused(a, third);
    expect(b.log).toEqual([]);
  });

  it('not a node of another cluster', async () => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    await cluster.add(high, { settings });
    await refused(await cluster.add(low, { settings, cluster: low }), high);
  });

  it('not without a certificate, not without TLS 1.3, not in plain text', async () => {
    const [node] = nodeIds(1) as [NodeId];
    const { endpoint } = await cluster.add(node, { settings });
    const bare = tlsConnect({ ...endpoint, ca: cluster.authority.certificate, checkServerIdentity: () => undefined });
    await new Promise((resolve) =>
      bare
        .on('close', resolve)
        .on('error', () => {})
        .resume(),
    );
    const own = await identity(cluster.authority, node);
    const old = tlsConnect({ ...endpoint, ...own, maxVersion: 'TLSv1.2', checkServerIdentity: () => undefined });
    await new Promise((resolve) => old.on('close', resolve).on('error', () => {}));
    const plain = tcpConnect(endpoint);
    plain.write('GET / HTTP/1.1\r\n\r\n');
    await new Promise((resolve) =>
      plain
        .on('close', resolve)
        .on('error', () => {})
        .resume(),
    );
  });

  it('not somebody who says nothing, or garbage, or something out of turn', async () => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const b = await cluster.add(high, { settings: { ...settings, dialTimeoutMs: 200 } });
    const own = await identity(cluster.authority, low);
    const dial = (): Promise<TLSSocket> =>
      new Promise((resolve) => {
        const socket: TLSSocket = tlsConnect({ ...b.endpoint, ...own, checkServerIdentity: () => undefined }, () =>
          resolve(socket),
        );
      });
    const closes = (socket: TLSSocket): Promise<unknown> =>
      new Promise((resolve) =>
        socket
          .on('close', resolve)
          .on('error', () => {})
          .resume(),
      );
    await closes(await dial());
    const garbage = await dial();
    garbage.write(Buffer.alloc(4096, 0x5a));
    await closes(garbage);
    const early = await dial();
    early.write(new HeadWriter(16).bytes(Buffer.alloc(16)).seal(FRAME.open).head);
    await closes(early);
    const odd = await dial();
    odd.write(encodeHello(low, high, CLUSTER, { kind: 'peer' }).head);
    odd.write(new HeadWriter(3).bytes(Buffer.alloc(3)).seal(FRAME.append).head);
    await closes(odd);
    expect(b.messages).toEqual([]);
  });

  it('goes on with a renewed certificate', async () => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const a = await cluster.add(low);
    const b = await cluster.add(high);
    await a.network.request(high, 'x', 1, 5000);
    a.network.setIdentity(await identity(cluster.authority, low));
    b.network.setIdentity(await identity(cluster.authority, high));
    await a.network.request(high, 'x', 2, 5000);
    expect(a.log).toEqual([`up ${high}`]);
  });
});

describe('sessions', () => {
  const open = { type: 'open', session: 7 as SessionNumber, generation: 1 as Generation } as const;

  interface Side {
    readonly got: FrontendMessage[];
    readonly links: SessionLink[];
    readonly closed: SessionLink[];
    end: (reason: string) => void;
  }

  function primary(): Side & { open: Parameters<TestCluster['add']>[1] } {
    const side: Side = { got: [], links: [], closed: [], end: () => {} };
    return Object.assign(side, {
      open: {
        openSession: (address: { deployment: DeploymentId }, end: (reason: string) => void) => {
          side.end = end;
          expect(address.deployment).toBe(TO);
          return {
            open: (link: SessionLink, message: FrontendMessage) => {
              side.links.push(link);
              side.got.push(message);
              link.send({ type: 'opened', session: 7 as SessionNumber, epoch: 3 as Epoch, lossVerifier: 1 });
            },
            message: (_link: SessionLink, message: FrontendMessage) => side.got.push(message),
            closed: (link: SessionLink) => side.closed.push(link),
          };
        },
      },
    });
  }

  function frontend(): { got: SessionMessage[]; closed: string[]; events: never } {
    const got: SessionMessage[] = [];
    const closed: string[] = [];
    const events = { message: (m: SessionMessage) => got.push(m), closed: (reason: string) => closed.push(reason) };
    return { got, closed, events: events as never };
  }

  it.each(['remote', 'local'])('%s: messages go both ways in order, and both ends learn of the end', async (where) => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const side = primary();
    const b = await cluster.add(high, side.open);
    const a = where === 'local' ? b : await cluster.add(low);
    const target = { volume: VOLUME, deployment: TO, node: high };

    const first = frontend();
    const channel = a.network.sessions.connect(target, first.events);
    channel.send(open);
    for (let request = 0; request < 300; request++) channel.send({ type: 'sync', session: open.session, request });
    expect(side.got).toEqual([]);
    await eventually(() => side.got.length === 301, 'all arrive');
    expect(side.got[0]).toEqual(open);
    expect(side.got.slice(1).map((message) => (message as { request: number }).request)).toEqual(
      Array.from({ length: 300 }, (_, i) => i),
    );
    for (let request = 0; request < 300; request++) side.links[0]!.send({ type: 'synced', request, status: 'ok' });
    await eventually(() => first.got.length === 301, 'all answers');
    expect(first.got[0]?.type).toBe('opened');
    channel.close();
    await eventually(() => side.closed.length === 1, 'the primary learns of the end');
    expect(side.closed[0]).toBe(side.links[0]);
    expect(side.links[0]!.closed).toBe(true);
    expect(first.closed).toEqual([]);

    const second = frontend();
    a.network.sessions.connect(target, second.events).send(open);
    await eventually(() => second.got.length === 1, 'opened again');
    side.end('removed');
    await eventually(() => second.closed.length === 1, 'the frontend learns of the end');
  });

  it('that cannot be made are closed, in a later turn', async () => {
    const [low, absent] = nodeIds(2) as [NodeId, NodeId];
    const a = await cluster.add(low);
    for (const port of [undefined, 1]) {
      if (port !== undefined) cluster.addresses.set(absent, { host: '127.0.0.1', port });
      const { closed, events } = frontend();
      a.network.sessions.connect({ volume: VOLUME, deployment: TO, node: absent }, events).send(open);
      expect(closed).toEqual([]);
      await eventually(() => closed.length === 1, 'closed');
    }
  });

  it('say nothing more after close', async () => {
    const [low, high] = nodeIds(2) as [NodeId, NodeId];
    const side = primary();
    await cluster.add(high, side.open);
    const a = await cluster.add(low);
    const { got, closed, events } = frontend();
    const channel = a.network.sessions.connect({ volume: VOLUME, deployment: TO, node: high }, events);
    channel.send(open);
    await eventually(() => side.got.length === 1, 'open');
    channel.close();
    channel.close();
    channel.send(open);
    await eventually(() => side.closed.length === 1, 'closed');
    expect(got.length + closed.length).toBeLessThanOrEqual(1);
    expect(side.got).toHaveLength(1);
  });
});

it('pings are answered', async () => {
  const [low, high] = nodeIds(2) as [NodeId, NodeId];
  const b = await cluster.add(high);
  const own = await identity(cluster.authority, low);
  const frames: Frame[] = [];
  const parser = new FrameParser();
  const socket = tlsConnect({ ...b.endpoint, ...own, checkServerIdentity: () => undefined });
  cleanups.push(() => socket.destroy());
  socket.on('data', (chunk) => frames.push(...parser.push(chunk)));
  socket.write(encodeHello(low, high, CLUSTER, { kind: 'peer' }).head);
  socket.write(new HeadWriter(0).seal(FRAME.ping).head);
  await eventually(() => frames.some(({ type }) => type === FRAME.pong), 'pong');
  expect(frames[0]?.type).toBe(FRAME.welcome);
});
