/** The agent's configuration: environment variables, validated at the border (reference: docs/reference/environment.md). */

import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { parseDurationMs } from '../core/duration.js';
import { DomainError } from '../core/errors.js';
import { DEFAULT_RESERVE_BYTES } from '../core/placement.js';
import { DEFAULT_INDEX_CACHE_BYTES, MIN_INDEX_CACHE_BYTES } from './store/index.js';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const PORTS = { io: 5703, api: 5705, gossip: 5711 } as const;

/** `host:port` or `[v6]:port`; the port may be left out where there is a default. */
export function parseEndpoint(text: string, defaultPort?: number): Endpoint {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port === undefined || port > 65_535) {
    throw new DomainError('invalid', `"${text}" is not an address; write host:port`);
  }
  return { host, port };
}

export function formatEndpoint(endpoint: Endpoint): string {
  return isIP(endpoint.host) === 6 ? `[${endpoint.host}]:${endpoint.port}` : `${endpoint.host}:${endpoint.port}`;
}

const endpoint = (defaultPort: number) =>
  z.string().transform((text, context) => {
    try {
      return parseEndpoint(text, defaultPort);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  });

const endpointList = (defaultPort: number) =>
  z
    .string()
    .default('')
    .transform((text) => text.split(',').filter((part) => part !== ''))
    .pipe(z.array(endpoint(defaultPort)).max(100));

const duration = (byDefault: string) =>
  z
    .string()
    .default(byDefault)
    .transform((text, context) => {
      try {
        return parseDurationMs(text);
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message });
        return z.NEVER;
      }
    });

/** More threads than this encode faster than one event loop can hand out requests. */
const MAX_CODEC_WORKERS = 4;
const LEAST_PROCESSORS_FOR_WORKERS = 4;

/**
 * Half of the processors, and none where there are fewer than 4: with 2 that the agents, their volumes and their
 * users share, handing requests over costs more than it gives (docs/internals/codec.md, "Memory and threads").
 */
export function defaultCodecWorkers(processors: number): number {
  if (processors < LEAST_PROCESSORS_FOR_WORKERS) return 0;
  return Math.min(MAX_CODEC_WORKERS, Math.floor(processors / 2));
}

const path = z.string().min(1).max(4096);
const bool = z.enum(['true', 'false']).transform((text) => text === 'true');

const environment = z.object({
  HOSTNAME: z
    .string()
    .regex(/^[a-z0-9.-]{1,253}$/, 'must be a host name: a-z, 0-9, "-" and ".", at most 253 characters'),
  ADVERTISE_IP: z.string().refine((text) => isIP(text) !== 0, 'must be an IP address'),
  ROOT_DIR: path.default('/var/lib/storageos'),
  API_BIND_ADDRESS: endpoint(PORTS.api).optional(),
  IO_BIND_ADDRESS: endpoint(PORTS.io).optional(),
  GOSSIP_BIND_ADDRESS: endpoint(PORTS.gossip).optional(),
  ETCD_ENDPOINTS: z.string().min(1).max(4096).optional(),
  KV_BACKEND: z.enum(['etcd', 'embedded']).optional(),
  KV_ADDR: z.string().min(1).max(4096).optional(),
  ETCD_NAMESPACE: z
    .string()
    .regex(/^[a-z0-9./-]{1,253}$/)
    .default('storageos'),
  ETCD_TLS_CLIENT_CA: path.optional(),
  ETCD_TLS_CLIENT_CERT: path.optional(),
  ETCD_TLS_CLIENT_KEY: path.optional(),
  TEMPORAL_ADDRESS: z.string().min(1).max(253),
  TEMPORAL_NAMESPACE: z.string().min(1).max(253).default('default'),
  GOSSIP_SEEDS: endpointList(PORTS.gossip),
  INTERNAL_TLS_CA_CERT: path,
  INTERNAL_TLS_NODE_CERT: path,
  INTERNAL_TLS_NODE_KEY: path,
  CLUSTER_KEY_FILE: path,
  KEY_DIR: path,
  API_TLS_CERT: path.optional(),
  API_TLS_KEY: path.optional(),
  LICENCE_PUBLIC_KEY_FILE: path.optional(),
  BOOTSTRAP_USERNAME: z.string().min(1).max(253).optional(),
  BOOTSTRAP_PASSWORD: z.string().min(8).max(1024).optional(),
  SOCKET_DIR: path.optional(),
  DEVICE_DIR: path.optional(),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  LOG_FORMAT: z.enum(['default', 'json']).default('json'),
  CONTROL_ROLE: bool.default(true),
  REPLACEMENT_GRACE: duration('15s'),
  INDEX_CACHE_BYTES: z.coerce
    .number()
    .int()
    .min(MIN_INDEX_CACHE_BYTES)
    .max(2 ** 40)
    .default(DEFAULT_INDEX_CACHE_BYTES),
  CAPACITY_RESERVE_BYTES: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(DEFAULT_RESERVE_BYTES),
  K8S_ENABLE_SCHEDULER_EXTENDER: bool.default(false),
  SCRUB_INTERVAL: duration('168h').refine((ms) => ms >= 1_000, 'must be at least 1s'),
  SCRUB_BYTES_PER_SECOND: z.coerce
    .number()
    .int()
    .min(64 << 10)
    .max(2 ** 40)
    .default(20 << 20),
  SYNCS_PER_NODE: z.coerce.number().int().min(1).max(64).default(4),
  SYNCS_PER_CLUSTER: z.coerce.number().int().min(1).max(1024).default(32),
  SYNC_BYTES_PER_SECOND: z.coerce
    .number()
    .int()
    .max(2 ** 40)
    .refine((bytes) => bytes === 0 || bytes >= 64 << 10, 'must be 0, or at least 65536')
    .default(0),
  CODEC_WORKERS: z.coerce.number().int().min(0).max(MAX_CODEC_WORKERS).optional(),
  STORAGEOS_CIPHER_ENGINE: z.enum(['auto', 'wasm', 'native']).default('auto'),
});

