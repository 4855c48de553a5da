/**
 * One node's data plane in a process of its own, as an agent has it: block stores on a real directory, replication
 * over TCP with mutual TLS, the codec, NBD sockets. What an agent learns from etcd it is told by its parent, which
 * also compares and swaps membership records (cluster.ts).
 */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { pino } from 'pino';
import type { Membership, NodeRecord, Volume } from '../../core/domain.js';
import type { SyncProgress } from '../../core/messages.js';
import type { MembershipStore, SwapOutcome } from '../../core/ports.js';
import type { DeploymentId, Generation, Incarnation, NodeId, VolumeId } from '../../core/types.js';
import { systemClock, systemRandom } from '../../node-agent/clock.js';
import { type CipherEngine, type Codec, lendersOf, loadCodec } from '../../node-agent/codec/index.js';
import { formatEndpoint } from '../../node-agent/config.js';
import { FrontendHost } from '../../node-agent/frontend/host.js';
import type { TlsIdentity } from '../../node-agent/pki/index.js';
import { ReplicationHost } from '../../node-agent/replication/index.js';
import { NodeStores, openFileDisk } from '../../node-agent/store/index.js';
import { writtenBytes } from '../processes.js';
import { connect } from './rpc.js';

export interface NodeOptions {
  readonly id: NodeId;
  readonly cluster: string;
  readonly etcdClusterId: string;
  readonly identity: TlsIdentity;
  readonly dataDir: string;
  readonly socketDir: string;
  readonly engine: CipherEngine;
  readonly reserveBytes: number;
}

/** What the process has used since it began. */
export interface NodeUsage {
  readonly cpuMs: number;
  readonly residentBytes: number;
  /** For the disk, since its start. */
  readonly writtenBytes: number;
}

/** How a sync went. */
export type Synced = SyncProgress & {
  /** From its beginning until the copy was in sync, ms. */
  readonly tookMs: number;
};

/** How long the event loop was held up, milliseconds. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export type DataNode = typeof methods;
export type MembershipMethods = {
  read(volume: VolumeId): Membership | undefined;
  swap(expected: Membership, next: Membership): SwapOutcome;
};

let codec: Codec;
let stores: NodeStores;
let replication: ReplicationHost;
let frontends: FrontendHost;
const records = new Map<VolumeId, Membership>();
const volumes = new Map<VolumeId, Volume>();
const loop = monitorEventLoopDelay({ resolution: 1 });

const NS_PER_MS = 1e6;

const methods = {
  async start(options: NodeOptions): Promise<NodeRecord> {
    codec = await loadCodec({ engine: options.engine });
    const checksums = (volume: VolumeId) => codec.checksums(volume);
    stores = await NodeStores.open({
      disk: openFileDisk(options.dataDir),
      clock: systemClock,
      random: systemRandom,
      bootId: 'bench',
      checksums,
      reserveBytes: options.reserveBytes,
    });
    const memberships: MembershipStore = { read: parent.read, swap: parent.swap };
    replication = new ReplicationHost({
      self: options.id,
      cluster: options.cluster,
      etcdClusterId: options.etcdClusterId,
      identity: options.identity,
      bind: { host: '127.0.0.1', port: 0 },
      stores,
      memberships,
      checksums,
      ...lendersOf(codec.memory),
      clock: systemClock,
      random: systemRandom,
      logger: pino({ level: 'error' }),
      attention: () => {},
    });
    frontends = await FrontendHost.open({
      socketDir: options.socketDir,
      stateDir: options.dataDir,
      codec,
      connector: replication.connector,
      membership: (volume) => ({
        record: records.get(volume),
        placements: volumes.get(volume)?.placements ?? [],
      }),
      clock: systemClock,
      random: systemRandom,
      events: { attention: () => {}, fenced: () => {}, log: () => {} },
    });
    const endpoint = await replication.start();
    return { id: options.id, ioEndpoint: formatEndpoint(endpoint) } as NodeRecord;
  },
  onNode(record: NodeRecord): void {
    replication.onNode(record, record.id);
  },
  onVolume(volume: Volume): void {
    volumes.set(volume.id, volume);
    replication.onVolume(volume, volume.id);
  },
  onMembership(record: Membership): void {
    records.set(record.volume, record);
    replication.onMembership(record, record.volume);
    frontends.onMembership(record.volume, record, volumes.get(record.volume)?.placements ?? []);
  },
  async create(volume: Volume, deployment: DeploymentId): Promise<Incarnation> {
    return (await replication.createDeployment(volume.id, deployment, async () => volume)).incarnation;
  },
  isPeerUp(node: NodeId): boolean {
    return replication.isPeerUp(node);
  },
  serves(deployment: DeploymentId): boolean {
    return replication.status(deployment)?.serving === true;
  },
  holds(deployment: DeploymentId): boolean {
    return replication.status(deployment) !== undefined;
  },
  /** As the primary, brings another copy in sync. */
  async sync(primary: DeploymentId, target: DeploymentId): Promise<Synced> {
    const began = performance.now();
    const progress = await replication.startSync(primary, target, () => {}).done;
    return { ...progress, tookMs: performance.now() - began };
  },
  /** As the primary, does without a copy from now on. */
  removeMember(primary: DeploymentId, member: DeploymentId): Promise<void> {
    return replication.removeMember(primary, member, 'the benchmark says so');
  },
  erase(deployment: DeploymentId): Promise<void> {
    return replication.removeDeployment(deployment);
  },
  async attach(volume: Volume, key: Uint8Array | undefined): Promise<string> {
    const attached = await frontends.attach(volume, 1 as Generation, key === undefined ? {} : { key });
    return attached.nbdUri;
  },
  usage(): NodeUsage {
    const { user, system } = process.cpuUsage();
    return {
      cpuMs: (user + system) / 1000,
      residentBytes: process.memoryUsage.rss(),
      writtenBytes: writtenBytes(),
    };
  },
  /** Watching takes a wake-up every millisecond. */
  watchLoop(): void {
    loop.reset();
    loop.enable();
  },
  loopDelay(): LoopDelay {
    loop.disable();
    const ms = (percentile: number): number => loop.percentile(percentile) / NS_PER_MS;
    return { p50: ms(50), p99: ms(99), p999: ms(99.9), max: loop.max / NS_PER_MS };
  },
  async stop(): Promise<void> {
    await frontends.close();
    await replication.stop();
    await stores.close();
    await codec.close();
    setImmediate(() => process.disconnect());
  },
};

// A parent that was killed leaves nobody to serve.
process.once('disconnect', () => process.exit());

const parent = connect<MembershipMethods>(process, methods);
