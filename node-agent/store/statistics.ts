/** What a store tells of itself, for metrics. */

import type { ScrubProgress } from '../../core/ports.js';
import type { Checkpointer } from './checkpointer.js';
import type { Cleaner } from './cleaner.js';
import type { Scrubber } from './scrubber.js';

/** Counts are since the opening. */
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
  readonly scrubbed: Scrubber['done'];
  readonly badBlocks: number;
}
