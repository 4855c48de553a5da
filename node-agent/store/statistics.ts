/** What a store tells of itself, for metrics and people. */

import type { Checkpointer } from './checkpointer.js';
import type { Cleaner } from './cleaner.js';

export interface ScrubProgress {
  /** Of the present pass, 0 to 1. */
  readonly part: number;
  /** Finished passes in the deployment's life. */
  readonly passes: number;
  /** Since the opening: bytes read, and blocks found bad, each time that they were found. */
  readonly readBytes: number;
  readonly badBlocks: number;
}

/** For metrics; counts are since the opening. */
export interface StoreStatistics {
  /** The number in the names of its segments. */
  readonly inode: number;
  /** In segments, and payload in them that the index refers to. */
  readonly usedBytes: number;
  readonly liveBytes: number;
  /** In blocks that hold data, as large as the volume's user sees them. */
  readonly dataBytes: number;
  readonly segments: number;
  /** Of segments without live blocks that a checkpoint will give back. */
  readonly deadBytes: number;
  readonly unsyncedBytes: number;
  readonly cleaned: Cleaner['done'];
  readonly checkpoints: Checkpointer['done'];
  readonly scrub: ScrubProgress;
  readonly badBlocks: number;
}
