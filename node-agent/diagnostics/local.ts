/** What this node tells of itself in a diagnostics bundle: no secrets, and every part bounded. */

import { open, statfs } from 'node:fs/promises';
import os from 'node:os';
import process from 'node:process';
import type { Registry } from 'prom-client';
import type { Member } from '../../core/gossip/types.js';
import type { DeploymentStatus } from '../../core/messages.js';
import type { Clock } from '../../core/ports.js';
import type { NodeId, VolumeId } from '../../core/types.js';
import { formatJson } from '../api/json.js';
import type { Codec } from '../codec/index.js';
import { type Config, formatEndpoint } from '../config.js';
import type { ArchiveFile } from './tar.js';

/** Of each file of the kernel's, at the most. */
const MAX_KERNEL_FILE_BYTES = 256 << 10;
const KERNEL_FILES = [
  '/proc/version',
  '/proc/cmdline',
  '/proc/loadavg',
  '/proc/meminfo',
  '/proc/modules',
  '/proc/pressure/cpu',
  '/proc/pressure/io',
  '/proc/pressure/memory',
  '/proc/self/limits',
  '/proc/self/mounts',
  '/proc/self/status',
  '/proc/partitions',
  '/proc/net/snmp',
  '/sys/module/nbd/parameters/nbds_max',
] as const;

export interface LocalSources {
  readonly node: NodeId;
  readonly config: Config;
  readonly codec: Pick<Codec, 'engine' | 'offloadBytes'>;
  readonly clock: Clock;
  readonly metrics: Registry;
  readonly deployments: () => readonly { readonly volume: VolumeId; readonly status: DeploymentStatus }[];
  /** Volumes that this node shows. */
  readonly attached: () => readonly {
    readonly volume: VolumeId;
    readonly generation: number;
    readonly readOnly: boolean;
  }[];
  /** What gossip knows of the cluster. */
  readonly members: () => readonly Member[];
  /** One line of JSON each. */
  readonly log: () => string;
}

/** What could be had, and what could not and why. */
export interface Collected {
  readonly files: readonly ArchiveFile[];
  readonly problems: readonly string[];
}

export function jsonFile(path: string, value: unknown): ArchiveFile {
  return { path, content: Buffer.from(`${formatJson(value)}\n`) };
}

/** Named one by one: a setting that comes later is not shown before somebody has thought about it. */
function shownConfiguration(config: Config) {
  const { etcd, pki, apiTls, bind } = config;
  return {
    nodeName: config.nodeName,
    advertiseIp: config.advertiseIp,
    rootDir: config.rootDir,
    bind: { api: formatEndpoint(bind.api), io: formatEndpoint(bind.io), gossip: formatEndpoint(bind.gossip) },
    // An endpoint may be written as user:password@host.
    etcd: {
      endpoints: etcd.endpoints.map((endpoint) => endpoint.replace(/^.*@/, '')),
      namespace: etcd.namespace,
      tls: etcd.tls !== undefined,
    },
    temporal: config.temporal,
    gossipSeeds: config.gossipSeeds.map(formatEndpoint),
    pki,
    apiTls,
    clusterKeyFile: config.clusterKeyFile,
    keyDir: config.keyDir,
    bootstrap: config.bootstrap !== undefined,
    socketDir: config.socketDir,
    deviceDir: config.deviceDir,
    logLevel: config.logLevel,
    logFormat: config.logFormat,
    controlRole: config.controlRole,
    schedulerExtender: config.schedulerExtender,
    replacementGraceMs: config.replacementGraceMs,
    capacityReserveBytes: config.capacityReserveBytes,
    cipherEngine: config.cipherEngine,
    codecWorkers: config.codecWorkers,
  };
}

async function kernelFile(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const buffer = Buffer.alloc(MAX_KERNEL_FILE_BYTES);
    // Files of the kernel have no size; they end where nothing more comes.
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length);
    }
  } finally {
    await file.close();
  }
}

/** Never rejects: what fails is named in `problems`. Files that the kernel does not have are left out. */
export async function collectLocal(sources: LocalSources): Promise<Collected> {
  const { node, config, codec, clock } = sources;
  const folder = `nodes/${node}`;
  const problems: string[] = [];
  const parts: readonly (readonly [string, () => Promise<Buffer> | Buffer])[] = [
    ['log.jsonl', () => Buffer.from(sources.log())],
    ['metrics.txt', async () => Buffer.from(await sources.metrics.metrics())],
    ...Object.entries({
      'node.json': () => ({
        id: node,
        name: config.nodeName,
        time: clock.timestamp(),
        uptimeSeconds: Math.round(process.uptime()),
        versions: process.versions,
        pid: process.pid,
        memory: process.memoryUsage(),
        resources: process.resourceUsage(),
        codec: { engine: codec.engine, offloadBytes: Number.isFinite(codec.offloadBytes) ? codec.offloadBytes : null },
      }),
      'configuration.json': () => shownConfiguration(config),
      'host.json': () => ({
        release: os.release(),
        machine: os.machine(),
        processors: os.cpus().map(({ model, speed }) => ({ model, mhz: speed })),
        memoryBytes: { total: os.totalmem(), free: os.freemem() },
        loadAverages: os.loadavg(),
        uptimeSeconds: Math.round(os.uptime()),
      }),
      'filesystem.json': () => statfs(config.rootDir),
      'deployments.json': () => sources.deployments(),
      'attached.json': () => sources.attached(),
      'members.json': () => sources.members(),
    }).map(([name, make]) => [name, async () => jsonFile(name, await make()).content] as const),
  ];
  const files: ArchiveFile[] = [];
  for (const [name, make] of parts) {
    try {
      files.push({ path: `${folder}/${name}`, content: await make() });
    } catch (error) {
      problems.push(`${name}: ${(error as Error).message}`);
    }
  }
  for (const path of KERNEL_FILES) {
    const content = await kernelFile(path).catch(() => undefined);
    if (content !== undefined) files.push({ path: `${folder}/kernel${path}`, content });
  }
  return { files, problems };
}
