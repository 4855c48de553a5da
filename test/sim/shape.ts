/** What a seed decides before anything happens: how large the cluster is, its settings, and how its volumes are used. */

import { DEFAULT_SETTINGS, type ReplicationSettings } from '../../core/replication/settings.js';
import { BLOCK_BYTES } from './blocks.js';
import type { SeededRandom } from './scheduler.js';
import type { WorkloadSettings } from './workload.js';

/** Copies of a volume, the primary's among them. Three are the most instructive. */
const COPIES = [1, 2, 3, 3, 3, 3, 4, 6];
const VOLUMES = [1, 1, 1, 1, 2, 2, 3];
/** Nodes beside those that the largest volume needs. */
const SPARE_NODES = [0, 0, 1, 2];
const MAX_NODES = 7;

export interface ClusterShape {
  readonly nodes: number;
  /** Of each volume. */
  readonly copies: readonly number[];
}

export function randomCluster(random: SeededRandom): ClusterShape {
  const copies = Array.from({ length: random.pick(VOLUMES) }, () => random.pick(COPIES));
  return { nodes: Math.min(MAX_NODES, Math.max(...copies) + random.pick(SPARE_NODES)), copies };
}

export function randomSettings(random: SeededRandom): ReplicationSettings {
  const leaseMs = random.pick([2_000, 4_000]);
  const catchUpBytes = random.pick([64, 4 << 20]);
  return {
    ...DEFAULT_SETTINGS,
    leaseMs,
    leaseMarginMs: leaseMs / 20,
    openTimeoutMs: random.pick([50, 300, 1_500]),
    memberTimeoutMs: random.pick([800, 5_000]),
    memberGraceMs: random.pick([50, 500]),
    maxInFlightWrites: random.pick([8, 4_096]),
    maxInFlightBytes: random.pick([512, 32 << 20]),
    catchUpBytes,
    // Where the log is sent in small pieces, the stream stops early as well.
    maxUnconfirmedBytes: 16 * catchUpBytes,
    deadBlocksPerMessage: random.pick([2, 4_096]),
    backfillBlocks: random.pick([1, 4, 512]),
    syncMarkMs: random.pick([0, 20, 5_000]),
    // Logs are short here (node-disk.ts).
    maxTargetLagBytes: random.pick([8, 32]) * BLOCK_BYTES,
    shortfallMs: random.pick([2_000, 90_000]),
  };
}

export function randomWorkload(
  random: SeededRandom,
  { volumeBlocks, writethrough, volumes }: { volumeBlocks: number; writethrough: boolean; volumes: number },
): WorkloadSettings {
  return {
    blocks: random.pick([4, 12, 40, 200]),
    volumeBlocks,
    // Several volumes together are as busy as one.
    pauseMs: volumes * random.pick([2, 8, 25, 60]),
    maxPending: random.pick([4, 32, 64]),
    flushes: random.pick([0.005, 0.02, 0.1]),
    writethrough,
  };
}
