/** What the protocol cores take from outside, so that the simulator can drive them. */

import type { Membership, Placement } from './domain.js';
import type { FrontendMessage, PeerMessage, SessionMessage } from './messages.js';
import type { Batch, Lender } from './record.js';
import type {
  BlockNumber,
  DeploymentId,
  Epoch,
  Generation,
  HistoryEntry,
  Incarnation,
  NodeId,
  Order,
  Sequence,
  VolumeId,
} from './types.js';

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds; their origin means nothing. */
  now(): number;
  /** Wall time, for records that people read; never compared. RFC 3339. */
  timestamp(): string;
  after(delayMs: number, run: () => void): Timer;
}

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** A random UUID. */
  uuid(): string;
}

/* ---- disk ---- */

/** `locked`: another process holds the lock. */
export type DiskErrorCode = 'no-space' | 'io' | 'not-found' | 'exists' | 'locked';

/** An operation of the disk failed; `sync` errors are final for the file. */
export class DiskError extends Error {
  readonly code: DiskErrorCode;
  readonly path: string;
  constructor(code: DiskErrorCode, path: string, detail: string) {
    super(`${path}: ${detail}`);
    this.name = 'DiskError';
    this.code = code;
    this.path = path;
  }
}

export interface DiskFile {
  readonly path: string;
  /** Into the page cache, whole or with DiskError('no-space' | 'io') after which the range is undefined. */
  write(buffers: readonly Uint8Array[], position: number): void;
  /** Like `write`, without holding up the caller. The buffers must not change until it settles. */
  writeAsync(buffers: readonly Uint8Array[], position: number): Promise<void>;
  /** From the page cache if it is there; blocks otherwise. Returns the bytes read, fewer only at the end. */
  read(buffer: Uint8Array, position: number): number;
  readAsync(buffer: Uint8Array, position: number): Promise<number>;
  /**
   * Fills the whole buffer if memory has all of it, without waiting for the disk; false otherwise, and the buffer's
   * contents are undefined then.
   */
  readCached(buffer: Uint8Array, position: number): boolean;
  /**
   * Data and length are durable when it resolves. Rejects with DiskError('io'), whatever the reason, want of space too:
   * what could not be written may be gone from memory, and no later sync would tell of it.
   */
  sync(): Promise<void>;
  /**
   * Brings the range to the disk ahead of a sync, which then has less to wait for. Nothing is durable by that. `drop`:
   * nobody is expected to read it soon, and its memory may serve something else then. Rejects if something could not
   * be written: it is lost, as after a failed sync.
   */
  writeOut(position: number, length: number, drop: boolean): Promise<void>;
  /**
   * Takes room for this range from the file system, ahead of writes there: they will find it. What lies in the range
   * and the file's length stay as they are. False: the file system can't do that. Errors: DiskError 'no-space', 'io'.
   */
  reserve(position: number, length: number): Promise<boolean>;
  truncate(size: number): void;
  truncateAsync(size: number): Promise<void>;
  /** Known of an open file without asking the disk. */
  size(): number;
  /** Gives the file back, which nobody uses any more; resolves when that is done. Never rejects. */
  close(): Promise<void>;
}

export interface DiskSpace {
  /** The same for all directories on one file system. */
  readonly fileSystem: string;
  readonly totalBytes: number;
  /** Bytes that may still be written. */
  readonly freeBytes: number;
}

/**
 * A directory tree. Paths are relative to its root, with `/`. What does not return a promise may hold up the whole
 * process for as long as the disk does not answer.
 */
export interface Disk {
  /** Opens for reading and writing; `create` makes an absent file, else DiskError('not-found'). */
  open(path: string, options: { create: boolean }): DiskFile;
  openAsync(path: string, options: { create: boolean }): Promise<DiskFile>;
  list(directory: string): string[];
  listAsync(directory: string): Promise<string[]>;
  makeDirectory(path: string): void;
  makeDirectoryAsync(path: string): Promise<void>;
  rename(from: string, to: string): void;
  renameAsync(from: string, to: string): Promise<void>;
  unlink(path: string): void;
  unlinkAsync(path: string): Promise<void>;
  /** The directory must be empty. */
  removeDirectory(path: string): void;
  removeDirectoryAsync(path: string): Promise<void>;
  /** Creations, renames and removals in the directory are durable when it resolves. Rejects like `DiskFile.sync`. */
  syncDirectory(path: string): Promise<void>;
  /** The file system that holds the directory. */
  space(directory: string): DiskSpace;
  spaceAsync(directory: string): Promise<DiskSpace>;
  /** Excludes every other process from what the lock file stands for, until released or until this process ends. */
  lock(path: string): DiskLock;
}

