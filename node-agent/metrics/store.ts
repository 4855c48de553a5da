/** What the block store tells Prometheus: space of the node, and of each copy its cleaner, scrub and checkpoints. */

import { Counter, Gauge, type Registry } from 'prom-client';
import type { VolumeId } from '../../core/types.js';
import type { Capacity, DeviceSpace, StoreStatistics } from '../store/index.js';
import { MAX_VOLUMES_WITH_SERIES, type MetricSources, VOLUME_LABELS, volumeLabels } from './index.js';

export interface StoreMetricSources extends Pick<MetricSources, 'volume' | 'namespaceName'> {
  readonly capacity: () => Capacity;
  /** Of every `dev<N>` directory. */
  readonly devices: () => readonly DeviceSpace[];
  /** Of the copies that are open. */
  readonly statistics: () => readonly { readonly volume: VolumeId; readonly statistics: StoreStatistics }[];
}

type Read = (statistics: StoreStatistics) => number;

const GAUGES: Readonly<Record<string, readonly [help: string, read: Read]>> = {
  store_live_bytes: ['stored bytes of this copy that are not garbage', (s) => s.liveBytes],
  store_segments: ['segment files of this copy', (s) => s.segments],
  store_reclaimable_bytes: ['bytes of this copy that the next checkpoint gives back', (s) => s.deadBytes],
  store_unsynced_bytes: ['bytes of this copy that were written and not synced yet', (s) => s.unsyncedBytes],
  bad_blocks: ['blocks of this copy that are known to be damaged', (s) => s.badBlocks],
  scrub_progress_ratio: ['part of the present pass that the scrub has read', (s) => s.scrub.part],
};

const COUNTERS: Readonly<Record<string, readonly [help: string, read: Read]>> = {
  scrub_passes_total: ['times that the scrub has read all of this copy', (s) => s.scrub.passes],
  scrub_read_bytes_total: ['bytes that the scrub has read', (s) => s.scrub.readBytes],
  scrub_bad_blocks_total: ['damaged blocks that the scrub has met', (s) => s.scrub.badBlocks],
  cleaner_segments_total: ['segments that the cleaner has emptied', (s) => s.cleaned.segments],
  cleaner_copied_bytes_total: ['bytes that the cleaner has copied', (s) => s.cleaned.copiedBytes],
  checkpoints_total: ['checkpoints of the index', (s) => s.checkpoints.checkpoints],
  checkpoint_written_bytes_total: ['bytes of those checkpoints', (s) => s.checkpoints.writtenBytes],
  checkpoint_seconds_total: ['time that they took, summed', (s) => s.checkpoints.seconds],
  checkpoint_reclaimed_bytes_total: ['bytes of segments that they gave back', (s) => s.checkpoints.reclaimedBytes],
};

/** Counts are since the copy was opened. */
export function registerStoreMetrics(registry: Registry, sources: StoreMetricSources): void {
  for (const [name, [help, read]] of Object.entries(GAUGES)) perCopy(Gauge, name, help, read, registry, sources);
  for (const [name, [help, read]] of Object.entries(COUNTERS)) perCopy(Counter, name, help, read, registry, sources);
  ofNode('available', 'free bytes that volumes may take', registry, () => sources.capacity().availableBytes);
  ofNode(
    'reserved',
    'bytes that are kept free for the cleaner and TRIM',
    registry,
    () => sources.capacity().reservedBytes,
  );
  new Gauge({
    name: 'storageos_node_data_directory_free_bytes',
    help: 'free bytes of the file system of a data directory',
    labelNames: ['directory'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { path, freeBytes } of sources.devices()) this.set({ directory: path }, freeBytes);
    },
  });
  new Gauge({
    name: 'storageos_node_data_directory_used_bytes',
    help: 'bytes of volumes in a data directory',
    labelNames: ['directory'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { path, segmentBytes } of sources.devices()) this.set({ directory: path }, segmentBytes);
    },
  });
}

function perCopy(
  kind: typeof Gauge | typeof Counter,
  name: string,
  help: string,
  read: Read,
  registry: Registry,
  sources: StoreMetricSources,
): void {
  const metric: Gauge | Counter = new kind({
    name: `storageos_volume_${name}`,
    help,
    labelNames: VOLUME_LABELS,
    registers: [registry],
    collect() {
      metric.reset();
      for (const { volume, statistics } of sources.statistics().slice(0, MAX_VOLUMES_WITH_SERIES)) {
        metric.inc(volumeLabels(sources, volume, 'deployment'), read(statistics));
      }
    },
  });
}

function ofNode(name: string, help: string, registry: Registry, read: () => number): void {
  new Gauge({
    name: `storageos_node_device_${name}_bytes`,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}
