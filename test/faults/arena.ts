/**
 * A cluster that lives through many faults: three real agents, each in a network namespace and with its data on
 * a small filesystem of its own, etcd and the Temporal server behind relays, and volumes whose copies all count. What
 * was broken is remembered here, so that it can be mended whatever becomes of the one who broke it.
 */

import { execFile } from 'node:child_process';
import { existsSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ApiVolume } from '../../client/types.js';
import type { BinaryName } from '../../cluster/binaries.js';
import type { Cluster } from '../../cluster/cluster.js';
import { ClusterError } from '../../cluster/errors.js';
import type { NodeFacts } from '../../cluster/facts.js';
import { temporaryDirectory } from '../../cluster/site.js';
import { waitFor } from '../../cluster/wait.js';
import { descendants } from '../setup/connections.js';
import { NamespaceNetwork } from '../setup/namespaces.js';
import { SmallDisk } from '../setup/small-disk.js';
import { TestCluster } from '../setup/test-cluster.js';

const run = promisify(execFile);
const MIB = 1 << 20;
const NODES = 3;
const DISK_BYTES = 1024 * MIB;
const SETTINGS = {
  CAPACITY_RESERVE_BYTES: String(48 * MIB),
  SCRUB_INTERVAL: '10s',
  SCRUB_BYTES_PER_SECOND: String(64 * MIB),
};
/** Disks of nodes are far smaller; this machine's own is never filled. */
const MAX_FILLED_BYTES = 8 * 1024 * MIB;
const MAX_LEFT_BYTES = 32 * MIB;
const POLL_MS = 250;
const EXIT_TIMEOUT_MS = 10_000;

/** A volume, and how many replicas it has when all is well. */
export interface Subject {
  readonly volume: ApiVolume;
  readonly replicas: number;
}

export class Arena {
  readonly test: TestCluster;
  readonly network: NamespaceNetwork;
  /** One with a node that has no copy of it, one with a copy on every node. */
  readonly subjects: readonly Subject[];
  readonly #disks: readonly SmallDisk[];
  readonly #prepared = new Set<Subject>();
  readonly #frozen = new Set<number>();
  readonly #notStarted = new Set<string>();
  readonly #fillers = new Set<string>();

  private constructor(
    test: TestCluster,
    network: NamespaceNetwork,
    disks: readonly SmallDisk[],
    subjects: readonly Subject[],
  ) {
    this.test = test;
    this.network = network;
    this.#disks = disks;
    this.subjects = subjects;
  }

  static async start(): Promise<Arena> {
    const undo: (() => unknown)[] = [];
    try {
      const network = await NamespaceNetwork.create(NODES);
      undo.unshift(() => network.destroy());
      const directory = temporaryDirectory('faults');
      undo.unshift(() => rmSync(directory, { recursive: true, force: true }));
      const disks: SmallDisk[] = [];
      undo.unshift(() => disks.forEach((disk) => void disk.release()));
      for (let i = 1; i <= NODES; i++)
        disks.push(new SmallDisk(join(directory, `node${i}`, 'data'), 'ext4', DISK_BYTES));
      const test = await TestCluster.start({ nodes: NODES, hosts: network, settings: SETTINGS }, directory);
      undo.unshift(() => test.cluster.stop());
      const subjects: Subject[] = [];
      for (const replicas of [1, 2]) {
        subjects.push({ volume: await test.createVolume(`faults-${replicas}`, replicas), replicas });
      }
      return new Arena(test, network, disks, subjects);
    } catch (error) {
      for (const step of undo) await step();
      throw error;
    }
  }

  get cluster(): Cluster {
    return this.test.cluster;
  }

  /** Position of a node in the network. */
  position(node: NodeFacts): number {
    return this.cluster.nodes.findIndex(({ id }) => id === node.id) + 1;
  }

  /** Of a server, at 127.0.0.1. */
  serverPort(server: BinaryName): number {
    const { etcd, temporal } = this.cluster.facts;
    const address = server === 'etcd' ? etcd.endpoints[0]! : temporal.address;
    return Number(address.split(':')[1]);
  }

  /** Puts on the volume what every round finds again, if that was not done yet. */
  async prepare(subject: Subject, write: () => Promise<unknown>): Promise<void> {
    if (this.#prepared.has(subject)) return;
    await write();
    this.#prepared.add(subject);
  }

  volume({ volume }: Subject): Promise<ApiVolume> {
    return this.cluster.api.volume(volume.namespaceID, volume.id);
  }

  /** SIGSTOP to the agent and its children. */
  freezeNode(node: NodeFacts): void {
    const { pid } = this.cluster.node(node.name);
    if (pid === undefined) return;
    for (const one of [...descendants(pid), pid]) this.#freeze(one);
  }

  freezeServer(server: BinaryName): void {
    const pid = this.cluster.servers.pid(server);
    if (pid !== undefined) this.#freeze(pid);
  }

  #freeze(pid: number): void {
    process.kill(pid, 'SIGSTOP');
    this.#frozen.add(pid);
  }