export interface DiskLock {
  release(): void;
}

/* ---- a deployment's store, as replication sees it ---- */

/**
 * All blocks below `below` and not below the region before are there up to `upTo`: what the stream had of them then, or
 * something newer.
 */
export interface SyncedRegion {
  readonly below: BlockNumber;
  readonly upTo: Order;
}

/** What a deployment knows of itself, durably. */
export interface DeploymentState {
  readonly volume: VolumeId;
  readonly deployment: DeploymentId;
  /** Bytes of a block and number of blocks in the volume. */
  readonly blockSize: number;
  readonly blocks: number;
  /** The highest epoch that it has promised. */
  readonly promised: Epoch;
  readonly history: readonly HistoryEntry[];
  /** May have lost acknowledged writes. */
  readonly unclean: boolean;
  /** Set while a sync is incomplete: its target holds nothing reliable behind this order, but for `syncRegions`. */
  readonly syncBase: Order | null;
  /** What of an incomplete sync is there already, ascending by block; means nothing without a base. */
  readonly syncRegions: readonly SyncedRegion[];
  readonly etcdClusterId: string;
}

export type DeploymentStatePatch = Partial<
  Pick<DeploymentState, 'promised' | 'history' | 'unclean' | 'syncBase' | 'syncRegions' | 'etcdClusterId'>
>;

/** Entries of the stream, all given in one epoch, contiguous from `firstSequence`. */
export interface LogBatch {
  readonly epoch: Epoch;
  readonly firstSequence: Sequence;
  readonly batch: Batch;
}

export interface IndexedBlock {
  readonly block: BlockNumber;
  readonly order: Order;
  readonly kind: number;
  readonly flags: number;
  readonly storedLength: number;
  readonly checksumLow: number;
  readonly checksumHigh: number;
}

/** What the index has of a block; undefined: it was never written. */
export type Lookup = (block: BlockNumber) => IndexedBlock | undefined;

/** Blocks as stored, with their orders; a block never written comes as ZERO with ORDER_ZERO. */
export interface StoredBlocks {
  readonly orders: readonly Order[];
  readonly batch: Batch;
}

/** How far the reading of all that a copy stores is, which finds what has rotted before it is needed. */
export interface ScrubProgress {
  /** Of the present pass: stored bytes that were read, and about how many there are; what is overwritten meanwhile moves both. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Passes that have ended in the copy's life. */
  readonly passes: number;
  /** Wall time at which the last one ended, milliseconds since 1970; null: none has yet. */
  readonly endedMs: number | null;
}

/** The stored copy of these blocks does not match its checksum. */
export class BadBlockError extends Error {
  readonly blocks: readonly IndexedBlock[];
  constructor(deployment: string, blocks: readonly IndexedBlock[]) {
    super(`deployment ${deployment}: bad checksum in ${blocks.length} block(s), the first is ${blocks[0]?.block}`);
    this.name = 'BadBlockError';
    this.blocks = blocks;
  }
}

/**
 * One copy of a volume on a disk. The implementation is node-agent/store; it runs on a `Disk`.
 * Errors: DiskError('no-space') leaves the store usable; after any other DiskError, and after any failed
 * flush, it is `failed` and every call throws.
 */
