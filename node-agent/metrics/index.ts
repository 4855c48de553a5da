/**
 * What the agent tells Prometheus on `/metrics`. Names and labels are StorageOS's where it had them. Values are read
 * from their owners when somebody scrapes; the number of series is bounded by the volumes that are attached to or
 * stored on this node, at most MAX_VOLUMES_WITH_SERIES of each.
 */

import type { Registry } from 'prom-client';
import type { Codec } from '../codec/index.js';
import { type ControlSources, registerControlMetrics } from './control.js';
import { type BackendSources, registerBackendMetrics } from './disk.js';
import { type FrontendSources, registerFrontendMetrics } from './frontend.js';
import { type NetworkSources, registerNetworkMetrics } from './network.js';
import { type ProcessSources, registerProcessMetrics } from './process.js';
import { type ReplicationSources, registerReplicationMetrics } from './replication.js';
import { registerGauge, registerSampled } from './sampled.js';
import { registerStoreMetrics, type StoreSources } from './store.js';

interface CodecSources {
  readonly codec: Pick<Codec, 'engine' | 'offloadBytes'> & {
    readonly memory: { readonly totalBytes: number; readonly freeBytes: number };
  };
}

export interface MetricSources
  extends FrontendSources,
    NetworkSources,
    ReplicationSources,
    BackendSources,
    StoreSources,
    ControlSources,
    ProcessSources,
    CodecSources {}

function registerNodeMetrics(registry: Registry, { codec, copies, attached }: MetricSources): void {
  registerGauge(registry, 'storageos_node_volumes_total', 'copies of volumes on this node', () => copies().length);
  registerGauge(
    registry,
    'storageos_node_attached_volumes_total',
    'volumes attached to this node',
    () => attached().length,
  );
  registerSampled(registry, {
    name: 'storageos_codec_info',
    help: 'who does AES: "wasm", the kernels in WebAssembly, or "native", the CPU\'s instructions by node:crypto',
    type: 'gauge',
    labels: ['engine'],
    read: () => [{ labels: { engine: codec.engine }, value: 1 }],
  });
  registerGauge(
    registry,
    'storageos_codec_offload_bytes',
    'length from which requests are encoded in worker threads; +Inf if none are',
    () => codec.offloadBytes,
  );
  registerGauge(
    registry,
    'storageos_codec_memory_bytes',
    'memory for long payloads that codec, sockets and files share',
    () => codec.memory.totalBytes,
  );
  registerGauge(
    registry,
    'storageos_codec_memory_free_bytes',
    'of it, what no request holds; where none is left, payloads are copied',
    () => codec.memory.freeBytes,
  );
}

/** In the order of the reference (docs/reference/metrics.md), which is made from it. */
export const METRIC_GROUPS: readonly {
  readonly title: string;
  readonly register: (registry: Registry, sources: MetricSources) => void;
}[] = [
  { title: 'Volumes where they are used', register: registerFrontendMetrics },
  { title: 'Volumes whose primary is on another node', register: registerNetworkMetrics },
  { title: 'Copies of volumes: replication', register: registerReplicationMetrics },
  { title: 'Copies of volumes: disks', register: registerBackendMetrics },
  { title: 'Copies of volumes: store', register: registerStoreMetrics },
  { title: 'Node', register: registerNodeMetrics },
  { title: 'Control plane', register: registerControlMetrics },
  { title: 'Processes', register: registerProcessMetrics },
];

/** Adds the agent's metrics to the registry. */
export function registerMetrics(registry: Registry, sources: MetricSources): void {
  for (const { register } of METRIC_GROUPS) register(registry, sources);
}
