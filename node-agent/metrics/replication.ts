/** Copies of volumes on this node, and what replication does with them. */

import type { Registry } from 'prom-client';
import type { DeploymentStatus } from '../../core/messages.js';
import type { ReplicationCounters } from '../../core/replication/context.js';
import { secondsLeft } from '../../core/replication/sync-meter.js';
import { type OfVolume, VolumeMetrics, type VolumeNames } from './volumes.js';

/** One copy on this node. */
export interface CopyState extends OfVolume {
  readonly status: DeploymentStatus;
  readonly counters: ReplicationCounters;
  /** Writes that the slowest copy in sync has not confirmed yet; undefined where this copy is not the primary. */
  readonly lag: number | undefined;
  /** Undefined where this copy is not the primary. */
  readonly replicas: { readonly ready: number; readonly wanted: number } | undefined;
}

export interface ReplicationSources extends VolumeNames {
  readonly copies: () => readonly CopyState[];
}

const COUNTERS: Readonly<Record<string, readonly [help: string, read: (counters: ReplicationCounters) => number]>> = {
  reads_total: ['reads that this copy served as the primary', (c) => c.readsServed],
  writes_total: ['writes that this copy acknowledged as the primary', (c) => c.writesAcknowledged],
  flushes_total: ['flushes that this copy served as the primary', (c) => c.flushesServed],
  activations_total: ['times that this copy became the primary', (c) => c.activations],
  members_removed_total: ['copies that this primary has taken out of the set in sync', (c) => c.membersRemoved],
  syncs_total: ['syncs of other copies that this primary has completed', (c) => c.syncsCompleted],
  sync_bytes_total: ['bytes that syncs have sent', (c) => c.backfilledBytes],
  healed_blocks_total: ['damaged blocks that were mended from another copy', (c) => c.blocksHealed],
  unhealed_blocks_total: ['damaged blocks of which no copy was good', (c) => c.blocksUnhealed],
};

export function registerReplicationMetrics(registry: Registry, sources: ReplicationSources): void {
  const metrics = new VolumeMetrics(registry, sources, 'deployment', sources.copies);
  const sizeOf = ({ volume }: CopyState) => sources.volume(volume)?.sizeBytes;
  metrics.gauge('capacity_bytes', 'provisioned size', sizeOf);
  metrics.gauge('size_bytes', 'provisioned size; another name of capacity_bytes', sizeOf);
  metrics.gauge(
    'utilisation_apparent_bytes',
    'space that this copy takes on this node',
    ({ status }) => status.usedBytes,
  );
  metrics.gauge('replication_epoch', 'highest epoch that this copy has promised', ({ status }) => status.promised);
  metrics.gauge(
    'replication_last_sequence',
    'sequence number of the last write in this copy',
    ({ status }) => status.last.sequence,
  );
  metrics.gauge('replication_primary', '1 if this copy is the primary', ({ status }) =>
    Number(status.role === 'primary'),
  );
  metrics.gauge('replication_serving', '1 if this copy is the primary and serves I/O now', ({ status }) =>
    Number(status.serving),
  );
  metrics.gauge('replication_unclean', '1 if this copy may have lost acknowledged writes', ({ status }) =>
    Number(status.unclean),
  );
  metrics.gauge(
    'replication_lag_writes',
    'writes that the slowest copy in sync has not confirmed to this primary yet',
    ({ lag }) => lag,
  );
  metrics.gauge('replicas_ready', 'replicas in sync with this primary', ({ replicas }) => replicas?.ready);
  metrics.gauge(
    'replicas_wanted',
    'replicas that the volume of this primary is to have',
    ({ replicas }) => replicas?.wanted,
  );
  for (const [name, [help, read]] of Object.entries(COUNTERS)) {
    metrics.counter(`replication_${name}`, help, ({ counters }) => read(counters));
  }
  metrics.gauge('sync_blocks', 'blocks of the sync that this primary runs', ({ status }) => status.sync?.blocksTotal);
  metrics.gauge('sync_blocks_done', 'blocks of that sync that are done', ({ status }) => status.sync?.blocksDone);
  metrics.gauge('sync_copied_bytes', 'bytes that this sync has copied', ({ status }) => status.sync?.bytesCopied);
  metrics.gauge(
    'sync_bytes_per_second',
    'bytes that this sync copies in a second, lately',
    ({ status }) => status.sync?.bytesPerSecond,
  );
  metrics.gauge(
    'sync_seconds_left',
    'time until this sync has copied all, if it goes on like that',
    ({ status }) => status.sync && secondsLeft(status.sync),
  );
}
