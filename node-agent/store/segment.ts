/** One blob file of a deployment: what is known of it without reading it. */

import type { Device } from './devices.js';
import { segmentName } from './format.js';

/** Distance of the places in a segment from which a reader of the log may start, bytes. */
const MARK_BYTES = 1024 * 1024;

interface Mark {
  readonly sequence: number;
  readonly offset: number;
}

export class Segment {
  readonly number: number;
  readonly device: Device;
  readonly path: string;
  /** End of its last whole batch, which may be on its way to the page cache. */
  size = 0;
  /** Bytes before `size` that are not in the page cache yet. */
  pendingBytes = 0;
  /** Bytes of backfills in it that were not written out. */
  backfilledBytes = 0;
  /** The file system has room for the file up to here, if that is behind its end. */
  reservedEnd = 0;
  /**
   * Payloads in it that the index refers to, in pages or in memory. What a write has replaced in the pages is counted
   * until a checkpoint finds it.
   */
  liveBlocks = 0;
  liveBytes = 0;
  /** Of these, what the pages of the index refer to. */
  indexedBlocks = 0;
  indexedBytes = 0;
  /** Payloads in it that only snapshots refer to. */
  heldBlocks = 0;
  heldBytes = 0;
  /** Last order's sequence of the stream's present part, 0 if it has none of it. */
  lastSequence = 0;
  #marks: Mark[] = [];

  constructor(device: Device, inode: number, number: number) {
    this.number = number;
    this.device = device;
    this.path = `${device.path}/${segmentName(inode, number)}`;
  }

  /** Nothing refers to it any more. */
  get dead(): boolean {
    return this.liveBlocks === 0 && this.heldBlocks === 0;
  }

  /** What is before this offset can be read. */
  get written(): number {
    return this.size - this.pendingBytes;
  }

  /** A stream batch at `offset` that ends with `last`. */
  noteStream(offset: number, first: number, last: number): void {
    const mark = this.#marks.at(-1);
    if (mark === undefined || offset - mark.offset >= MARK_BYTES) this.#marks.push({ sequence: first, offset });
    this.lastSequence = last;
  }

  /** What it has of the stream so far does not belong to its present part. */
  forgetStream(): void {
    this.#marks = [];
    this.lastSequence = 0;
  }

  /** Where to start looking for `sequence`. */
  markBefore(sequence: number): number {
    let offset = 0;
    for (const mark of this.#marks) {
      if (mark.sequence > sequence) break;
      offset = mark.offset;
    }
    return offset;
  }
}