  /** SIGCONT to all that were frozen. */
  thaw(): void {
    for (const pid of this.#frozen) {
      try {
        process.kill(pid, 'SIGCONT');
      } catch {
        // Killed meanwhile.
      }
    }
    this.#frozen.clear();
  }

  async killNode(node: NodeFacts): Promise<void> {
    if (this.cluster.node(node.name).state === 'running') await this.cluster.killNode(node.name);
  }

  /** Unless it runs. */
  async startNode(node: NodeFacts): Promise<void> {
    const { state } = this.cluster.node(node.name);
    if (state !== 'running' && state !== 'starting') await this.cluster.startNode(node.name);
  }

  /** With other things broken an agent may not be able to start, and end: it stays down then. */
  async tryStartNode(node: NodeFacts): Promise<void> {
    await this.startNode(node).catch((error: unknown) => {
      if (!(error instanceof ClusterError)) throw error;
      this.#notStarted.add(node.name);
    });
  }

  /** Names of agents that ended by themselves once they had served. */
  get ended(): string[] {
    const failed = this.cluster.nodes.filter(({ state }) => state === 'failed').map(({ name }) => name);
    return failed.filter((name) => !this.#notStarted.has(name));
  }

  /** Unless it runs. */
  async startServer(server: BinaryName): Promise<void> {
    if (this.cluster.servers.pid(server) === undefined) await this.cluster.servers.start(server);
  }

  async killServer(server: BinaryName): Promise<void> {
    const pid = this.cluster.servers.pid(server);
    if (pid === undefined) return;
    process.kill(pid, 'SIGKILL');
    const gone = () => this.cluster.servers.pid(server) === undefined || undefined;
    await waitFor(`${server} to end`, gone, { timeoutMs: EXIT_TIMEOUT_MS, intervalMs: 10 });
  }

  /** Leaves so many bytes free on the node's disk, or a little more. */
  async fillDisk(node: NodeFacts, leaveBytes: number): Promise<void> {
    const directory = join(node.rootDir, 'data');
    const path = join(directory, 'filler');
    this.#fillers.add(path);
    for (let leave = leaveBytes; ; leave += MIB) {
      const { bavail, blocks, bsize } = statfsSync(directory);
      if (blocks * bsize > MAX_FILLED_BYTES) throw new Error(`${directory} is not on a small disk of its own`);
      const filled = await run('fallocate', ['--length', String(bavail * bsize - leave), path]).catch(
        (error: Error) => error,
      );
      if (!(filled instanceof Error)) return;
      // The agent may have taken some of it meanwhile.
      if (leave > leaveBytes + MAX_LEFT_BYTES) throw filled;
    }
  }

  emptyDisks(): void {
    for (const path of this.#fillers) rmSync(path, { force: true });
    this.#fillers.clear();
  }

  /** Everything works and runs again, as far as it can be seen from outside; returns when all agents serve. */
  async mend(): Promise<void> {
    this.emptyDisks();
    this.thaw();
    for (let position = 1; position <= NODES; position++) await this.network.heal(position);
    for (const server of ['etcd', 'temporal'] as const) await this.startServer(server);
    await this.test.startAll();
    this.#notStarted.clear();
  }

  /** Until the volume has all its copies, each in sync, and no more of them. */
  async whole(subject: Subject, timeoutMs: number): Promise<ApiVolume> {
    return await waitFor(
      `${subject.volume.name} to have all its copies in sync`,
      async () => {
        const now = await this.volume(subject).catch(() => undefined);
        const replicas = now?.replicas ?? [];
        const ready = replicas.filter(({ health }) => health === 'ready').length;
        const whole =
          now?.master.health === 'online' && replicas.length === subject.replicas && ready === subject.replicas;
        return whole ? now : undefined;
      },
      { timeoutMs, intervalMs: POLL_MS },
    );
  }

  /** Logs of all agents and servers that exist. */
  get logs(): string[] {
    const { dataDir, nodes } = this.cluster;
    const all = [...nodes.map(({ log }) => log), join(dataDir.etcdDir, 'log'), join(dataDir.temporalDir, 'log')];
    return all.filter((path) => existsSync(path));
  }

  /** Ends and removes all of it, in whatever state it is. */
  async destroy(): Promise<void> {
    this.thaw();
    // What is cut off takes long to end.
    for (let position = 1; position <= NODES; position++) await this.network.heal(position).catch(() => undefined);
    await this.cluster.stop();
    for (const disk of this.#disks) disk.release();
    await this.test.destroy();
    await this.network.destroy();
  }
}
