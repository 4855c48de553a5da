/** A whole cluster for one test: real etcd, real Temporal server, real agents, at addresses of its own. */

import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../../client/errors.js';
import type { ApiVolume } from '../../client/types.js';
import { Cluster, type Hosts } from '../../cluster/cluster.js';
import { DataDir } from '../../cluster/data-dir.js';
import type { NodeFacts } from '../../cluster/facts.js';
import { showStep } from '../../cluster/progress.js';
import { freeNetwork, temporaryDirectory } from '../../cluster/site.js';
import { ensureAttached, nbdUri, unmountAll } from '../../cluster/volumes.js';
import { waitFor } from '../../cluster/wait.js';
import type { VerifyReport } from '../../core/controller.js';

const READY_TIMEOUT_MS = 120_000;
const QUIET_TIMEOUT_MS = 60_000;

export interface TestClusterOptions {
  readonly nodes?: number;
  readonly hosts?: Hosts;
  readonly settings?: Readonly<Record<string, string>>;
}

export class TestCluster {
  readonly cluster: Cluster;
  readonly #options: TestClusterOptions;

  private constructor(cluster: Cluster, options: TestClusterOptions) {
    this.cluster = cluster;
    this.#options = options;
  }

  static async start(options: TestClusterOptions = {}, directory = temporaryDirectory('test')): Promise<TestCluster> {
    const nodes = options.nodes ?? 3;
    const dataDir = new DataDir(directory);
    const cluster = await Cluster.start({
      dataDir,
      nodes,
      network: dataDir.readLayout()?.network ?? (await freeNetwork(nodes)),
      step: showStep,
      notice: (message) => process.stderr.write(`${message}\n`),
      agentSettings: { REPLACEMENT_GRACE: '5s', ...options.settings },
      ...(options.hosts !== undefined && { hosts: options.hosts }),
    });
    return new TestCluster(cluster, options);
  }

  /** The same data directory, started again. */
  async restart(): Promise<TestCluster> {
    await this.cluster.stop();
    return await TestCluster.start(this.#options, this.cluster.dataDir.root);
  }

  /** Stops all, and removes the data unless it is wanted for looking at what failed (STORAGEOS_TEST_KEEP=1). */
  async destroy(): Promise<void> {
    await unmountAll(this.cluster.dataDir.mountDir);
    await this.cluster.stop();
    if (process.env.STORAGEOS_TEST_KEEP !== '1') {
      rmSync(this.cluster.dataDir.root, { recursive: true, force: true });
    }
  }

  async createVolume(name: string, replicas: number, labels: Record<string, string> = {}): Promise<ApiVolume> {
    const { api } = this.cluster;
    const volume = await api.createVolume(await api.namespaceId('default'), {
      name,
      sizeBytes: 2 ** 30,
      labels: { 'storageos.com/replicas': String(replicas), 'storageos.com/encryption': 'true', ...labels },
    });
    return await this.untilReady(volume, replicas);
  }

  async untilReady(volume: ApiVolume, replicas: number): Promise<ApiVolume> {
    return await waitFor(
      `volume ${volume.name} to have ${replicas} ready replicas`,
      async () => {
        const now = await this.cluster.api.volume(volume.namespaceID, volume.id);
        const ready = (now.replicas ?? []).filter(({ health }) => health === 'ready').length;
        return now.master.health === 'online' && ready >= replicas ? now : undefined;
      },
      { timeoutMs: READY_TIMEOUT_MS, intervalMs: 250 },
    );
  }

  /** The node (by name or position) to which the volume is attached then, and the URI of its socket. */
  async attach(volume: ApiVolume, node: NodeFacts): Promise<string> {
    await ensureAttached(this.cluster, volume, node);
    return nbdUri(node, volume.id);
  }

  nodeOf(id: string): NodeFacts {
    return this.cluster.node(id);
  }

  /** A running node without a copy of the volume. */
  bystander(volume: ApiVolume): NodeFacts {
    const holders = [volume.master, ...(volume.replicas ?? [])].map(({ nodeID }) => nodeID);
    const node = this.cluster.nodes.find(({ id, state }) => state === 'running' && !holders.includes(id));
    if (node === undefined) throw new Error('every running node holds a copy');
    return node;
  }

  /** Compares all copies, as soon as nothing is being written. */
  async verify(volume: ApiVolume): Promise<VerifyReport> {
    return await waitFor(
      `volume ${volume.name} to be quiet`,
      async () => {
        try {
          return await this.cluster.api.verify(volume);
        } catch (error) {
          if (error instanceof ApiError && error.status === 422) return undefined;
          throw error;
        }
      },
      { timeoutMs: QUIET_TIMEOUT_MS, intervalMs: 500 },
    );
  }

  /** SIGKILL to all agents, none after the other's end. */
  async killAll(): Promise<void> {
    await Promise.all(this.cluster.nodes.map(({ name }) => this.cluster.killNode(name)));
  }

  async startAll(): Promise<void> {
    const down = this.cluster.nodes.filter(({ state }) => state !== 'running');
    await Promise.all(down.map(({ name }) => this.cluster.startNode(name)));
    await sleep(0);
  }
}
