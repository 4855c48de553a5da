/**
 * The embedded cluster: etcd, the Temporal server and node agents on one machine, under one supervisor. The same
 * code that runs on real nodes, each with its own address, data directory and certificate.
 */

import { rmSync } from 'node:fs';
import type { ApiClient } from '../client/api.js';
import type { KeyPair } from '../node-agent/pki/authority.js';
import { type AgentSite, agentEndpoint, agentPaths, checkAgentPorts, startAgent, untilAgentServes } from './agent.js';
import { clusterApi } from './api.js';
import { type Binary, type BinaryName, ensureBinaries, type Step } from './binaries.js';
import { endOrphans, type SupervisedChild } from './child.js';
import { type Credentials, type DataDir, type Layout, MAX_NODES, newNode, nodeAddress } from './data-dir.js';
import { ClusterError } from './errors.js';
import { type ClusterFacts, type NodeFacts, type NodeState, type VolumeFacts, writeFacts } from './facts.js';
import { ensureAuthority, ensureClusterKey, issueCertificate, volumeKeyDir } from './identities.js';
import { ensureLicence, ensureLicenceKey } from './licence.js';
import { ManagedServers } from './managed-servers.js';
import { PortClaims } from './ports.js';
import { settlePorts, untilWorkflowsRun } from './servers.js';
import { releaseStaleMounts, removeDeadDevices, syncDevices } from './volumes.js';

const AGENT_STOP_MS = 30_000;
const DEFAULT_NODES = 3;
const HOST = '127.0.0.1';

/** Where the nodes live, if not at loopback addresses of this machine: network namespaces, in tests. */
export interface Hosts {
  /** IP address of node i, from 1 on. */
  address(index: number): string;
  /** What comes before the command line of node i's agent. */
  launcher(index: number): readonly string[];
  /** host:port at which the nodes reach what this machine has at a port of 127.0.0.1. */
  reachable(port: number): Promise<string>;
}

export interface ClusterOptions {
  readonly dataDir: DataDir;
  /** 1–16; by default as many as there were, three at first. */
  readonly nodes?: number;
  /** The third byte of the nodes' addresses, at the first start; 0 by default. */
  readonly network?: number;
  /** Shows progress. */
  readonly step: Step;
  /** Says what happens later by itself. */
  readonly notice: (message: string) => void;
  /** Settings of all agents, by the names of their environment variables. */
  readonly agentSettings?: Readonly<Record<string, string>>;
  readonly env?: NodeJS.ProcessEnv;
  readonly hosts?: Hosts;
}

interface Member {
  readonly site: AgentSite;
  state: NodeState;
  child?: SupervisedChild;
}

/** Servers that are given by environment are used; nothing is started in their place. */
interface ExternalServers {
  readonly etcd?: readonly string[];
  readonly temporal?: string;
}

function externalServers(env: NodeJS.ProcessEnv): ExternalServers {
  const etcd = env.STORAGEOS_ETCD_ENDPOINTS || env.ETCD_ENDPOINTS || (env.KV_BACKEND === 'etcd' ? env.KV_ADDR : '');
  return {
    ...(etcd && { etcd: etcd.split(',').filter((part) => part !== '') }),
    ...(env.TEMPORAL_ADDRESS && { temporal: env.TEMPORAL_ADDRESS }),
  };
}

