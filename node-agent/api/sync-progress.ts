/** Progress of a sync as the API shows it. */

import type { SyncProgress } from '../../core/messages.js';
import { secondsLeft } from '../../core/replication/sync-meter.js';

/** All in bytes, bytes per second and seconds. */
export interface SyncProgressView {
  readonly bytesRemaining: number;
  readonly throughputBytes: number;
  readonly estimatedSecondsRemaining: number;
}

/** Blocks are counted with their full size, as the user has them, not as they are stored. */
export function syncProgressView(progress: SyncProgress, blockSize: number): SyncProgressView {
  return {
    bytesRemaining: Math.max(0, progress.blocksTotal - progress.blocksDone) * blockSize,
    throughputBytes: Math.round(progress.blocksPerSecond * blockSize),
    estimatedSecondsRemaining: secondsLeft(progress) ?? 0,
  };
}
