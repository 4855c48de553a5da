/**
 * What the agent tells Prometheus on `/metrics`. Names and labels are StorageOS's where it had them
 * (reference/cli-and-gui.md, "Metrics"). Values are read from their owners when somebody scrapes; the number
 * of series is bounded by the volumes that are attached to or stored on this node.
 */

import { Counter, collectDefaultMetrics, Gauge, type Registry } from 'prom-client';
import type { Volume } from '../../core/domain.js';
import type { DeploymentStatus } from '../../core/messages.js';
import type { VolumeId } from '../../core/types.js';
import type { Codec } from '../codec/index.js';
import type { FrontendStats, OperationKind } from '../frontend/stats.js';

/** Volumes that get series of their own; the others of a node beyond them are counted only in its totals. */
export const MAX_VOLUMES_WITH_SERIES = 1000;

export interface MetricSources {
  readonly volume: (id: VolumeId) => Volume | undefined;
  readonly namespaceName: (id: Volume['namespace']) => string;
  /** Volumes attached to this node. */
  readonly attached: () => readonly { readonly volume: VolumeId; readonly stats: FrontendStats }[];
  /** Deployments that this node holds. */
  readonly deployments: () => readonly { readonly volume: VolumeId; readonly status: DeploymentStatus }[];
  readonly capacity: () => { readonly totalBytes: number; readonly freeBytes: number };
  /** Whether etcd answers. */
  readonly stateReachable: () => boolean;
  readonly codec: Pick<Codec, 'engine' | 'offloadBytes'>;
}

export const VOLUME_LABELS = ['namespace', 'pool', 'type', 'volume_id', 'volume_name'] as const;
type VolumeLabels = Readonly<Record<(typeof VOLUME_LABELS)[number], string>>;

const KINDS: readonly OperationKind[] = ['read', 'write', 'trim', 'flush'];

export function volumeLabels(
  sources: Pick<MetricSources, 'volume' | 'namespaceName'>,
  id: VolumeId,
  type: 'presentation' | 'deployment',
): VolumeLabels {
  const volume = sources.volume(id);
  return {
    namespace: volume === undefined ? '' : sources.namespaceName(volume.namespace),
    pool: 'default',
    type,
    volume_id: id,
    volume_name: volume?.name ?? '',
  };
}

function frontendMetrics(registry: Registry, sources: MetricSources): void {
  const counter = (name: string, help: string, read: (stats: FrontendStats) => number): void => {
    new Counter({
      name: `storageos_volume_frontend_${name}`,
      help,
      labelNames: VOLUME_LABELS,
      registers: [registry],
      collect() {
        this.reset();
        for (const { volume, stats } of sources.attached().slice(0, MAX_VOLUMES_WITH_SERIES)) {
          this.inc(volumeLabels(sources, volume, 'presentation'), read(stats));
        }
      },
    });
  };
  for (const kind of KINDS) {
    counter(`${kind}_total`, `${kind} operations that were answered`, (stats) => stats[kind].operations);
    counter(`${kind}_error_total`, `${kind} operations that failed`, (stats) => stats[kind].errors);
    counter(`${kind}_seconds_total`, `time from ${kind} requests to their answers, summed`, (s) => s[kind].seconds);
    if (kind !== 'flush') counter(`${kind}_bytes_total`, `bytes of ${kind} operations`, (stats) => stats[kind].bytes);
  }
}

function deploymentMetrics(registry: Registry, sources: MetricSources): void {
  const gauge = (
    name: string,
    help: string,
    read: (status: DeploymentStatus, volume: Volume | undefined) => number | undefined,
  ): void => {
    new Gauge({
      name: `storageos_volume_${name}`,
      help,
      labelNames: VOLUME_LABELS,
      registers: [registry],
      collect() {
        this.reset();
        for (const { volume, status } of sources.deployments().slice(0, MAX_VOLUMES_WITH_SERIES)) {
          const value = read(status, sources.volume(volume));
          if (value !== undefined) this.set(volumeLabels(sources, volume, 'deployment'), value);
        }
      },
    });
  };
  gauge('capacity_bytes', 'provisioned size', (_, volume) => volume?.sizeBytes);
  gauge('utilisation_apparent_bytes', 'space that this copy takes on this node', (status) => status.usedBytes);
  gauge('replication_epoch', 'highest epoch that this copy has promised', (status) => status.promised);
  gauge(
    'replication_last_sequence',
    'sequence number of the last write in this copy',
    (status) => status.last.sequence,
  );
  gauge('replication_primary', '1 if this copy is the primary', (status) => (status.role === 'primary' ? 1 : 0));
  gauge('replication_serving', '1 if this copy is the primary and serves I/O now', (s) => (s.serving ? 1 : 0));
  gauge('replication_unclean', '1 if this copy may have lost acknowledged writes', (s) => (s.unclean ? 1 : 0));
  gauge('sync_blocks', 'blocks of the sync that this primary runs', ({ sync }) => sync?.blocksTotal);
  gauge('sync_blocks_done', 'blocks of that sync that are done', ({ sync }) => sync?.blocksDone);
  gauge('sync_copied_bytes', 'bytes that this sync has copied', ({ sync }) => sync?.bytesCopied);
}

function nodeMetrics(registry: Registry, sources: MetricSources): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  gauge('storageos_node_device_capacity_bytes', 'size of the data directories', () => sources.capacity().totalBytes);
  gauge('storageos_node_device_free_bytes', 'free bytes of the data directories', () => sources.capacity().freeBytes);
  gauge('storageos_node_volumes_total', 'copies of volumes on this node', () => sources.deployments().length);
  gauge('storageos_node_attached_volumes_total', 'volumes attached to this node', () => sources.attached().length);
  gauge('storageos_store_reachable', '1 if etcd answers', () => (sources.stateReachable() ? 1 : 0));
}

function codecMetrics(registry: Registry, { codec: { engine, offloadBytes } }: MetricSources): void {
  new Gauge({
    name: 'storageos_codec_info',
    help: 'who does AES: "wasm", the kernels in WebAssembly, or "native", the CPU\'s instructions by node:crypto',
    labelNames: ['engine'],
    registers: [registry],
  }).set({ engine }, 1);
  new Gauge({
    name: 'storageos_codec_offload_bytes',
    help: 'length from which requests are encoded in worker threads; +Inf if none are',
    registers: [registry],
  }).set(offloadBytes);
}

/** Adds the agent's metrics to the registry. */
export function registerMetrics(registry: Registry, sources: MetricSources): void {
  collectDefaultMetrics({ register: registry, prefix: 'storageos_control_' });
  frontendMetrics(registry, sources);
  deploymentMetrics(registry, sources);
  nodeMetrics(registry, sources);
  codecMetrics(registry, sources);
}