export interface DeploymentStore {
  readonly state: DeploymentState;
  readonly incarnation: Incarnation;
  /** Last order of the stream in the log, dead or live; a position record counts. */
  readonly last: Order;
  /** The highest attachment generation in the log. */
  readonly generation: Generation;
  /** Everything up to here is durable. */
  readonly durable: Sequence;
  readonly usedBytes: number;
  /** Blocks whose stored bytes are known to be damaged; a count for people, bounded. */
  readonly badBlocks: number;
  readonly scrubProgress: ScrubProgress;
  /**
   * Milliseconds that a write with payload should wait before its append: more than 0 while space is short and some is
   * being freed. Whoever does not wait harms nothing but meets the end of the space sooner.
   */
  readonly appendDelayMs: number;
  /** Durable when it resolves; patches are applied in the order of the calls. The caller never lowers `promised`. */
  update(patch: DeploymentStatePatch): Promise<void>;
  /**
   * Whether an append or a backfill of so many entries and bytes of payload finds room at once, as it always does
   * unless the disk is nearly full. Otherwise it throws DiskError('no-space'), and nothing has changed.
   */
  hasRoom(entries: number, payloadBytes: number): boolean;
  /** Makes that room, which others may take before; rejects with DiskError('no-space') if there is none. */
  makeRoom(entries: number, payloadBytes: number): Promise<void>;
  /**
   * Appends to the stream. The batch has its place in log and index on return, and is on its way to the page cache:
   * payload that is not leased must not change before `written`.
   */
  append(batch: LogBatch): void;
  /** Records that the stream goes on behind `position` (a target's sync begins). */
  position(position: Order): void;
  /** Blocks outside the stream, each with its own order; the caller has compared orders. ORDER_ZERO forgets the block. */
  backfill(blocks: StoredBlocks): void;
  /** Everything appended before the call is in the page cache when it resolves: the end of this process loses none of it. */
  written(): Promise<void>;
  /** Everything appended before the call is durable when it resolves. Calls coalesce. */
  flush(): Promise<void>;
  /**
   * Brings what the index has of these blocks into memory and calls `act` once: what `lookup` answers there for
   * them is true until `act` returns, so that comparing and appending are one step.
   */
  look<T>(blocks: readonly BlockNumber[], act: (lookup: Lookup) => T): Promise<T>;
  /**
   * Reads a range as stored. Verifies checksums: BadBlockError. The payload is put in memory from `lend`, if it gives
   * any: then the batch has its lease, which is the caller's to release.
   */
  read(first: BlockNumber, blocks: number, lend?: Lender): Promise<StoredBlocks>;
  /**
   * What `read` would resolve to if memory has all of it, index and payload; undefined otherwise, with nothing begun.
   * Throws what `read` would reject with.
   */
  readCached(first: BlockNumber, blocks: number, lend?: Lender): StoredBlocks | undefined;
  /** Like `read` for scattered blocks, at most MAX_BATCH_ENTRIES. */
  readBlocks(blocks: readonly BlockNumber[], lend?: Lender): Promise<StoredBlocks>;
  /**
   * Live stream entries from `from` on, in order, up to `maxBytes` of payload (at least one batch);
   * empty at the end; undefined if the log no longer holds them.
   */
  readLog(from: Sequence, maxBytes: number): Promise<LogBatch[] | undefined>;
  /** Ascending block numbers ≥ `from` whose order's sequence is > `after`; at most `limit`. */
  newerThan(after: Sequence, from: BlockNumber, limit: number): Promise<BlockNumber[]>;
  /** Ascending block numbers ≥ `from` whose order is dead under `history`; at most `limit`. */
  deadBlocks(history: readonly HistoryEntry[], from: BlockNumber, limit: number): Promise<BlockNumber[]>;
  /** Clean shutdown: flushed, checkpointed, marked clean. */
  close(): Promise<void>;
}

/* ---- network ---- */

/**
 * Messages to other deployments. Delivered in order while the connection between the two nodes lasts, at
 * most once, perhaps never. The receiving side calls the deployment's `onMessage`; changes of the
 * connection are told by `onPeerUp(node)` and `onPeerDown(node)`.
 */
export interface PeerLinks {
  send(to: { readonly deployment: DeploymentId; readonly node: NodeId }, message: PeerMessage): void;
  isUp(node: NodeId): boolean;
  /** Of the protocol that both nodes speak; 0 while there is no connection. */
  version(node: NodeId): number;
}

/** The primary's end of a frontend's session. */
export interface SessionLink {
  send(message: SessionMessage): void;
  /** Whether the frontend has gone. */
  readonly closed: boolean;
}

/** The frontend's end of a session. Messages arrive in order, at most once, until `closed` is called. */
export interface SessionChannel {
  send(message: FrontendMessage): void;
  close(): void;
}

export interface SessionEvents {
  message(message: SessionMessage): void;
  /** The connection is gone or could not be made; nothing follows. */
  closed(reason: string): void;
}

/** Connects frontends to the node that holds the primary; in-process when that is this node. */
export interface SessionConnector {
  connect(target: { readonly volume: VolumeId } & Placement, events: SessionEvents): SessionChannel;
}

/* ---- membership in etcd ---- */

/**
 * `applied`: `next` is the record. `conflict`: the record was not `expected`; the swap did and will not happen.
 * `unknown`: it may have happened, or may still.
 */
export type SwapOutcome = 'applied' | 'conflict' | 'unknown';

export interface MembershipStore {
  swap(expected: Membership, next: Membership): Promise<SwapOutcome>;
  /** Undefined: no such record. Rejects if etcd does not answer. */
  read(volume: VolumeId): Promise<Membership | undefined>;
}

/** Invariants that stay on in production: a violation stops the deployment before it can do harm. */
export class InvariantError extends Error {
  constructor(invariant: string, detail: string) {
    super(`${invariant} violated: ${detail}`);
    this.name = 'InvariantError';
  }
}

export function invariant(holds: boolean, name: string, detail: () => string): asserts holds {
  if (!holds) throw new InvariantError(name, detail());
}
