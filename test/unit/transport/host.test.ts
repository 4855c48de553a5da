/** Nodes in one process: real sockets, TLS, stores and protocol; etcd is a map with a compare-and-swap. */

import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Answer } from '../../../core/candidate.js';
import type { Membership, NodeRecord, Placement, Volume } from '../../../core/domain.js';
import { planFailover } from '../../../core/failover.js';
import { DEFAULT_FRONTEND_SETTINGS } from '../../../core/frontend/settings.js';
import { VolumeFrontend } from '../../../core/frontend/volume-frontend.js';
import { initialMembership } from '../../../core/membership.js';
import type { MembershipStore } from '../../../core/ports.js';
import type { BlockNumber, DeploymentId, Generation, NodeId, SessionNumber, VolumeId } from '../../../core/types.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import { type Codec, loadCodec, type VolumeCodec } from '../../../node-agent/codec/index.js';
import { formatEndpoint } from '../../../node-agent/config.js';
import { PeerUnreachableError, ReplicationHost } from '../../../node-agent/replication/index.js';
import { NodeStores, openFileDisk } from '../../../node-agent/store/index.js';
import { CLUSTER, eventually, identity, logger, nodeIds, TestCluster } from './helpers.js';

const BLOCK = 4096;
const ETCD_ID = 'abcdef';
const MIB = 1 << 20;

let codec: Codec;
let cluster: Nodes;

beforeEach(async () => {
  codec = await loadCodec({ engine: 'wasm' });
  cluster = await Nodes.create();
});
afterEach(() => cluster.destroy());

interface Running {
  readonly id: NodeId;
  readonly host: ReplicationHost;
  readonly stores: NodeStores;
  readonly attention: string[];
}

class Nodes {
  readonly #pki: TestCluster;
  readonly #root: string;
  readonly ids = nodeIds(3);
  readonly running = new Map<NodeId, Running>();
  readonly #records = new Map<VolumeId, Membership>();
  readonly #volumes = new Map<VolumeId, Volume>();
  readonly #nodes = new Map<NodeId, NodeRecord>();
  readonly watchers: ((record: Membership, volume: Volume) => void)[] = [];

  private constructor(pki: TestCluster, root: string) {
    this.#pki = pki;
    this.#root = root;
  }

  static async create(): Promise<Nodes> {
    return new Nodes(await TestCluster.create(), await mkdtemp(join(tmpdir(), 'host-')));
  }

