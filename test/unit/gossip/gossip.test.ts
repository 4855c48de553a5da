import { randomBytes, randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Member } from '../../../core/gossip/types.js';
import type { NodeId } from '../../../core/types.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import { parseEndpoint } from '../../../node-agent/config.js';
import { decodeMessage } from '../../../node-agent/gossip/datagram.js';
import { Gossip, type GossipOptions } from '../../../node-agent/gossip/index.js';
import { Sealer } from '../../../node-agent/gossip/sealing.js';
import { eventually, logger } from '../transport/helpers.js';

const KEY = randomBytes(32);
/** Quick ones: the protocol's times are tested on virtual time. */
const settings = { probeMs: 60, probeTimeoutMs: 30, rumourMs: 20, reconnectMs: 50 };
const running: Gossip[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((gossip) => gossip.stop()));
});

async function node(seeds: Gossip[], options: Partial<GossipOptions> = {}): Promise<Gossip & { seen: Member[] }> {
  const seen: Member[] = [];
  const gossip = await Gossip.start({
    node: randomUUID() as string as NodeId,
    name: 'node',
    addresses: { io: '127.0.0.1:1', api: '127.0.0.1:2' },
    bind: { host: '127.0.0.1', port: 0 },
    seeds: seeds.map(({ address }) => parseEndpoint(address)),
    clusterKey: KEY,
    clock: systemClock,
    random: systemRandom,
    logger,
    changed: (member) => seen.push(member),
    settings,
    ...options,
  });
  running.push(gossip);
  return Object.assign(gossip, { seen });
}

function alive(gossip: Gossip): number {
  return gossip.members().filter(({ status }) => status === 'alive').length;
}

describe('gossip over UDP', () => {
  it('joins by one seed, finds the dead, and knows who left', async () => {
    const a = await node([]);
    const b = await node([a]);
    const c = await node([a]);
    const d = await node([b]);
    const all = [a, b, c, d];
    await eventually(() => all.every((gossip) => alive(gossip) === 4), 'all know all');
    expect(a.members().find(({ addresses }) => addresses.gossip === d.address)?.addresses.io).toBe('127.0.0.1:1');
    await c.stop();
    await eventually(() => [a, b, d].every((gossip) => gossip.seen.some(({ status }) => status === 'dead')), 'dead');
    await d.leave();
    await eventually(() => [a, b].every((gossip) => gossip.seen.some(({ status }) => status === 'left')), 'left');
  });

  it('carries what members tell of themselves, and what they tell anew', async () => {
    const a = await node([]);
    const b = await node([a]);
    const c = await node([b]);
    await eventually(() => [a, b, c].every((gossip) => alive(gossip) === 3), 'all know all');
    const told = (gossip: Gossip) => gossip.members().find(({ addresses }) => addresses.gossip === c.address)?.state;
    expect(told(a)).toBeUndefined();
    for (const availableBytes of [700, 600]) {
      const state = { protocol: 3, capacity: { totalBytes: 1000, availableBytes } };
      const seen = a.seen.length;
      c.tell(state);
      await eventually(
        () => [a, b, c].every((gossip) => told(gossip)?.capacity.availableBytes === availableBytes),
        'told',
      );
      expect(told(a)).toEqual(state);
      // It is no news about who is there.
      expect(a.seen).toHaveLength(seen);
    }
  });

  it('hears nobody without the cluster key, and no garbage', async () => {
    const a = await node([]);
    const stranger = await node([a], { clusterKey: randomBytes(32) });
    const socket = createSocket('udp4');
    const { host, port } = parseEndpoint(a.address);
    for (const size of [0, 1, 40, 41, 500, 5000]) socket.send(randomBytes(size), port, host);
    await eventually(() => a.counters.refused >= 7, 'all refused');
    expect(a.members()).toHaveLength(1);
    expect(stranger.members()).toHaveLength(1);
    socket.close();
  });

  it('says whose address is taken', async () => {
    const a = await node([]);
    await expect(node([], { bind: parseEndpoint(a.address) })).rejects.toMatchObject({ code: 'in-use' });
    await expect(node([], { bind: { host: '192.0.2.1', port: 0 } })).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('datagrams', () => {
  it('open for holders of the key only, and not after any change', () => {
    const from = new Sealer(KEY);
    const to = new Sealer(KEY);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (plain) => {
        const sealed = from.seal(plain);
        expect(to.open(sealed)).toEqual(Buffer.from(plain));
        expect(new Sealer(randomBytes(32)).open(sealed)).toBeUndefined();
      }),
    );
    const sealed = from.seal(Buffer.from('hello'));
    expect(sealed.includes('hello')).toBe(false);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(to.open(changed)).toBeUndefined();
    }
    for (let length = 0; length < sealed.length; length++) expect(to.open(sealed.subarray(0, length))).toBeUndefined();
    expect(from.seal(Buffer.from('hello')).equals(sealed)).toBe(false);
  });

  it('of agents that tell nothing of themselves are understood', () => {
    const id = randomUUID();
    const info = { node: id, name: 'n', addresses: { gossip: 'h:1', io: 'h:2', api: 'h:3' } };
    const update = { node: id, status: 'alive', incarnation: 1, by: id, info };
    const read = (value: unknown) =>
      decodeMessage(Buffer.from(JSON.stringify({ type: 'rumours', from: id, updates: [value] })))?.updates;
    expect(read(update)).toEqual([update]);
    const state = { protocol: 3, capacity: { totalBytes: 2, availableBytes: 1 } };
    expect(read({ ...update, info: { ...info, state } })).toEqual([{ ...update, info: { ...info, state } }]);
    expect(read({ ...update, info: { ...info, state: { ...state, protocol: -1 } } })).toBeUndefined();
  });

  it('that hold no gossip message are refused', () => {
    const id = randomUUID();
    expect(decodeMessage(Buffer.from(JSON.stringify({ type: 'ack', from: id, number: 1, updates: [] })))).toBeDefined();
    for (const bad of [
      'x',
      '[]',
      '{"type":"ack"}',
      JSON.stringify({ type: 'ack', from: 'x', number: 1, updates: [] }),
      JSON.stringify({ type: 'ack', from: id, number: -1, updates: [] }),
      JSON.stringify({ type: 'ack', from: id, number: 1, updates: [{}] }),
      JSON.stringify({ type: 'ack', from: id, number: 1, updates: Array.from({ length: 65 }, () => ({})) }),
      JSON.stringify({ type: 'shout', from: id, number: 1, updates: [] }),
    ]) {
      expect(decodeMessage(Buffer.from(bad))).toBeUndefined();
    }
    fc.assert(fc.property(fc.json(), (json) => decodeMessage(Buffer.from(json)) === undefined));
  });
});
