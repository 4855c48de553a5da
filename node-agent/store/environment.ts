/** What all deployments of a node share, and how their stores are tuned. */

import type { Clock, Disk, Random } from '../../core/ports.js';
import type { Devices } from './devices.js';
import type { FilePool } from './file-pool.js';
import type { IndexMemory } from './paged/index-memory.js';
import type { Throttle } from './throttle.js';

export interface StoreSettings {
  /** A segment is closed when the next batch would make it larger, bytes. */
  readonly segmentBytes: number;
  /** A checkpoint is due behind so many bytes of log… */
  readonly checkpointBytes: number;
  /** …or so many changed extents… */
  readonly checkpointEntries: number;
  /** …or when so many bytes of segments without live blocks can be given back. */
  readonly reclaimBytes: number;
  /** Rows of a page of the index at the most: 2 to 512. */
  readonly indexPageRows: number;
  /** More than this is not left unsynced, though nobody asked for a flush, bytes. */
  readonly maxUnsyncedBytes: number;
  /** The log goes to the disk in pieces of so many bytes as it grows, so that a sync finds little left to write. */
  readonly writeOutBytes: number;
  /** Writers wait while more than this is on its way to a device, bytes: it is slower than they are. */
  readonly maxWritingBytes: number;
  /** Garbage in sparse segments may be so large a part of what is live… */
  readonly garbageFraction: number;
  /** …and so many bytes more, before they are cleaned. */
  readonly garbageBytes: number;
  /** What the cleaner reads and writes on this node; several times as much when space is short. */
  readonly cleanBytesPerSecond: number;
  /** A scrub reads everything once in this time… */
  readonly scrubIntervalMs: number;
  /** …if so many bytes per second and node are enough for that. */
  readonly scrubBytesPerSecond: number;
  /** How often to look for something to clean, milliseconds. */
  readonly maintenanceIntervalMs: number;
}

export interface StoreEnvironment {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  /** Another one: the machine has been restarted since, and its page cache is gone. */
  readonly bootId: string;
  readonly devices: Devices;
  readonly throttle: Throttle;
  readonly pool: FilePool;
  readonly indexMemory: IndexMemory;
  readonly settings: StoreSettings;
}
