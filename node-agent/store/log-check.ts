/**
 * Reads the log behind the last checkpoint as the next opening will: headers, tables and payloads. Blocks that are read
 * do not show that a header has rotted; an opening that replays it would be the first to know, and there would be
 * nothing left to replay from. While the store is open its memory has all of it, and a checkpoint makes it durable anew.
 */

import { DiskError } from '../../core/ports.js';
import type { BlockChecksums } from '../codec/index.js';
import { badEntries } from './block-reader.js';
import type { LogPlace } from './checkpoint.js';
import { type Damage, unreadBy } from './errors.js';
import type { FilePool } from './file-pool.js';
import type { StoreIdentity } from './format.js';
import { SegmentScanner } from './log-scanner.js';
import type { Segment } from './segment.js';
import type { SegmentLog } from './segment-log.js';

/** Read in one step, and what is left of the last batch. */
const STEP_BYTES = 1024 * 1024;

export interface LogCheckOptions {
  readonly identity: StoreIdentity;
  readonly checksums: BlockChecksums;
  readonly log: SegmentLog;
  readonly pool: FilePool;
  /** Where the log begins that an opening would replay. */
  readonly start: () => LogPlace;
}

export interface LogCheckStep {
  readonly bytes: number;
  /** There is no more to read, or no reason to. */
  readonly ended: boolean;
  readonly damage?: Damage;
}

export class LogCheck {
  readonly #options: LogCheckOptions;
  /** What was read so far, and to be read; undefined between two checks. */
  #range: { at: LogPlace; readonly until: LogPlace } | undefined;

  constructor(options: LogCheckOptions) {
    this.#options = options;
  }

  /** What a check would read that began now. */
  get bytes(): number {
    const { log, start } = this.#options;
    const { segment: first, offset } = start();
    let bytes = 0;
    for (const { number, written } of log.segments.values()) {
      if (number >= first) bytes += Math.max(0, number === first ? written - offset : written);
    }
    return bytes;
  }

  /**
   * Reads on, to where the log ended when the check began: a writer may be faster. The step behind the last one begins
   * anew. Never rejects with a DiskError.
   */
  async step(): Promise<LogCheckStep> {
    const { log, start } = this.#options;
    this.#range ??= { at: start(), until: log.end };
    const range = this.#range;
    if (isBefore(range.at, start())) range.at = start();
    const segment = nextSegment(log, range.at);
    if (segment === undefined || !isBefore(range.at, range.until)) return this.#end({ bytes: 0, ended: true });
    const from = segment.number === range.at.segment ? range.at.offset : 0;
    const { end, what } = await this.#read(segment, from, segment.written);
    const bytes = end - from;
    range.at = { segment: segment.number, offset: end };
    // If a checkpoint was made meanwhile that is behind this place, nobody needs it, and it may be gone.
    if (what === undefined || isBefore(range.at, start())) return { bytes, ended: false };
    return this.#end({ bytes, ended: true, damage: { path: segment.path, offset: end, ...what } });
  }

  #end(last: LogCheckStep): LogCheckStep {
    this.#range = undefined;
    return last;
  }

  /** Up to the end of the segment or of the step; says where, and what is wrong there. */
  async #read(
    segment: Segment,
    from: number,
    size: number,
  ): Promise<{ readonly end: number; readonly what?: Pick<Damage, 'what' | 'unread'> }> {
    const { identity, checksums, pool } = this.#options;
    let end = from;
    try {
      const pooled = await pool.acquireAsync(segment.path);
      try {
        const scanner = new SegmentScanner(pooled.file, identity, segment.number, size);
        while (end < size && end - from < STEP_BYTES) {
          const found = await scanner.batch(end);
          if (!('header' in found)) return { end, what: { what: found.what } };
          const { batch } = found;
          if (batch.payload.length > 0 && badEntries(checksums, batch).length > 0) {
            return { end, what: { what: 'payload checksum' } };
          }
          end = found.end;
        }
        return { end };
      } finally {
        pool.release(pooled);
      }
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      return { end, what: { what: error.message, ...unreadBy(error) } };
    }
  }
}

function isBefore(a: LogPlace, b: LogPlace): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}

/** The segment that has something to read at the place or behind it. */
function nextSegment(log: SegmentLog, { segment, offset }: LogPlace): Segment | undefined {
  for (const candidate of log.segments.values()) {
    const from = candidate.number === segment ? offset : 0;
    if (candidate.number >= segment && candidate.written > from) return candidate;
  }
  return undefined;
}
