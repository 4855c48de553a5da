/** What the control plane is doing, for people who wait for it. */

import type { NodeId, VolumeId } from './types.js';

/** Operations that a list holds at the most. */
export const MAX_OPERATIONS = 500;

const ID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** The text with names in place of the ids that have one. Workflows know nodes by their ids only. */
export function withNames(text: string, nameOf: (id: string) => string | undefined): string {
  return text.replace(ID, (id) => nameOf(id) ?? id);
}

export interface OperationProgress {
  /** 0–100. */
  readonly percent: number;
  readonly blocksDone: number;
  readonly blocksTotal: number;
  readonly bytesCopied: number;
  /** Lately. */
  readonly bytesPerSecond: number;
  /** Absent while nothing is copied. */
  readonly secondsLeft?: number;
}

export interface Operation {
  /** Of the workflow. */
  readonly id: string;
  /** The workflow's type; `Volume`: the volume is not as it is wanted, and `summary` says how. */
  readonly kind: string;
  readonly volume?: VolumeId;
  /** That it is about; of a volume, its primary's. */
  readonly node?: NodeId;
  /** RFC 3339. */
  readonly startedAt: string;
  /** What it does, or in which state the volume is. */
  readonly summary: string;
  /** What keeps it from going on, if anything does. */
  readonly waitsFor?: string;
  readonly progress?: OperationProgress;
}
