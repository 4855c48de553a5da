/**
 * Failure modes: whether a volume may go on writing with the copies that it has. Nothing else in the system
 * decides that. A volume that has too few goes on for 90 s, in which they may be restored; then it is read-only
 * (docs/decisions/0007-failure-modes-have-a-grace-period.md). (StorageOS v2, "Failure modes"; behaviours of hard, soft, threshold and alwayson.)
 */

import type { FailureMode } from './domain.js';

export interface Redundancy {
  /** Replicas that the volume wants beside its primary, 0–5. */
  readonly target: number;
  /** Replicas that are in sync now. */
  readonly ready: number;
  /**
   * Replicas that were in sync and were lost, and not replaced yet. A volume whose target was just raised
   * misses replicas without having lost any: that is no reason to stop it.
   */
  readonly lost: number;
}

/** Replicas that must be in sync, of `target` wanted ones. */
export function requiredReplicas(mode: FailureMode, target: number): number {
  switch (mode.kind) {
    case 'hard':
      return target;
    case 'soft':
      return target === 0 ? 0 : Math.max(1, target - 1);
    case 'threshold':
      return Math.min(mode.threshold, target);
    case 'alwayson':
      return 0;
  }
}

/** Whether the mode is content. If it is not for `shortfallMs`, the volume becomes read-only. */
export function enoughCopies(mode: FailureMode, redundancy: Redundancy): boolean {
  const { target, ready, lost } = redundancy;
  return ready >= Math.min(requiredReplicas(mode, target), ready + lost);
}

/**
 * Whether the mode may be chosen for a volume in its present state: it must not stop the volume at once, and
 * a threshold must be reachable.
 */
export function mayChoose(mode: FailureMode, redundancy: Redundancy): boolean {
  if (mode.kind === 'threshold' && mode.threshold > redundancy.target) return false;
  return redundancy.ready >= requiredReplicas(mode, redundancy.target);
}

/** Nodes that can hold data which the volume needs to keep its promise when one of them is lost. */
export function minimumStorageNodes(mode: FailureMode, target: number): number {
  switch (mode.kind) {
    case 'hard':
      return target === 0 ? 1 : 1 + target + 1;
    case 'soft':
      return 1 + target;
    case 'threshold':
      return 1 + mode.threshold;
    case 'alwayson':
      return 1;
  }
}