  async start(id: NodeId): Promise<Running> {
    await mkdir(join(this.#root, id), { recursive: true });
    const stores = await NodeStores.open({
      disk: openFileDisk(join(this.#root, id)),
      clock: systemClock,
      random: systemRandom,
      bootId: 'boot',
      checksums: (volume) => codec.checksums(volume),
      reserveBytes: 0,
    });
    const attention: string[] = [];
    const host = new ReplicationHost({
      self: id,
      cluster: CLUSTER,
      etcdClusterId: ETCD_ID,
      identity: await identity(this.#pki.authority, id),
      bind: { host: '127.0.0.1', port: 0 },
      stores,
      memberships: this.#memberships,
      checksums: (volume) => codec.checksums(volume),
      clock: systemClock,
      random: systemRandom,
      logger,
      attention: (_volume, reason) => attention.push(reason),
      settings: { leaseMs: 600, leaseRenewMs: 100, openTimeoutMs: 400, memberGraceMs: 200 },
      transport: { pingMs: 100, silenceMs: 500 },
    });
    const node = { id, host, stores, attention };
    for (const [other, record] of this.#nodes) host.onNode(record, other);
    for (const [volume, record] of this.#volumes) host.onVolume(record, volume);
    for (const [volume, record] of this.#records) host.onMembership(record, volume);
    const endpoint = await host.start();
    const record = { id, ioEndpoint: formatEndpoint(endpoint) } as NodeRecord;
    this.#nodes.set(id, record);
    this.running.set(id, node);
    for (const { host: each } of this.running.values()) each.onNode(record, id);
    return node;
  }

  async stop(id: NodeId): Promise<void> {
    const node = this.running.get(id);
    this.running.delete(id);
    await node?.host.stop();
    await node?.stores.close();
  }

  async destroy(): Promise<void> {
    for (const id of this.running.keys()) await this.stop(id);
    await rm(this.#root, { recursive: true });
  }

  record(volume: VolumeId): Membership {
    return this.#records.get(volume) as Membership;
  }

  tell(volume: Volume): void {
    this.#volumes.set(volume.id, volume);
    for (const { host } of this.running.values()) host.onVolume(volume, volume.id);
  }

  put(record: Membership): void {
    this.#records.set(record.volume, record);
    setImmediate(() => {
      for (const { host } of this.running.values()) host.onMembership(record, record.volume);
      for (const watcher of this.watchers) watcher(record, this.#volumes.get(record.volume) as Volume);
    });
  }

  readonly #memberships: MembershipStore = {
    read: async (volume) => this.#records.get(volume),
    swap: async (expected, next) => {
      if (JSON.stringify(this.#records.get(expected.volume)) !== JSON.stringify(expected)) return 'conflict';
      this.put(next);
      return 'applied';
    },
  };
}

function makeVolume(placements: readonly Placement[]): Volume {
  return {
    id: randomUUID() as string as VolumeId,
    sizeBytes: 16 * MIB,
    blockSize: BLOCK,
    replicas: placements.length - 1,
    failureMode: { kind: 'alwayson' },
    durability: 'writeback',
    placements,
  } as unknown as Volume;
}

function place(nodes: readonly Running[]): Placement[] {
  return nodes.map(({ id }) => ({ deployment: randomUUID() as string as DeploymentId, node: id }));
}

async function provision(nodes: readonly Running[]): Promise<Volume> {
  const volume = makeVolume(place(nodes));
  cluster.tell(volume);
  const [first] = await Promise.all(
    nodes.map(({ host }, i) => host.createDeployment(volume, volume.placements[i]!.deployment)),
  );
  // A member that cannot be reached when the volume opens would be left out of it.
  const others = nodes.slice(1);
  await eventually(() => others.every(({ id }) => nodes[0]!.host.isPeerUp(id)), 'the copies are connected');
  const record = initialMembership({
    volume: volume.id,
    primary: { ...volume.placements[0]!, incarnation: first!.incarnation },
    inSync: volume.placements.map(({ deployment }) => deployment),
    etcdClusterId: ETCD_ID,
  });
  cluster.put(record);
  await eventually(() => nodes[0]!.host.status(first!.deployment)?.serving === true, 'the primary serves');
  return volume;
}

let sessions = 0;

class Consumer {
  readonly frontend: VolumeFrontend;
  readonly #codec: VolumeCodec;

  constructor(node: Running, volume: Volume) {
    this.#codec = codec.openVolume({ volume: volume.id, blockSize: BLOCK, compress: true });
    this.frontend = new VolumeFrontend({
      volume: { id: volume.id, blockSize: BLOCK, blocks: volume.sizeBytes / BLOCK, writethrough: false },
      generation: 1 as Generation,
      session: () => ++sessions as SessionNumber,
      connector: node.host.connector,
      clock: systemClock,
      random: systemRandom,
      settings: DEFAULT_FRONTEND_SETTINGS,
      events: { attention: () => {}, fenced: () => {}, log: () => {} },
    });
    this.frontend.onMembership(cluster.record(volume.id), volume.placements);
    cluster.watchers.push((record, { placements }) => this.frontend.onMembership(record, placements));
  }

  async write(block: number, plain: Buffer): Promise<void> {
    expect(await this.frontend.write(this.#codec.encode(plain, block), false)).toBe('ok');
  }

  async read(block: number, blocks: number): Promise<Buffer> {
    const { status, batch } = await this.frontend.read(block as BlockNumber, blocks);
    expect(status).toBe('ok');
    const plain = Buffer.alloc(blocks * BLOCK);
    this.#codec.decode(batch, block, plain);
    return plain;
  }
}

async function everything(node: Running, target: Placement): Promise<unknown[]> {
  const items: unknown[] = [];
  for (let from: number | undefined = 0; from !== undefined; ) {
    const page = await node.host.remoteInventory(target, from as BlockNumber, 100);
    items.push(...page.blocks);
    from = page.next;
  }
  return items;
}

describe('a volume of two copies', () => {
  it('is written and read from any node, and both copies are the same', async () => {
    const [a, b, c] = await Promise.all(cluster.ids.map((id) => cluster.start(id)));
    const volume = await provision([a!, b!]);
    const pattern = (i: number): Buffer => randomBytes(BLOCK * 4).fill(i, 0, 100);
    const blocks = Array.from({ length: 60 }, (_, i) => pattern(i));
    const consumers = [a!, b!, c!].map((node) => new Consumer(node, volume));
    // One frontend at a time: a newer session ends the older ones.
    for (const consumer of consumers) {
      await Promise.all(blocks.map((data, i) => consumer.write(i * 4, data)));
      expect(await consumer.frontend.flush()).toBe('ok');
      const read = await Promise.all(blocks.map((_, i) => consumer.read(i * 4, 4)));
      expect(Buffer.concat(read).equals(Buffer.concat(blocks))).toBe(true);
      expect((await consumer.read(1000, 2)).equals(Buffer.alloc(2 * BLOCK))).toBe(true);
      await consumer.frontend.close();
    }
    const [first, second] = volume.placements as [Placement, Placement];
    const copies = [await everything(c!, first), await everything(c!, second)];
    expect(copies[0]).toHaveLength(240);
    expect(copies[1]).toEqual(copies[0]);
    expect((await c!.host.remoteStatus(first)).role).toBe('primary');
    expect((await c!.host.remoteStatus(second)).role).toBe('member');
  });

  it('goes on when a member stops, takes it back by a delta sync, and fails over to it', async () => {
    const [a, b, c] = (await Promise.all(cluster.ids.map((id) => cluster.start(id)))) as [Running, Running, Running];
    const volume = await provision([a, b]);
    const [first, second] = volume.placements as [Placement, Placement];
    const consumer = new Consumer(c, volume);
    await consumer.write(0, Buffer.alloc(64 * BLOCK, 1));
    await cluster.stop(b.id);
    await consumer.write(8, Buffer.alloc(4 * BLOCK, 2));
    expect(cluster.record(volume.id).inSync).toEqual([first.deployment]);
    expect(a.attention).toContain('member-removed');
    await expect(c.host.remoteStatus(second, 2000)).rejects.toBeInstanceOf(PeerUnreachableError);

    const back = await cluster.start(b.id);
    expect(back.host.status(second.deployment)?.role).toBe('member');
    await eventually(() => a.host.isPeerUp(b.id), 'peers');
    const progress = await a.host.startSync(first.deployment, second.deployment, () => {}).done;
    expect(progress).toMatchObject({ kind: 'delta', blocksDone: 4 });
    expect(cluster.record(volume.id).inSync).toContain(second.deployment);

    await cluster.stop(a.id);
    const record = cluster.record(volume.id);
    const answers = new Map<DeploymentId, Answer>([
      [first.deployment, 'unreachable'],
      [second.deployment, await c.host.remoteStatus(second)],
    ]);
    const step = planFailover(record, volume.placements, answers);
    if (step.kind !== 'swap') throw new Error(`no candidate: ${JSON.stringify(step)}`);
    cluster.put(step.next);
    const read = await consumer.read(0, 16);
    expect(
      read.equals(Buffer.concat([Buffer.alloc(8 * BLOCK, 1), Buffer.alloc(4 * BLOCK, 2), Buffer.alloc(4 * BLOCK, 1)])),
    ).toBe(true);
    await consumer.write(0, Buffer.alloc(BLOCK, 3));
    expect(cluster.record(volume.id).inSync).toEqual([second.deployment]);
    await consumer.frontend.close();
  });
});

describe('the host', () => {
  it('opens again what is on its disks, makes nothing by itself, and removes what it is told to', async () => {
    const id = cluster.ids[0]!;
    const first = await cluster.start(id);
    const volume = makeVolume(place([first]));
    const deployment = volume.placements[0]!.deployment;
    cluster.tell(volume);
    expect(first.host.status(deployment)).toBeUndefined();
    const made = await first.host.createDeployment(volume, deployment);
    expect(await first.host.createDeployment(volume, deployment)).toEqual(made);
    await expect(first.host.createDeployment(volume, randomUUID() as string as DeploymentId)).rejects.toMatchObject({
      code: 'invalid',
    });

    await cluster.stop(id);
    const second = await cluster.start(id);
    expect(second.host.status(deployment)?.incarnation).not.toBe(made.incarnation);
    expect(second.host.statuses()).toHaveLength(1);
    await second.host.removeDeployment(deployment);
    await second.host.removeDeployment(deployment);
    expect(second.host.status(deployment)).toBeUndefined();
    expect(second.stores.deployments()).toEqual([]);
    const target = { deployment, node: id };
    await expect(second.host.remoteStatus(target)).rejects.toMatchObject({ code: 'not-found' });
    await expect(second.host.startSync(deployment, deployment, () => {}).done).rejects.toThrow(/holds no deployment/);
  });

  it('tells other nodes that it holds no such deployment, and refuses malformed requests', async () => {
    const [a, b] = (await Promise.all(cluster.ids.slice(0, 2).map((id) => cluster.start(id)))) as [Running, Running];
    const target = { deployment: randomUUID() as string as DeploymentId, node: b.id };
    await expect(a.host.remoteStatus(target)).rejects.toMatchObject({ code: 'not-found' });
    await expect(a.host.remoteInventory(target, -1 as BlockNumber, 10)).rejects.toMatchObject({ code: 'invalid' });
    await expect(a.host.remoteInventory(target, 0 as BlockNumber, 1e9)).rejects.toMatchObject({ code: 'invalid' });
  });

  it('opens a store that has failed anew', async () => {
    const node = await cluster.start(cluster.ids[0]!);
    const volume = await provision([node]);
    const { deployment } = volume.placements[0]!;
    const before = node.host.get(deployment)!;
    before.replicated.fail(new Error('the disk broke'));
    await eventually(() => (node.host.get(deployment) ?? before) !== before, 'opened anew');
    expect(node.attention).toContain('store-failed');
    expect(node.host.status(deployment)?.incarnation).not.toBe(before.store.incarnation);
  });

  it('answers frontends that come to the wrong node', async () => {
    const [a, b] = (await Promise.all(cluster.ids.slice(0, 2).map((id) => cluster.start(id)))) as [Running, Running];
    const volume = await provision([a]);
    const got: unknown[] = [];
    for (const node of [a, b]) {
      const target = { volume: volume.id, deployment: randomUUID() as string as DeploymentId, node: b.id };
      const channel = node.host.connector.connect(target, {
        message: (message) => got.push(message),
        closed: () => {},
      });
      channel.send({ type: 'open', session: 1 as SessionNumber, generation: 1 as Generation });
    }
    await eventually(() => got.length === 2, 'both answered');
    expect(got).toEqual(Array(2).fill({ type: 'rejected', session: 1, reason: 'not-primary', primary: a.id }));
  });
});
