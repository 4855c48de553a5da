/** The control plane's operations on volumes, as API, CSI and Kubernetes controllers call them. */

import type { Placement } from './domain.js';
import type { LostVolumeWishes } from './lost-volumes.js';
import type { RecoveryReason } from './recovery.js';
import type { DeploymentId, Epoch, NodeId, Order, VolumeId } from './types.js';

/** One copy of a volume, as `verify` found it. */
export interface VerifiedDeployment {
  readonly id: DeploymentId;
  readonly node: NodeId;
  /** Blocks that the copy's index holds, written zeroes among them. */
  readonly blocks: number;
  readonly lastOrder: Order;
  readonly usedBytes: number;
}

/** A block on which copies differ; a copy without the block has order (0, 0) and an empty checksum. */
export interface VerifyDifference {
  readonly block: number;
  readonly copies: readonly {
    readonly deployment: DeploymentId;
    readonly order: Order;
    /** XXH3-64 of the stored payload, 16 hex digits. */
    readonly checksum: string;
  }[];
}

/** Differences that a report names at the most; `differingBlocks` counts all. */
export const MAX_REPORTED_DIFFERENCES = 100;

/** Outcome of comparing every block, with its order and checksum, of all in-sync copies of a volume. */
export interface VerifyReport {
  readonly identical: boolean;
  readonly deployments: readonly VerifiedDeployment[];
  readonly differingBlocks: number;
  /** The first ones by block number, at most MAX_REPORTED_DIFFERENCES. */
  readonly differences: readonly VerifyDifference[];
}

/** What a recovery of a volume's membership found, and did. */
export interface RecoveryReport {
  readonly volume: VolumeId;
  /** Why etcd can't be relied upon for it; empty: it can. */
  readonly reasons: readonly RecoveryReason[];
  /** What is lost by going on, or may be; for people. */
  readonly risks: readonly string[];
  /** Who would be in the set, and in which epoch; absent if nothing is to be done, or no copy answers. */
  readonly primary?: Placement;
  readonly inSync?: readonly DeploymentId[];
  readonly epoch?: Epoch;
  readonly recovered: boolean;
}

/** The same for a volume of which etcd has no record. */
export interface LostVolumeReport extends RecoveryReport {
  /** Under which it would come back, or did; '' where nothing says. */
  readonly name: string;
  readonly namespaceName: string;
  readonly sizeBytes: number;
  /** What has to be mended or decided before, for people; empty: nothing. */
  readonly obstacles: readonly string[];
  readonly copies: readonly LostCopy[];
}

/** A copy of it, as its node tells. */
export interface LostCopy extends Placement {
  /** Absent: it is on the disk and cannot be opened at present. */
  readonly promised?: Epoch;
  readonly last?: Order;
  /** Lacks nothing that it once had, as far as it knows. */
  readonly complete: boolean;
}

/**
 * Every call is idempotent. Errors: DomainError; 'controller-unavailable' if Temporal does not answer, in
 * which case the operation was not accepted unless the message says otherwise.
 *
 * `waitMs` bounds how long the call waits for an accepted operation, which goes on behind it: a call whose
 * time is over resolves, and the volume's record tells how far it came.
 */
export interface VolumeController {
  /** Places and creates the copies of a volume whose record exists; resolves when it is ready. 'no-capacity' … */
  provision(volume: VolumeId, options: { readonly waitMs: number }): Promise<void>;
  /** Resolves when the node shows the volume. 'in-use' if it is attached elsewhere. */
  attach(volume: VolumeId, node: NodeId, options: { readonly waitMs: number }): Promise<void>;
  /** Resolves when no node shows the volume; a detached volume stays so. */
  detach(volume: VolumeId, options: { readonly waitMs: number }): Promise<void>;
  /**
   * Deletes data, keys and records. `offline`: although its nodes do not answer; refused with 'invalid-state'
   * if a copy is online. 'invalid-state' if the volume is attached.
   */
  remove(volume: VolumeId, options: { readonly offline: boolean; readonly waitMs: number }): Promise<void>;
  /** The desired state in etcd has changed (replicas, failure mode): the volume's workflow looks at it soon. */
  changed(volume: VolumeId): Promise<void>;
  /** Compares all in-sync copies while nothing writes; 'invalid-state' while the volume is being written to. */
  verify(volume: VolumeId): Promise<VerifyReport>;
  /**
   * Makes the volume's membership anew from its copies. 'invalid-state' if that loses data, or may, and `acceptLoss`
   * does not say that this is accepted.
   */
  recover(volume: VolumeId, options: { readonly acceptLoss: boolean }): Promise<RecoveryReport>;
  /**
   * Makes all records of a volume anew, of which etcd has none. 'not-found' if no node has a copy; 'invalid-state' as
   * `recover`, and if something is in the way (LostVolumeReport.obstacles).
   */
  recoverLost(
    volume: VolumeId,
    options: LostVolumeWishes & { readonly acceptLoss: boolean },
  ): Promise<LostVolumeReport>;
}
