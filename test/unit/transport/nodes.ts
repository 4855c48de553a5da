/** Nodes in one process: real sockets, TLS, stores and protocol; etcd is a map with a compare-and-swap. */

import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Membership, NodeRecord, Placement, Volume } from '../../../core/domain.js';
import { DEFAULT_FRONTEND_SETTINGS } from '../../../core/frontend/settings.js';
import { VolumeFrontend } from '../../../core/frontend/volume-frontend.js';
import { initialMembership } from '../../../core/membership.js';
import type { MembershipStore } from '../../../core/ports.js';
import type { BlockNumber, DeploymentId, Generation, NodeId, SessionNumber, VolumeId } from '../../../core/types.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import type { Codec, VolumeCodec } from '../../../node-agent/codec/index.js';
import { formatEndpoint } from '../../../node-agent/config.js';
import type { TlsIdentity } from '../../../node-agent/pki/index.js';
import { type CopiesMemory, ReplicationHost } from '../../../node-agent/replication/index.js';
import type { TransportSettings } from '../../../node-agent/replication/settings.js';
import { NodeStores, openFileDisk } from '../../../node-agent/store/index.js';
import { aVolume } from '../../setup/records.js';
import { CLUSTER, eventually, identity, logger, nodeIds, TestCluster } from './helpers.js';

export const BLOCK = 4096;
const ETCD_ID = 'abcdef';
const MIB = 1 << 20;

export interface Running {
  readonly id: NodeId;
  readonly host: ReplicationHost;
  readonly stores: NodeStores;
  readonly attention: string[];
}

export class Nodes {
  readonly codec: Codec;
  readonly #pki: TestCluster;
  readonly #root: string;
  readonly ids = nodeIds(3);
  readonly running = new Map<NodeId, Running>();
  /** What each node remembers of volumes, also while it is away. */
  readonly memories = new Map<NodeId, Map<VolumeId, Volume>>();
  readonly #records = new Map<VolumeId, Membership>();
  readonly #volumes = new Map<VolumeId, Volume>();
  readonly #nodes = new Map<NodeId, NodeRecord>();
  readonly watchers: ((record: Membership, volume: Volume) => void)[] = [];

  private constructor(codec: Codec, pki: TestCluster, root: string) {
    this.codec = codec;
    this.#pki = pki;
    this.#root = root;
  }

  /** `codec` stays the caller's. */
  static async create(codec: Codec): Promise<Nodes> {
    return new Nodes(codec, await TestCluster.create(), await mkdtemp(join(tmpdir(), 'host-')));
  }

  /** What the node's stores are in. */
  directory(id: NodeId): string {
    return join(this.#root, id);
  }

  /** A new certificate for a node. */
  identity(id: NodeId): Promise<TlsIdentity> {
    return identity(this.#pki.authority, id);
  }

  async start(id: NodeId, transport: Partial<TransportSettings> = {}): Promise<Running> {
    await mkdir(join(this.#root, id), { recursive: true });
    const stores = await NodeStores.open({
      disk: openFileDisk(join(this.#root, id)),
      clock: systemClock,
      random: systemRandom,
      bootId: 'boot',
      checksums: (volume) => this.codec.checksums(volume),
      reserveBytes: 0,
    });
    const attention: string[] = [];
    const host = new ReplicationHost({
      self: id,
      cluster: CLUSTER,
      etcdClusterId: ETCD_ID,
      identity: await this.identity(id),
      bind: { host: '127.0.0.1', port: 0 },
      stores,
      memberships: this.#memberships,
      checksums: (volume) => this.codec.checksums(volume),
      clock: systemClock,
      random: systemRandom,
      logger,
      attention: (_volume, reason) => attention.push(reason),
      settings: { leaseMs: 600, leaseRenewMs: 100, openTimeoutMs: 400, memberGraceMs: 200 },
      transport: { pingMs: 100, silenceMs: 500, ...transport },
      memory: this.#memoryOf(id),
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

  /** Made on these nodes, the first of which is the primary's. */
  async provision(nodes: readonly Running[]): Promise<Volume> {
    const volume = makeVolume(place(nodes));
    this.tell(volume);
    const [first] = await Promise.all(
      nodes.map(({ host }, i) =>
        host.createDeployment(volume.id, volume.placements[i]!.deployment, async () => volume),
      ),
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
    this.put(record);
    await eventually(() => nodes[0]!.host.status(first!.deployment)?.serving === true, 'the primary serves');
    return volume;
  }

  record(volume: VolumeId): Membership {
    return this.#records.get(volume) as Membership;
  }

  tell(volume: Volume): void {
    this.#volumes.set(volume.id, volume);
    for (const { host } of this.running.values()) host.onVolume(volume, volume.id);
  }

  /** As if etcd had been restored from a snapshot that is older than the volume. */
  lose(volume: VolumeId): void {
    this.#volumes.delete(volume);
    this.#records.delete(volume);
    for (const { host } of this.running.values()) {
      host.onMembership(undefined, volume);
      host.onVolume(undefined, volume);
    }
  }

  #memoryOf(id: NodeId): CopiesMemory {
    const known = this.memories.get(id) ?? new Map<VolumeId, Volume>();
    this.memories.set(id, known);
    return {
      of: (volume) => {
        const found = known.get(volume);
        return found && { volume: found, namespaceName: 'home' };
      },
      remember: (volume) => void known.set(volume.id, volume),
      forget: (volume) => void known.delete(volume),
    };
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

export function makeVolume(placements: readonly Placement[]): Volume {
  return aVolume({
    sizeBytes: 16 * MIB,
    blockSize: BLOCK,
    replicas: placements.length - 1,
    failureMode: { kind: 'alwayson' },
    placements,
  });
}

export function place(nodes: readonly Running[]): Placement[] {
  return nodes.map(({ id }) => ({ deployment: randomUUID() as string as DeploymentId, node: id }));
}

let sessions = 0;

export class Consumer {
  readonly frontend: VolumeFrontend;
  readonly #codec: VolumeCodec;

  constructor(cluster: Nodes, node: Running, volume: Volume) {
    this.#codec = cluster.codec.openVolume({ volume: volume.id, blockSize: BLOCK, compress: true });
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

export async function everything(node: Running, target: Placement): Promise<unknown[]> {
  const items: unknown[] = [];
  for (let from: number | undefined = 0; from !== undefined; ) {
    const page = await node.host.remoteInventory(target, from as BlockNumber, 100);
    items.push(...page.blocks);
    from = page.next;
  }
  return items;
}
