/** Copies of volumes on this node. Run on the node's own task queue. */

import { activityInfo, Context } from '@temporalio/activity';
import { DomainError } from '../core/errors.js';
import type { SyncProgress } from '../core/messages.js';
import { percentDone, secondsLeft } from '../core/replication/sync-meter.js';
import type { DeploymentId, Epoch, Incarnation, VolumeId } from '../core/types.js';
import { requireVolume } from './copies.js';
import type { ActivityDeps } from './deps.js';

/** How often a running sync tells how far it is, ms. */
const PROGRESS_INTERVAL_MS = 1_000;

/** What the UI shows of a running sync. */
export interface SyncHeartbeat {
  readonly kind: 'delta' | 'full';
  /** Absent until it is known how much there is to copy. */
  readonly percent?: number;
  readonly blocksDone: number;
  readonly blocksTotal: number;
  readonly bytesCopied: number;
  readonly bytesPerSecond: number;
  /** Absent while nothing is copied. */
  readonly secondsLeft?: number;
}

export interface SyncResult {
  readonly kind: 'delta' | 'full';
  readonly blocksCopied: number;
  readonly bytesCopied: number;
}

export interface DeploymentActivities {
  createDeployment(request: { volume: VolumeId; deployment: DeploymentId }): Promise<{ incarnation: Incarnation }>;
  /** Erases a copy, if its tombstone says so; the tombstone goes with it. */
  eraseDeployment(request: { deployment: DeploymentId }): Promise<void>;
  /**
   * Brings `target` in sync, from the primary, which is on this node. Does nothing if it is in sync. The sync
   * itself resumes where the target's copy is; it is fenced by the primary's epoch, not by this activity.
   */
  syncReplica(request: {
    volume: VolumeId;
    source: DeploymentId;
    target: DeploymentId;
    epoch: Epoch;
  }): Promise<SyncResult>;
  /**
   * Takes a copy out of the set; the primary is on this node, and is asked even if etcd does not have the copy in
   * sync: it may be adding it. 'locked' if something else goes on there and does not end.
   */
  removeMember(request: {
    volume: VolumeId;
    source: DeploymentId;
    member: DeploymentId;
    reason: string;
  }): Promise<void>;
}

export function createDeploymentActivities(deps: ActivityDeps): DeploymentActivities {
  const { state, replication } = deps;

  /** The record, if this node's deployment is its primary. */
  async function requirePrimary(volume: VolumeId, source: DeploymentId) {
    const record = await state.membershipStore.read(volume);
    if (record === undefined) throw new DomainError('not-found', `volume ${volume} not found`);
    if (record.primary.deployment !== source) {
      throw new DomainError('invalid-state', `deployment ${source} is not the primary of volume ${volume}`);
    }
    return record;
  }

  return {
    async createDeployment({ volume, deployment }) {
      const status = await replication.createDeployment(volume, deployment, () => requireVolume(deps, volume));
      return { incarnation: status.incarnation };
    },

    eraseDeployment: ({ deployment }) => eraseDeployment(deps, deployment),

    async syncReplica({ volume, source, target, epoch }) {
      const context = Context.current();
      const record = await requirePrimary(volume, source);
      if (record.inSync.includes(target)) return { kind: 'delta', blocksCopied: 0, bytesCopied: 0 };
      if (record.epoch < epoch) throw new DomainError('stale-write', `epoch ${epoch} of ${volume} is not there yet`);
      let latest: SyncProgress | undefined;
      const sync = replication.startSync(source, target, (progress) => {
        latest = progress;
      });
      const timer = setInterval(() => context.heartbeat(latest && heartbeat(latest)), PROGRESS_INTERVAL_MS);
      const cancelled = context.cancelled.catch((error: unknown) => {
        sync.cancel();
        throw error;
      });
      try {
        const done = await Promise.race([sync.done, cancelled]);
        return { kind: done.kind, blocksCopied: done.blocksDone, bytesCopied: done.bytesCopied };
      } finally {
        clearInterval(timer);
      }
    },

    async removeMember({ volume, source, member, reason }) {
      await requirePrimary(volume, source);
      await replication.removeMember(source, member, reason);
    },
  };
}

/** Only a tombstone allows it: an emptied or rolled back etcd erases nothing. Also called by agents at start. */
export async function eraseDeployment(
  deps: Pick<ActivityDeps, 'state' | 'replication'>,
  deployment: DeploymentId,
): Promise<void> {
  const tombstone = await deps.state.tombstones.get(deployment);
  if (tombstone === undefined) return;
  await deps.replication.removeDeployment(deployment);
  await deps.state.tombstones.remove(deployment).catch((error: unknown) => {
    if (!(error instanceof DomainError) || error.code !== 'not-found') throw error;
  });
}

function heartbeat(progress: SyncProgress): SyncHeartbeat & { attempt: number } {
  const { kind, blocksDone, blocksTotal, bytesCopied, bytesPerSecond } = progress;
  const percent = percentDone(progress);
  const left = secondsLeft(progress);
  return {
    kind,
    ...(percent !== undefined && { percent }),
    blocksDone,
    blocksTotal,
    bytesCopied,
    bytesPerSecond: Math.round(bytesPerSecond),
    ...(left !== undefined && { secondsLeft: left }),
    attempt: activityInfo().attempt,
  };
}