/** What an agent has to know again after a restart, beside its stores. */
export const stateDirOf = (rootDir: string): string => join(rootDir, 'state');

export interface Config {
  readonly nodeName: string;
  readonly advertiseIp: string;
  readonly rootDir: string;
  readonly bind: { readonly api: Endpoint; readonly io: Endpoint; readonly gossip: Endpoint };
  readonly etcd: {
    readonly endpoints: readonly string[];
    readonly namespace: string;
    readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
  };
  readonly temporal: { readonly address: string; readonly namespace: string };
  readonly gossipSeeds: readonly Endpoint[];
  readonly pki: { readonly caCert: string; readonly nodeCert: string; readonly nodeKey: string };
  readonly apiTls?: { readonly cert: string; readonly key: string };
  /** Public keys of those who may issue licences, PEM. */
  readonly licencePublicKeyFile?: string;
  readonly clusterKeyFile: string;
  readonly keyDir: string;
  readonly bootstrap?: { readonly username: string; readonly password: string };
  readonly socketDir: string;
  readonly deviceDir: string;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly logFormat: 'default' | 'json';
  /** What of these the environment says: it counts until the cluster's setting is changed. */
  readonly logGiven: { readonly level?: Config['logLevel']; readonly format?: Config['logFormat'] };
  readonly controlRole: boolean;
  readonly schedulerExtender: boolean;
  readonly replacementGraceMs: number;
  readonly capacityReserveBytes: number;
  /** Memory for the indexes of all deployments of the node, bytes. */
  readonly indexCacheBytes: number;
  /** Every stored block is read once in this time, if so many bytes per second are enough for that. */
  readonly scrubIntervalMs: number;
  readonly scrubBytesPerSecond: number;
  /** Syncs that copy from this node at a time, and as many to it; in the cluster; each volume's, bytes per second at the most (0: no limit). */
  readonly maxSyncs: number;
  readonly maxClusterSyncs: number;
  readonly syncBytesPerSecond: number;
  readonly cipherEngine: 'auto' | 'wasm' | 'native';
  /** Threads for long requests, 0–4. */
  readonly codecWorkers: number;
}

