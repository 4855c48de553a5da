/** What the block store tells: space of the node, and of each copy its cleaner, scrub and checkpoints. */

import type { Registry } from 'prom-client';
import type { ScrubProgress } from '../../core/ports.js';
import type { Capacity, DeviceSpace, IndexUse, StoreStatistics } from '../store/index.js';
import { registerCounter, registerGauge, registerSampled } from './sampled.js';
import { type OfVolume, VolumeMetrics, type VolumeNames } from './volumes.js';

export interface StoreSources extends VolumeNames {
  readonly capacity: () => Capacity;
  /** Of every `dev<N>` directory. */
  readonly devices: () => readonly DeviceSpace[];
  /** Whether writers are slowed down because space is short. */
  readonly throttled: () => boolean;
  /** Of all copies together. */
  readonly index: () => IndexUse;
  /** Of the copies that are open. */
  readonly statistics: () => readonly (OfVolume & { readonly statistics: StoreStatistics })[];
}

type Read = (statistics: StoreStatistics) => number | undefined;

const GAUGES: Readonly<Record<string, readonly [help: string, read: Read]>> = {
  utilisation_actual_bytes: ['size of the blocks of this copy that hold data, before compression', (s) => s.dataBytes],
  store_live_bytes: ['stored bytes of this copy that are not garbage', (s) => s.liveBytes],
  store_segments: ['segment files of this copy', (s) => s.segments],
  store_reclaimable_bytes: ['bytes of this copy that the next checkpoint gives back', (s) => s.deadBytes],
  store_unsynced_bytes: ['bytes of this copy that were written and not synced yet', (s) => s.unsyncedBytes],
  bad_blocks: ['blocks of this copy that are known to be damaged', (s) => s.badBlocks],
  scrub_progress_ratio: ['part of the present pass that the scrub has read', (s) => partOf(s.scrub)],
  scrub_last_pass_timestamp_seconds: ['when the last pass of the scrub ended, since 1970', (s) => endedAt(s.scrub)],
};

const COUNTERS: Readonly<Record<string, readonly [help: string, read: Read]>> = {
  scrub_passes_total: ['times that the scrub has read all of this copy', (s) => s.scrub.passes],
  scrub_read_bytes_total: ['bytes that the scrub has read', (s) => s.scrubbed.readBytes],
  scrub_bad_blocks_total: ['damaged blocks that the scrub has met', (s) => s.scrubbed.badBlocks],
  scrub_damages_total: [
    'damages of log and checkpoint that the scrub has found and had replaced',
    (s) => s.scrubbed.damages,
  ],
  cleaner_segments_total: ['segments that the cleaner has emptied', (s) => s.cleaned.segments],
  cleaner_copied_bytes_total: ['bytes that the cleaner has copied', (s) => s.cleaned.copiedBytes],
  checkpoints_total: ['checkpoints of the index', (s) => s.checkpoints.checkpoints],
  checkpoint_written_bytes_total: ['bytes of those checkpoints', (s) => s.checkpoints.writtenBytes],
  checkpoint_seconds_total: ['time that they took, summed', (s) => s.checkpoints.seconds],
  checkpoint_reclaimed_bytes_total: ['bytes of segments that they gave back', (s) => s.checkpoints.reclaimedBytes],
};

function partOf({ doneBytes, totalBytes }: ScrubProgress): number {
  return totalBytes === 0 ? 0 : doneBytes / totalBytes;
}

function endedAt({ endedMs }: ScrubProgress): number | undefined {
  return endedMs === null ? undefined : endedMs / 1000;
}

/** Counts are since the copy was opened. */
export function registerStoreMetrics(registry: Registry, sources: StoreSources): void {
  const { capacity } = sources;
  registerGauge(
    registry,
    'storageos_node_device_capacity_bytes',
    'size of the data directories',
    () => capacity().totalBytes,
  );
  registerGauge(
    registry,
    'storageos_node_device_free_bytes',
    'free bytes of the data directories',
    () => capacity().freeBytes,
  );
  registerGauge(
    registry,
    'storageos_node_device_available_bytes',
    'free bytes that volumes may take',
    () => capacity().availableBytes,
  );
  registerGauge(
    registry,
    'storageos_node_device_reserved_bytes',
    'bytes that are kept free for the cleaner and TRIM',
    () => capacity().reservedBytes,
  );
  registerGauge(registry, 'storageos_node_store_throttled', '1 if writers are slowed down as space is short', () =>
    sources.throttled() ? 1 : 0,
  );
  registerGauge(
    registry,
    'storageos_node_index_limit_bytes',
    'memory that the indexes of all copies may take',
    () => sources.index().limitBytes,
  );
  registerGauge(
    registry,
    'storageos_node_index_cache_bytes',
    'memory of index pages that are kept',
    () => sources.index().pageBytes,
  );
  registerGauge(
    registry,
    'storageos_node_index_memtable_bytes',
    'memory of index changes since the last checkpoints',
    () => sources.index().memtableBytes,
  );
  registerCounter(
    registry,
    'storageos_node_index_cache_hits_total',
    'index pages that were in memory',
    () => sources.index().hits,
  );
  registerCounter(
    registry,
    'storageos_node_index_cache_misses_total',
    'index pages that had to be read',
    () => sources.index().misses,
  );
  const ofDirectory = (name: string, help: string, read: (space: DeviceSpace) => number) =>
    registerSampled(registry, {
      name: `storageos_node_data_directory_${name}`,
      help,
      type: 'gauge',
      labels: ['directory'],
      read: () => sources.devices().map((space) => ({ labels: { directory: space.path }, value: read(space) })),
    });
  ofDirectory('free_bytes', 'free bytes of the file system of a data directory', ({ freeBytes }) => freeBytes);
  ofDirectory('used_bytes', 'bytes of volumes in a data directory', ({ segmentBytes }) => segmentBytes);
  const metrics = new VolumeMetrics(registry, sources, 'deployment', sources.statistics);
  for (const [name, [help, read]] of Object.entries(GAUGES))
    metrics.gauge(name, help, ({ statistics }) => read(statistics));
  for (const [name, [help, read]] of Object.entries(COUNTERS))
    metrics.counter(name, help, ({ statistics }) => read(statistics));
}
