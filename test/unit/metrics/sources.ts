/** A node with one volume, attached to it and with a copy on it, as the metrics see it. */

import type { DeploymentStatus } from '../../../core/messages.js';
import { newCounters } from '../../../core/replication/context.js';
import { newFrontendStats } from '../../../node-agent/frontend/stats.js';
import type { MetricSources } from '../../../node-agent/metrics/index.js';
import { LatencyHistogram } from '../../../node-agent/metrics/latency.js';
import { Tally } from '../../../node-agent/metrics/tally.js';
import type { StoreStatistics } from '../../../node-agent/store/index.js';
import { aVolume } from '../../setup/records.js';

export const volume = aVolume({ name: 'data' });

export const statistics: StoreStatistics = {
  inode: 1,
  usedBytes: 77,
  liveBytes: 70,
  dataBytes: 100,
  segments: 2,
  deadBytes: 7,
  unsyncedBytes: 5,
  cleaned: { segments: 3, copiedBytes: 30 },
  checkpoints: { checkpoints: 4, writtenBytes: 40, seconds: 0.25, reclaimedBytes: 44 },
  scrub: { doneBytes: 35, totalBytes: 70, passes: 6, endedMs: 1_700_000_000_500 },
  scrubbed: { readBytes: 60, badBlocks: 1, damages: 2 },
  badBlocks: 1,
};

export const status = {
  role: 'primary',
  serving: true,
  unclean: false,
  promised: 4,
  usedBytes: 77,
  last: { epoch: 4, sequence: 9 },
  sync: {
    target: 'x',
    kind: 'full',
    blocksTotal: 8,
    blocksDone: 2,
    bytesCopied: 8192,
    blocksPerSecond: 3,
    bytesPerSecond: 4096,
    startedAtMs: 0,
  },
} as unknown as DeploymentStatus;

export function metricSources(patch: Partial<MetricSources> = {}): MetricSources {
  return {
    volume: (id) => (id === volume.id ? volume : undefined),
    namespaceName: () => 'default',
    attached: () => [{ volume: volume.id, stats: newFrontendStats() }],
    network: () => [],
    copies: () => [
      {
        volume: volume.id,
        status,
        counters: { ...newCounters(), activations: 2 },
        lag: 3,
        replicas: { ready: 1, wanted: 2 },
      },
    ],
    backends: () => [{ volume: volume.id, stats: { reads: 1, readBytes: 2, writes: 3, writtenBytes: 4 } }],
    disk: { syncs: new LatencyHistogram() },
    capacity: () => ({ totalBytes: 1000, freeBytes: 400, availableBytes: 300, reservedBytes: 100 }),
    devices: () => [{ path: 'data/dev1', freeBytes: 400, segmentBytes: 77 }],
    throttled: () => false,
    index: () => ({ limitBytes: 4096, pageBytes: 1024, memtableBytes: 512, hits: 9, misses: 1 }),
    statistics: () => [{ volume: volume.id, statistics }],
    codec: { engine: 'wasm', offloadBytes: 32_768, memory: { totalBytes: 65_536, freeBytes: 49_152 } },
    stateReachable: () => true,
    gossip: {
      members: () => [{ status: 'alive' }, { status: 'alive' }, { status: 'dead' }],
      healthScore: () => 0,
      counters: () => ({ sent: 5, received: 6, refused: 0, failed: 0, deaths: 1 }),
    },
    queries: new Tally('operation', 'result'),
    requests: new Tally('operation', 'status'),
    activities: new Tally('activity', 'result'),
    workflows: new Tally('workflow', 'result'),
    processes: () => ({ dataplane: process.pid, control: undefined }),
    ...patch,
  };
}