/** Waits for all, and only then throws what failed first: nothing may be starting when the rest is stopped. */
async function all(parts: readonly (Promise<void> | false)[]): Promise<void> {
  const failed = (await Promise.allSettled(parts)).find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** Passed on to the agents: what they need to know of servers that are not this cluster's own, and of their codec. */
const FORWARDED_SETTINGS = [
  'ETCD_NAMESPACE',
  'ETCD_TLS_CLIENT_CA',
  'ETCD_TLS_CLIENT_CERT',
  'ETCD_TLS_CLIENT_KEY',
  'TEMPORAL_NAMESPACE',
  'LICENCE_PUBLIC_KEY_FILE',
  'STORAGEOS_CIPHER_ENGINE',
  'CODEC_WORKERS',
];

export class Cluster {
  readonly dataDir: DataDir;
  readonly credentials: Credentials;
  readonly api: ApiClient;
  /** etcd and the Temporal server, but those that are given by environment. */
  readonly servers: ManagedServers;
  readonly #options: ClusterOptions;
  readonly #layout: Layout;
  readonly #release: () => void;
  readonly #members: Member[] = [];
  readonly #external: ExternalServers;
  readonly #startedAt = new Date().toISOString();
  #secrets:
    | { readonly authority: KeyPair; readonly clusterKeyFile: string; readonly licenceKeyFile: string }
    | undefined;
  #volumes: readonly VolumeFacts[] = [];
  #stopping = false;

  private constructor(options: ClusterOptions, layout: Layout, release: () => void, credentials: Credentials) {
    this.dataDir = options.dataDir;
    this.credentials = credentials;
    this.#options = options;
    this.#layout = layout;
    this.#release = release;
    this.servers = new ManagedServers({
      site: { dataDir: options.dataDir, layout },
      notice: options.notice,
      changed: () => this.writeFacts(),
    });
    this.#external = externalServers(options.env ?? process.env);
    this.api = clusterApi(() => this.#runningEndpoints(), credentials);
  }

  /**
   * Starts everything and resolves when all agents serve. What was started is stopped again if something fails.
   * Errors: ClusterError, BinaryError.
   */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const { dataDir, env = process.env } = options;
    if (options.nodes !== undefined && !(options.nodes >= 1 && options.nodes <= MAX_NODES)) {
      throw new ClusterError('invalid', `A cluster has 1 to ${MAX_NODES} nodes.`);
    }
    dataDir.create();
    const lock = await dataDir.lock();
    const claims = new PortClaims();
    const release = (): void => {
      lock.close();
      claims.release();
    };
    try {
      const orphans = await endOrphans(dataDir.runDir);
      if (orphans.length > 0) options.notice(`Ended what an earlier run left behind: ${orphans.join(', ')}.`);
      const stale = await releaseStaleMounts(dataDir.mountDir);
      if (stale.length > 0) options.notice(`Unmounted what an earlier run left behind: ${stale.join(', ')}.`);
      const known = dataDir.readLayout();
      if (known !== undefined && options.network !== undefined && options.network !== known.network) {
        throw new ClusterError(
          'invalid',
          `The cluster in ${dataDir.root} lives on network ${known.network} (nodes at 127.0.${known.network}.…) and ` +
            'can not be moved; leave out --network, or give another --data-dir.',
        );
      }
      const count = Math.max(options.nodes ?? DEFAULT_NODES, known?.nodes.length ?? 0);
      const nodes = Array.from({ length: count }, (_, i) => known?.nodes[i] ?? newNode(i + 1));
      const layout: Layout = {
        format: 1,
        network: known?.network ?? options.network ?? 0,
        nodes,
        ports: await settlePorts(known?.ports, claims),
      };
      if (options.hosts === undefined) {
        for (let i = 1; i <= count; i++) await checkAgentPorts(nodeAddress(layout, i));
      }
      await dataDir.writeLayout(layout);
      const cluster = new Cluster(options, layout, release, await dataDir.credentials(env));
      try {
        await cluster.#startAll(options.nodes ?? count);
      } catch (error) {
        await cluster.stop();
        throw error;
      }
      return cluster;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Finds or obtains the programs that `start` will run, which may take minutes. Errors: BinaryError. */
  static async prepare(options: Pick<ClusterOptions, 'step' | 'env'>): Promise<Record<BinaryName, Binary>> {
    const { step, env = process.env } = options;
    const external = externalServers(env);
    const names: BinaryName[] = [];
    if (external.etcd === undefined) names.push('etcd');
    if (external.temporal === undefined) names.push('temporal');
    return await ensureBinaries({ names, step, env });
  }

  async #startAll(running: number): Promise<void> {
    const { step } = this.#options;
    this.#secrets = {
      authority: await ensureAuthority(this.dataDir),
      clusterKeyFile: await ensureClusterKey(this.dataDir),
      licenceKeyFile: await ensureLicenceKey(this.dataDir),
    };
    const binaries = await Cluster.prepare(this.#options);
    await all([
      this.#external.etcd === undefined && step('etcd', () => this.servers.add('etcd', binaries.etcd.path)),
      this.#external.temporal === undefined &&
        step('Temporal server', () => this.servers.add('temporal', binaries.temporal.path)),
    ]);
    for (const [i, node] of this.#layout.nodes.entries()) {
      const site = {
        ...node,
        dataDir: this.dataDir,
        address: this.#address(i + 1),
        launcher: this.#options.hosts?.launcher(i + 1) ?? [],
      };
      this.#members.push({ site, state: 'stopped' });
    }
    await step(`${running} node ${running === 1 ? 'agent' : 'agents'}`, async () => {
      await all(this.#members.slice(0, running).map((member) => this.#startMember(member)));
      await untilWorkflowsRun(this.temporalAddress, this.#temporalNamespace);
    });
    await this.#license();
  }

  /** Without a licence everything works for a day; that one could not be applied is no reason not to start. */
  async #license(): Promise<void> {
    if (this.#agentSettings().LICENCE_PUBLIC_KEY_FILE !== this.#secrets?.licenceKeyFile) return;
    await ensureLicence(this.dataDir, this.api).catch((error: Error) => {
      this.#options.notice(`The cluster has no licence and can be used for 24 hours: ${error.message}`);
    });
  }

  #agentSettings(): Record<string, string> {
    const { licenceKeyFile } = this.#secrets!;
    return {
      LICENCE_PUBLIC_KEY_FILE: licenceKeyFile,
      ...this.#forwardedSettings(),
      ...this.#options.agentSettings,
    };
  }

  get #temporalNamespace(): string {
    return this.#forwardedSettings().TEMPORAL_NAMESPACE ?? 'default';
  }

  #forwardedSettings(): Record<string, string> {
    const { env = process.env } = this.#options;
    return Object.fromEntries(FORWARDED_SETTINGS.flatMap((name) => (env[name] ? [[name, env[name]]] : [])));
  }

  #address(index: number): string {
    return this.#options.hosts?.address(index) ?? nodeAddress(this.#layout, index);
  }

  /** Where nodes find a server that listens on 127.0.0.1. */
  async #fromNodes(address: string): Promise<string> {
    const { hosts } = this.#options;
    const [host, port] = address.split(':');
    return hosts === undefined || host !== HOST ? address : await hosts.reachable(Number(port));
  }

  async #startMember(member: Member): Promise<void> {
    const { site } = member;
    member.state = 'starting';
    try {
      if (this.#options.hosts === undefined) await checkAgentPorts(site.address);
      member.child = await startAgent(site, {
        etcdEndpoints: await Promise.all(this.etcdEndpoints.map((endpoint) => this.#fromNodes(endpoint))),
        temporalAddress: await this.#fromNodes(this.temporalAddress),
        peers: this.#layout.nodes.map((_, i) => this.#address(i + 1)),
        pki: await issueCertificate(this.dataDir, this.#secrets!.authority, site),
        clusterKeyFile: this.#secrets!.clusterKeyFile,
        keyDir: volumeKeyDir(this.dataDir),
        credentials: this.credentials,
        settings: this.#agentSettings(),
      });
      this.writeFacts();
      await untilAgentServes(member.child, site.address);
    } catch (error) {
      await member.child?.kill();
      member.state = 'failed';
      this.writeFacts();
      throw error;
    }
    const { child } = member;
    member.state = 'running';
    this.writeFacts();
    void child.exited.then(({ code, signal }) => {
      if (member.state !== 'running' || member.child !== child) return;
      member.state = 'failed';
      this.writeFacts();
      this.#options.notice(
        `${site.name} ended by itself (${signal ?? `code ${code}`}); its log is ${agentPaths(site).log}. ` +
          `"npm run cluster -- start-node ${site.name}" starts it again.`,
      );
    });
  }

  get etcdEndpoints(): readonly string[] {
    return this.#external.etcd ?? [`${HOST}:${this.#layout.ports.etcdClient}`];
  }

  get temporalAddress(): string {
    return this.#external.temporal ?? `${HOST}:${this.#layout.ports.temporal}`;
  }

  /** Base URL of the Temporal server's web page, if this cluster runs the server. */
  get temporalUi(): string | undefined {
    return this.#external.temporal === undefined ? `http://${HOST}:${this.#layout.ports.temporalUi}` : undefined;
  }

  get nodes(): readonly NodeFacts[] {
    return this.#members.map(({ site, state, child }) => ({
      name: site.name,
      id: site.id,
      state,
      ...(child?.exit === undefined && child !== undefined && { pid: child.pid }),
      apiEndpoint: agentEndpoint(site.address, 'api'),
      ioEndpoint: agentEndpoint(site.address, 'io'),
      gossipEndpoint: agentEndpoint(site.address, 'gossip'),
      ...agentPaths(site),
    }));
  }

  /** Errors: ClusterError('node'). */
  node(name: string): NodeFacts {
    const found = this.nodes.find((node) => node.name === name || node.id === name);
    if (found === undefined) {
      throw new ClusterError(
        'node',
        `There is no node "${name}"; there are ${this.nodes.map((n) => n.name).join(', ')}.`,
      );
    }
    return found;
  }

  #member(name: string): Member {
    const { id } = this.node(name);
    return this.#members.find((member) => member.site.id === id)!;
  }

  #runningEndpoints(): string[] {
    return this.nodes.filter((node) => node.state === 'running').map((node) => node.apiEndpoint);
  }

  /** SIGKILL. The node stays down until it is started. Errors: ClusterError('node') if it is not running. */
  async killNode(name: string): Promise<void> {
    await this.#end(name, 'killed', (child) => child.kill());
  }

  /** SIGTERM: the agent closes its stores and leaves. Errors: ClusterError('node') if it is not running. */
  async stopNode(name: string): Promise<void> {
    await this.#end(name, 'stopped', (child) => child.stop(AGENT_STOP_MS));
  }

  async #end(name: string, state: NodeState, end: (child: SupervisedChild) => Promise<unknown>): Promise<void> {
    const member = this.#member(name);
    if (member.state !== 'running' || member.child === undefined) {
      throw new ClusterError('node', `${member.site.name} is not running (${member.state}).`);
    }
    member.state = state;
    await end(member.child);
    this.writeFacts();
  }

  /** Resolves when the agent serves. Errors: ClusterError('node') if it is running, 'child', 'port', 'timeout'. */
  async startNode(name: string): Promise<void> {
    const member = this.#member(name);
    if (member.state === 'running' || member.state === 'starting') {
      throw new ClusterError('node', `${member.site.name} is running already.`);
    }
    await this.#startMember(member);
  }

  /** What `cluster.json` says of volumes. */
  set volumes(volumes: readonly VolumeFacts[]) {
    this.#volumes = volumes;
    this.writeFacts();
  }

  get facts(): ClusterFacts {
    const etcdPid = this.servers.pid('etcd');
    const temporalPid = this.servers.pid('temporal');
    return {
      format: 1,
      pid: process.pid,
      startedAt: this.#startedAt,
      dataDir: this.dataDir.root,
      controlSocket: this.dataDir.socketPath('control.sock'),
      credentialsFile: this.dataDir.credentialsFile,
      etcd: {
        endpoints: this.etcdEndpoints,
        ...(etcdPid !== undefined && { pid: etcdPid }),
      },
      temporal: {
        address: this.temporalAddress,
        namespace: this.#temporalNamespace,
        ...(this.temporalUi !== undefined && { ui: this.temporalUi }),
        ...(temporalPid !== undefined && { pid: temporalPid }),
      },
      nodes: this.nodes,
      volumes: this.#volumes,
    };
  }

  writeFacts(): void {
    if (!this.#stopping) writeFacts(this.dataDir.factsFile, this.facts);
  }

  /** Agents first, then the Temporal server, then etcd: each finds what it needs for a clean end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    // While all nodes are there: the copies of a volume are on several.
    await Promise.all(
      this.#members.map(({ site }) =>
        syncDevices(agentPaths(site), (volume, { message }) =>
          this.#options.notice(`${site.name}: what was not synced to volume ${volume} may be lost: ${message}`),
        ),
      ),
    );
    await Promise.all(
      this.#members.map(async (member) => {
        member.state = 'stopped';
        await member.child?.stop(AGENT_STOP_MS);
        await removeDeadDevices(agentPaths(member.site)).catch((error: Error) =>
          this.#options.notice(`${member.site.name} leaves block devices behind: ${error.message}`),
        );
      }),
    );
    await this.servers.stopAll();
    rmSync(this.dataDir.factsFile, { force: true });
    this.#release();
  }
}
