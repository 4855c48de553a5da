/** One node agent of the embedded cluster: its addresses, its environment, its process. */

import { join } from 'node:path';
import { AGENT_POOL_THREADS } from '../node-agent/store/io-lane.js';
import { SupervisedChild } from './child.js';
import type { Credentials, DataDir } from './data-dir.js';
import { ClusterError } from './errors.js';
import type { NodePki } from './identities.js';
import { compiled } from './package-root.js';
import { tryPort } from './ports.js';
import { untilServing } from './servers.js';

const PORTS = { io: 5703, api: 5705, gossip: 5711 } as const;
const START_TIMEOUT_MS = 90_000;
const HEALTH_TIMEOUT_MS = 2_000;
/** A volume id stands in for the longest name of a socket. */
const LONGEST_SOCKET_NAME = `${'0'.repeat(36)}.nbd.sock`;

export interface AgentSite {
  readonly dataDir: DataDir;
  readonly name: string;
  readonly id: string;
  /** Its IP address; the ports are the standard ones. */
  readonly address: string;
  /** What comes before the agent's command line. */
  readonly launcher: readonly string[];
}

export interface AgentSurroundings {
  readonly etcdEndpoints: readonly string[];
  readonly temporalAddress: string;
  /** Addresses of all nodes. */
  readonly peers: readonly string[];
  readonly pki: NodePki;
  readonly clusterKeyFile: string;
  readonly keyDir: string;
  readonly credentials: Credentials;
  /** Settings of the agent that differ from its defaults, by the names of its environment variables. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface AgentPaths {
  readonly rootDir: string;
  readonly socketDir: string;
  readonly deviceDir: string;
  readonly log: string;
}

export function agentEndpoint(address: string, kind: keyof typeof PORTS): string {
  return `${address}:${PORTS[kind]}`;
}

export function agentPaths({ dataDir, name }: Pick<AgentSite, 'dataDir' | 'name'>): AgentPaths {
  const rootDir = dataDir.nodeDir(name);
  return {
    rootDir,
    socketDir: dataDir.socketPath(name, join(name, LONGEST_SOCKET_NAME)),
    deviceDir: join(rootDir, 'volumes'),
    log: join(rootDir, 'log'),
  };
}

/** Errors: ClusterError('port') naming the first port that somebody else has. */
export async function checkAgentPorts(address: string): Promise<void> {
  for (const port of Object.values(PORTS)) {
    if ((await tryPort(address, port)) !== undefined) continue;
    throw new ClusterError(
      'port',
      `${address}:${port} is in use by another program ("ss -ltnp" shows which). Stop that program, or start this ` +
        'cluster on other addresses with --network N (nodes at 127.0.N.1, 127.0.N.2, …).',
    );
  }
}

/** The environment of an agent: nothing of the supervisor's own but what programs need to run at all. */
export function agentEnvironment(site: AgentSite, around: AgentSurroundings): NodeJS.ProcessEnv {
  const { rootDir, socketDir, deviceDir } = agentPaths(site);
  return {
    PATH: process.env.PATH,
    ...(process.env.NODE_OPTIONS !== undefined && { NODE_OPTIONS: process.env.NODE_OPTIONS }),
    UV_THREADPOOL_SIZE: `${AGENT_POOL_THREADS}`,
    HOSTNAME: site.name,
    ADVERTISE_IP: site.address,
    ROOT_DIR: rootDir,
    SOCKET_DIR: socketDir,
    DEVICE_DIR: deviceDir,
    ETCD_ENDPOINTS: around.etcdEndpoints.join(','),
    TEMPORAL_ADDRESS: around.temporalAddress,
    GOSSIP_SEEDS: around.peers.map((address) => agentEndpoint(address, 'gossip')).join(','),
    INTERNAL_TLS_CA_CERT: around.pki.caCert,
    INTERNAL_TLS_NODE_CERT: around.pki.nodeCert,
    INTERNAL_TLS_NODE_KEY: around.pki.nodeKey,
    CLUSTER_KEY_FILE: around.clusterKeyFile,
    KEY_DIR: around.keyDir,
    BOOTSTRAP_USERNAME: around.credentials.username,
    BOOTSTRAP_PASSWORD: around.credentials.password,
    LOG_FORMAT: 'json',
    ...around.settings,
  };
}

async function agentServes(address: string): Promise<boolean> {
  const response = await fetch(`http://${agentEndpoint(address, 'api')}/healthz`, {
    signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS),
  });
  await response.arrayBuffer();
  return response.ok;
}

/** Starts the process; `untilAgentServes` waits for it. */
export async function startAgent(site: AgentSite, around: AgentSurroundings): Promise<SupervisedChild> {
  const commandLine = [
    ...site.launcher,
    ...[process.execPath, '--enable-source-maps', compiled('node-agent', 'main.js')],
  ];
  return await SupervisedChild.start({
    name: site.name,
    command: commandLine[0]!,
    args: commandLine.slice(1),
    env: agentEnvironment(site, around),
    logFile: agentPaths(site).log,
    runDir: site.dataDir.runDir,
    ipc: true,
  });
}

/** Errors: ClusterError('child') with the end of its log if it ends before, ClusterError('timeout'). */
export async function untilAgentServes(child: SupervisedChild, address: string): Promise<void> {
  await untilServing(child, () => agentServes(address), START_TIMEOUT_MS);
}
