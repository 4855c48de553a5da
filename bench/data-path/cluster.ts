/** Nodes in processes of their own; this process stands for etcd and its watches. */

import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Membership, NodeRecord, Volume } from '../../core/domain.js';
import { initialMembership } from '../../core/membership.js';
import type { DeploymentId, NodeId, VolumeId } from '../../core/types.js';
import { type CipherEngine, XTS_KEY_BYTES } from '../../node-agent/codec/index.js';
import { createAuthority, issueNodeCertificate, type KeyPair } from '../../node-agent/pki/index.js';
import type { DataNode, MembershipMethods, Synced } from './node.js';
import { connect, type Remote } from './rpc.js';

const PROGRAM = fileURLToPath(new URL('./node.js', import.meta.url));
const CLUSTER_ID = '99999999-2222-4333-8444-555555555555';
const ETCD_ID = 'abcdef';
const READY_MS = 20_000;
const POLL_MS = 10;

export interface ClusterOptions {
  /** Where the nodes' data and sockets are. */
  readonly directory: string;
  readonly nodes: number;
  readonly engine?: CipherEngine;
  /** For all of its processes. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface VolumeShape {
  readonly sizeBytes: number;
  readonly replicas: number;
  readonly encryption: boolean;
  readonly compression: boolean;
}

/** One that is served. */
export interface BenchVolume {
  readonly id: VolumeId;
  readonly sizeBytes: number;
  /** Of its NBD server. */
  readonly uri: string;
}

interface Member {
  readonly id: NodeId;
  readonly number: number;
  process: ChildProcess;
  remote: Remote<DataNode>;
  address: NodeRecord;
}

export class Cluster {
  readonly #options: ClusterOptions;
  readonly #authority: KeyPair;
  readonly #nodes: Member[] = [];
  readonly #volumes = new Map<VolumeId, Volume>();
  readonly #records = new Map<VolumeId, Membership>();

  private constructor(options: ClusterOptions, authority: KeyPair) {
    this.#options = options;
    this.#authority = authority;
  }

  static async start(options: ClusterOptions): Promise<Cluster> {
    const cluster = new Cluster(options, await createAuthority({ cluster: CLUSTER_ID }));
    const ids = Array.from({ length: options.nodes }, () => randomUUID() as string as NodeId).sort();
    for (const [number, id] of ids.entries()) {
      cluster.#nodes.push({ id, number, ...(await cluster.#startProcess(id, number)) });
      await cluster.#tellAddresses();
    }
    return cluster;
  }

