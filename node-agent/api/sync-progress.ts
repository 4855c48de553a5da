/** Progress of a sync as the API shows it. */

import type { SyncProgress } from '../../core/messages.js';
import { secondsLeft } from '../../core/replication/sync-meter.js';

/** All in bytes, bytes per second and seconds. */
export interface SyncProgressView {
  readonly bytesTotal: number;
  readonly bytesRemaining: number;
  readonly throughputBytes: number;
  readonly estimatedSecondsRemaining: number;
}

/**
 * Blocks are counted with their full size, as the user has them, not as they are stored. Undefined until it is known
 * how many there are: clients would take nothing remaining for an end.
 */
export function syncProgressView(progress: SyncProgress, blockSize: number): SyncProgressView | undefined {
  if (progress.blocksTotal === 0) return undefined;
  return {
    bytesTotal: progress.blocksTotal * blockSize,
    bytesRemaining: Math.max(0, progress.blocksTotal - progress.blocksDone) * blockSize,
    throughputBytes: Math.round(progress.blocksPerSecond * blockSize),
    estimatedSecondsRemaining: secondsLeft(progress) ?? 0,
  };
}