/**
 * Errors: DomainError('invalid') that names every variable that is missing or wrong, never its value's secrets.
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const parsed = environment.safeParse(env);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new DomainError('invalid', `configuration by environment: ${problems.join('; ')}`);
  }
  const e = parsed.data;
  if (e.KV_BACKEND === 'etcd' && e.KV_ADDR === undefined && e.ETCD_ENDPOINTS === undefined) {
    throw new DomainError('invalid', 'configuration by environment: KV_BACKEND=etcd needs KV_ADDR=host:port,…');
  }
  const endpoints = (e.ETCD_ENDPOINTS ?? e.KV_ADDR ?? '').split(',').filter((part) => part !== '');
  if (endpoints.length === 0) {
    throw new DomainError('invalid', 'configuration by environment: ETCD_ENDPOINTS (or KV_ADDR) is required');
  }
  if ((e.API_TLS_CERT === undefined) !== (e.API_TLS_KEY === undefined)) {
    throw new DomainError('invalid', 'configuration by environment: API_TLS_CERT and API_TLS_KEY are set together');
  }
  const rootDir = resolve(e.ROOT_DIR);
  return {
    nodeName: e.HOSTNAME,
    advertiseIp: e.ADVERTISE_IP,
    rootDir,
    bind: {
      api: e.API_BIND_ADDRESS ?? { host: e.ADVERTISE_IP, port: PORTS.api },
      io: e.IO_BIND_ADDRESS ?? { host: e.ADVERTISE_IP, port: PORTS.io },
      gossip: e.GOSSIP_BIND_ADDRESS ?? { host: e.ADVERTISE_IP, port: PORTS.gossip },
    },
    etcd: {
      endpoints,
      namespace: e.ETCD_NAMESPACE,
      ...(e.ETCD_TLS_CLIENT_CA !== undefined && {
        tls: {
          ca: e.ETCD_TLS_CLIENT_CA,
          ...(e.ETCD_TLS_CLIENT_CERT !== undefined && { cert: e.ETCD_TLS_CLIENT_CERT }),
          ...(e.ETCD_TLS_CLIENT_KEY !== undefined && { key: e.ETCD_TLS_CLIENT_KEY }),
        },
      }),
    },
    temporal: { address: e.TEMPORAL_ADDRESS, namespace: e.TEMPORAL_NAMESPACE },
    gossipSeeds: e.GOSSIP_SEEDS,
    pki: { caCert: e.INTERNAL_TLS_CA_CERT, nodeCert: e.INTERNAL_TLS_NODE_CERT, nodeKey: e.INTERNAL_TLS_NODE_KEY },
    ...(e.API_TLS_CERT !== undefined &&
      e.API_TLS_KEY !== undefined && { apiTls: { cert: e.API_TLS_CERT, key: e.API_TLS_KEY } }),
    ...(e.LICENCE_PUBLIC_KEY_FILE !== undefined && { licencePublicKeyFile: e.LICENCE_PUBLIC_KEY_FILE }),
    clusterKeyFile: e.CLUSTER_KEY_FILE,
    keyDir: e.KEY_DIR,
    ...(e.BOOTSTRAP_USERNAME !== undefined &&
      e.BOOTSTRAP_PASSWORD !== undefined && {
        bootstrap: { username: e.BOOTSTRAP_USERNAME, password: e.BOOTSTRAP_PASSWORD },
      }),
    socketDir: resolve(e.SOCKET_DIR ?? join(rootDir, 'sockets')),
    deviceDir: resolve(e.DEVICE_DIR ?? join(rootDir, 'volumes')),
    logLevel: e.LOG_LEVEL,
    logFormat: e.LOG_FORMAT,
    logGiven: {
      ...(env.LOG_LEVEL !== undefined && { level: e.LOG_LEVEL }),
      ...(env.LOG_FORMAT !== undefined && { format: e.LOG_FORMAT }),
    },
    controlRole: e.CONTROL_ROLE,
    schedulerExtender: e.K8S_ENABLE_SCHEDULER_EXTENDER,
    replacementGraceMs: e.REPLACEMENT_GRACE,
    capacityReserveBytes: e.CAPACITY_RESERVE_BYTES,
    indexCacheBytes: e.INDEX_CACHE_BYTES,
    scrubIntervalMs: e.SCRUB_INTERVAL,
    scrubBytesPerSecond: e.SCRUB_BYTES_PER_SECOND,
    maxSyncs: e.SYNCS_PER_NODE,
    maxClusterSyncs: e.SYNCS_PER_CLUSTER,
    syncBytesPerSecond: e.SYNC_BYTES_PER_SECOND,
    cipherEngine: e.STORAGEOS_CIPHER_ENGINE,
    codecWorkers: e.CODEC_WORKERS ?? defaultCodecWorkers(availableParallelism()),
  };
}