  async #startProcess(id: NodeId, number: number): Promise<Pick<Member, 'process' | 'remote' | 'address'>> {
    const directory = join(this.#options.directory, `node${number}`);
    const socketDir = join(directory, 'sockets');
    mkdirSync(socketDir, { recursive: true });
    const child = fork(PROGRAM, [], { serialization: 'advanced', env: { ...process.env, ...this.#options.env } });
    const memberships: MembershipMethods = {
      read: (volume) => this.#records.get(volume),
      swap: (expected, next) => {
        if (this.#records.get(expected.volume)?.epoch !== expected.epoch) return 'conflict';
        this.#put(next);
        return 'applied';
      },
    };
    const remote = connect<DataNode>(child, memberships);
    const subject = { node: id, name: `node${number}`, addresses: ['127.0.0.1'] };
    const issued = await issueNodeCertificate(this.#authority, subject);
    const address = await remote.start({
      id,
      cluster: CLUSTER_ID,
      etcdClusterId: ETCD_ID,
      identity: { node: id, ca: this.#authority.certificate, cert: issued.certificate, key: issued.key, notAfter: '' },
      dataDir: directory,
      socketDir,
      engine: this.#options.engine ?? 'wasm',
      reserveBytes: 0,
    });
    return { process: child, remote, address };
  }

  async #tellAddresses(): Promise<void> {
    for (const { remote } of this.#nodes) for (const { address } of this.#nodes) await remote.onNode(address);
  }

  async #tellVolume(volume: Volume): Promise<void> {
    this.#volumes.set(volume.id, volume);
    for (const { remote } of this.#nodes) await remote.onVolume(volume);
  }

  /** SIGKILL. Nobody may be attached there. */
  async kill(number: number): Promise<void> {
    const { process: child } = this.#nodes[number]!;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** A node that was killed, with the data that it had. */
  async restart(number: number): Promise<void> {
    const member = this.#nodes[number]!;
    Object.assign(member, await this.#startProcess(member.id, number));
    await this.#tellAddresses();
    for (const volume of this.#volumes.values()) await member.remote.onVolume(volume);
    for (const record of this.#records.values()) await member.remote.onMembership(record);
  }

  #put(record: Membership): void {
    this.#records.set(record.volume, record);
    // Who has stopped needs no news.
    for (const { remote } of this.#nodes) remote.onMembership(record).catch(() => {});
  }

  /** Node `number`, the first is 0. */
  node(number: number): Remote<DataNode> {
    return this.#nodes[number]!.remote;
  }

  /** Processor time of all nodes so far, milliseconds. */
  async cpuMs(): Promise<number> {
    const used = await Promise.all(this.nodes.map((node) => node.usage()));
    return used.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
  }

  /** Bytes that all nodes have made the kernel write, or still to be written, so far. */
  async writtenBytes(): Promise<number> {
    const used = await Promise.all(this.nodes.map((node) => node.usage()));
    return used.reduce((sum, { writtenBytes }) => sum + writtenBytes, 0);
  }

  get nodes(): readonly Remote<DataNode>[] {
    return this.#nodes.map(({ remote }) => remote);
  }

  /** A volume whose primary is on node `primary` and is attached there; resolves when it serves. */
  async createVolume(shape: VolumeShape, primary = 0): Promise<BenchVolume> {
    const hosts = [...this.#nodes.slice(primary), ...this.#nodes.slice(0, primary)].slice(0, shape.replicas + 1);
    const placements = hosts.map(({ id }) => ({ deployment: randomUUID() as string as DeploymentId, node: id }));
    const volume = {
      id: randomUUID() as string as VolumeId,
      ...shape,
      blockSize: 4096,
      failureMode: { kind: 'alwayson' },
      durability: 'writeback',
      placements,
    } as unknown as Volume;
    await this.#tellVolume(volume);
    const incarnations = await Promise.all(
      hosts.map(({ remote }, i) => remote.create(volume, placements[i]!.deployment)),
    );
    const [first, ...others] = hosts;
    for (const { id } of others) await until(() => first!.remote.isPeerUp(id), 'the copies are connected');
    this.#put(
      initialMembership({
        volume: volume.id,
        primary: { ...placements[0]!, incarnation: incarnations[0]! },
        inSync: placements.map(({ deployment }) => deployment),
        etcdClusterId: ETCD_ID,
      }),
    );
    await until(() => first!.remote.serves(placements[0]!.deployment), 'the primary serves');
    const uri = await first!.remote.attach(volume, shape.encryption ? randomBytes(XTS_KEY_BYTES) : undefined);
    return { id: volume.id, sizeBytes: shape.sizeBytes, uri };
  }

  /** Resolves when so many copies of it are in sync. */
  async untilInSync(volume: VolumeId, copies: number): Promise<void> {
    await until(async () => this.#records.get(volume)!.inSync.length === copies, `${copies} copies are in sync`);
  }

  /** Brings the volume's copy on node `number` in sync; where there is none, a new one. */
  async sync(volume: VolumeId, number: number): Promise<Synced> {
    const { primary, member } = this.#primaryOf(volume);
    const { id, remote } = this.#nodes[number]!;
    const placed = this.#volumes.get(volume)!.placements.find(({ node }) => node === id);
    const target = placed?.deployment ?? (randomUUID() as string as DeploymentId);
    if (placed === undefined) {
      const { placements, ...rest } = this.#volumes.get(volume)!;
      await this.#tellVolume({ ...rest, placements: [...placements, { deployment: target, node: id }] });
      await remote.create(this.#volumes.get(volume)!, target);
    }
    await until(() => remote.holds(target), 'the copy is open');
    await until(() => member.remote.isPeerUp(id), 'the copies are connected');
    return member.remote.sync(primary, target);
  }

  /** The copy of the volume on node `number`, which is not the primary, is no more. */
  async dropCopy(volume: VolumeId, number: number): Promise<void> {
    const { primary, member } = this.#primaryOf(volume);
    const { id, remote } = this.#nodes[number]!;
    const { placements, ...rest } = this.#volumes.get(volume)!;
    for (const { deployment } of placements.filter(({ node }) => node === id)) {
      await member.remote.removeMember(primary, deployment);
      await remote.erase(deployment);
    }
    await this.#tellVolume({ ...rest, placements: placements.filter(({ node }) => node !== id) });
  }

  #primaryOf(volume: VolumeId): { readonly primary: DeploymentId; readonly member: Member } {
    const { deployment, node } = this.#records.get(volume)!.primary;
    return { primary: deployment, member: this.#nodes.find(({ id }) => id === node)! };
  }

  /** Copies of the volumes that are in sync must be all of them, or a comparison would be of something else. */
  get complete(): boolean {
    return [...this.#records.values()].every(({ outOfSync, inSync }) => outOfSync.length === 0 && inSync.length > 0);
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#nodes.map(async ({ remote, process: child }) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, 'exit');
        await remote.stop().catch(() => child.kill('SIGKILL'));
        await ended;
      }),
    );
  }
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + READY_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await sleep(POLL_MS);
  }
}
