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
  /** End of its last whole batch. */
  size = 0;
  /** Blocks whose current payload is in it. */
  liveBlocks = 0;
  liveBytes = 0;
  /** Last order's sequence of the stream's present part, 0 if it has none of it. */
  lastSequence = 0;
  #marks: Mark[] = [];

  constructor(device: Device, inode: number, number: number) {
    this.number = number;
    this.device = device;
    this.path = `${device.path}/${segmentName(inode, number)}`;
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
