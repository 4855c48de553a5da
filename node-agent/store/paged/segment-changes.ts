/** What a checkpoint changes about the payloads of segments. */

/** References to a segment's payloads that the tree has gained, or lost. */
export interface SegmentChange {
  blocks: number;
  bytes: number;
  /** Of what the tree has lost: what a snapshot still has. Negative: snapshots that had it have gone. */
  heldBlocks: number;
  heldBytes: number;
}

const UNCHANGED: Readonly<SegmentChange> = { blocks: 0, bytes: 0, heldBlocks: 0, heldBytes: 0 };

export class SegmentChanges {
  readonly #changes = new Map<number, SegmentChange>();

  get(segment: number): Readonly<SegmentChange> {
    return this.#changes.get(segment) ?? UNCHANGED;
  }

  [Symbol.iterator](): IterableIterator<[number, Readonly<SegmentChange>]> {
    return this.#changes.entries();
  }

  /** The tree refers to so many payloads more, or less. */
  refer(segment: number, blocks: number, bytes: number): void {
    const change = this.#of(segment);
    change.blocks += blocks;
    change.bytes += bytes;
  }

  /** Snapshots alone refer to so many payloads more, or less. */
  hold(segment: number, blocks: number, bytes: number): void {
    const change = this.#of(segment);
    change.heldBlocks += blocks;
    change.heldBytes += bytes;
  }

  #of(segment: number): SegmentChange {
    let change = this.#changes.get(segment);
    if (change === undefined) {
      change = { ...UNCHANGED };
      this.#changes.set(segment, change);
    }
    return change;
  }
}
