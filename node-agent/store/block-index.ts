/** Where each block of a deployment is: the interface that recovery, checkpoints, reads and syncs are written to. */

/** What the index knows of a block. Mutable, so that lookups on the data path allocate nothing. */
export interface IndexRecord {
  epoch: number;
  sequence: number;
  /** Segment number and byte offset of the payload there; 0 unless DATA. */
  segment: number;
  offset: number;
  kind: number;
  flags: number;
  storedLength: number;
  checksumLow: number;
  checksumHigh: number;
}

export function emptyRecord(): IndexRecord {
  return {
    epoch: 0,
    sequence: 0,
    segment: 0,
    offset: 0,
    kind: 0,
    flags: 0,
    storedLength: 0,
    checksumLow: 0,
    checksumHigh: 0,
  };
}

export interface BlockIndex {
  /** Blocks that it knows. */
  readonly size: number;
  /** False: the block was never written; `into` is unchanged then. */
  get(block: number, into: IndexRecord): boolean;
  /** Returns whether the block was known; what was known is in `previous` then. */
  replace(block: number, record: IndexRecord, previous: IndexRecord): boolean;
  remove(block: number, previous: IndexRecord): boolean;
  /** The first known block ≥ `from`, or -1. */
  next(from: number): number;
  /** Ascending, ≥ `from`, at most `limit`: blocks whose sequence is > `after` and that `matches` accepts. */
  select(after: number, from: number, limit: number, matches?: (epoch: number, sequence: number) => boolean): number[];
}
