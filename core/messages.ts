/**
 * What deployments of a volume say to each other, and what a frontend says to its primary.
 * `node-agent/replication/wire.ts` gives each its bytes; the simulator passes the objects themselves.
 *
 * Every message between deployments carries the sender's current epoch as its authority; entries carry
 * their own order as their identity (design/replication.md).
 */

import type { IndexedBlock, ScrubProgress, SyncedRegion } from './ports.js';
import type { Batch } from './record.js';
import type { EtcdBehind } from './replication/etcd-gap.js';
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
  SessionNumber,
  VolumeId,
} from './types.js';

/**
 * The version of the protocol that first had lost blocks in backfill (`KIND_LOST`) and `mend` with its answer: nothing
 * of that is said to a peer of an older one.
 */
export const VERSION_WITH_MENDING = 2;

/** The version that first had `sync-mark` with its answer, and the refusal `busy`. */
export const VERSION_WITH_MARKS = 3;

/* ---- primary → member or sync target ---- */

/** Asks to make `epoch` and `history` durable and to refuse everything older from then on. */
export interface PromiseEpoch {
  readonly type: 'promise';
  readonly epoch: Epoch;
  readonly history: readonly HistoryEntry[];
  readonly primaryIncarnation: Incarnation;
  readonly etcdClusterId: string;
}

/** Entries of the stream, contiguous: the first has `firstSequence`, all were given in `orderEpoch`. */
export interface Append {
  readonly type: 'append';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly orderEpoch: Epoch;
  readonly firstSequence: Sequence;
  readonly batch: Batch;
  /** Make it durable before answering (FUA, writethrough). */
  readonly durable: boolean;
}

/** Asks that everything up to the sender's last append be durable. */
export interface Flush {
  readonly type: 'flush';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly flush: number;
}

/** Asks for a promise to serve nobody else for the lease time. `lease` numbers the request for its sender. */
export interface Lease {
  readonly type: 'lease';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly lease: number;
}

/** Begins a delta sync: live writes follow from `streamAfter` on. */
export interface SyncBegin {
  readonly type: 'sync-begin';
  readonly epoch: Epoch;
  readonly history: readonly HistoryEntry[];
  readonly primaryIncarnation: Incarnation;
  readonly etcdClusterId: string;
  readonly sync: number;
  /** The primary's last order: the target's stream goes on behind it. */
  readonly streamAfter: Order;
  readonly generation: Generation;
}

/** Asks for more of the target's blocks with dead orders, from `from` on. */
export interface SyncDead {
  readonly type: 'sync-dead';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly sync: number;
  readonly from: BlockNumber;
}

/** Blocks as the primary has them; `orders[i]` is entry i's order, ORDER_ZERO for a block never written. */
export interface Backfill {
  readonly type: 'backfill';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly sync: number;
  readonly number: number;
  readonly orders: readonly Order[];
  readonly batch: Batch;
}

/**
 * All blocks below `below` were sent, and the target has every live write that came in their place: what is there of
 * them is to be made durable and remembered, so that the next sync need not send it again.
 */
export interface SyncMark {
  readonly type: 'sync-mark';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly sync: number;
  readonly below: BlockNumber;
}

/** All is copied up to `last`: flush, then forget the sync base and the unclean mark. */
export interface SyncFinish {
  readonly type: 'sync-finish';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly sync: number;
  readonly last: Order;
}

/** Asks for blocks as stored, to mend or compare. Answered in any role, by whoever accepts the epoch. */
export interface Fetch {
  readonly type: 'fetch';
  readonly epoch: Epoch;
  readonly request: number;
  readonly blocks: readonly BlockNumber[];
}

/** What a primary asks of another copy: answered or refused. */
export type PrimaryRequest =
  | PromiseEpoch
  | Append
  | Flush
  | Lease
  | SyncBegin
  | SyncDead
  | Backfill
  | SyncMark
  | SyncFinish
  | Fetch;

/** Their types, in the order of their codes on the wire: only ever appended to. */
export const PRIMARY_REQUESTS = [
  'promise',
  'append',
  'flush',
  'lease',
  'sync-begin',
  'sync-dead',
  'backfill',
  'sync-finish',
  'fetch',
  'sync-mark',
] as const satisfies readonly PrimaryRequest['type'][];

/** The blocks of a `mend` that the primary has intact, with the asked orders and checksums; perhaps none. */
export interface Mended {
  readonly type: 'mended';
  readonly epoch: Epoch;
  /** Of the copy that asked. */
  readonly incarnation: Incarnation;
  readonly request: number;
  readonly orders: readonly Order[];
  readonly batch: Batch;
}

export type PrimaryMessage = PrimaryRequest | Mended;

/* ---- member or target → primary ---- */

export interface Promised {
  readonly type: 'promised';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  /** Last order of the stream in the log. */
  readonly last: Order;
  readonly generation: Generation;
  readonly unclean: boolean;
}

export interface Appended {
  readonly type: 'appended';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly last: Sequence;
  /** Everything up to here is on the disk. */
  readonly durable: Sequence;
}

export interface Flushed {
  readonly type: 'flushed';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly flush: number;
  readonly durable: Sequence;
}

export interface Leased {
  readonly type: 'leased';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly lease: number;
}

export interface SyncReady {
  readonly type: 'sync-ready';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly sync: number;
  /** The last live order before the gap: everything newer is to be sent. */
  readonly base: Order;
  readonly dead: readonly BlockNumber[];
  /** Where to ask on, if there are more blocks with dead orders. */
  readonly nextDead?: BlockNumber;
}

export interface SyncDeadBlocks {
  readonly type: 'sync-dead-blocks';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly sync: number;
  readonly dead: readonly BlockNumber[];
  readonly nextDead?: BlockNumber;
}

export interface Backfilled {
  readonly type: 'backfilled';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly sync: number;
  readonly number: number;
}

/** What the target holds durably of regions of the volume: before `sync-ready`, and after every mark. */
export interface SyncMarked {
  readonly type: 'sync-marked';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly sync: number;
  readonly regions: readonly SyncedRegion[];
}

export interface SyncFinished {
  readonly type: 'sync-finished';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly sync: number;
}

export interface Fetched {
  readonly type: 'fetched';
  readonly epoch: Epoch;
  readonly request: number;
  readonly orders: readonly Order[];
  readonly batch: Batch;
}

/** In the order of their codes on the wire: only ever appended to. */
export const REFUSAL_REASONS = [
  /** A higher epoch was promised; `epoch` of the refusal says which. */
  'stale-epoch',
  /** Meant for an earlier life of this deployment. */
  'wrong-incarnation',
  /** The store may have lost acknowledged writes: it must be synced before it is a member. */
  'unclean',
  /** Entries are missing before these, or their orders go backwards; `last` says what is there. */
  'gap',
  'no-space',
  'store-failed',
  /** No such sync is under way. */
  'no-sync',
  /** Another etcd cluster, or an epoch that etcd does not know: `storageos recover`. */
  'wrong-cluster',
  /** This node has no such deployment. */
  'no-deployment',
  /** A payload does not match its checksum: damaged on the way, or where it was read. */
  'bad-checksum',
  /** Of an epoch that this deployment was not asked to promise. */
  'not-promised',
  /** As many syncs copy to this node as it takes at a time. */
  'busy',
] as const;

export type RefusalReason = (typeof REFUSAL_REASONS)[number];

export interface Refused {
  readonly type: 'refused';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly of: PrimaryRequest['type'];
  readonly reason: RefusalReason;
  readonly last: Order;
}

/** What tells a stored block from every other one. */
export type BlockIdentity = Pick<IndexedBlock, 'block' | 'order' | 'checksumLow' | 'checksumHigh'>;

/** Asks the primary for blocks whose stored bytes have gone bad here; at most MAX_MEND_BLOCKS. */
export interface Mend {
  readonly type: 'mend';
  readonly epoch: Epoch;
  readonly incarnation: Incarnation;
  readonly request: number;
  readonly blocks: readonly BlockIdentity[];
}

export const MAX_MEND_BLOCKS = 256;

export type MemberMessage =
  | Promised
  | Appended
  | Flushed
  | Leased
  | SyncReady
  | SyncDeadBlocks
  | Backfilled
  | SyncMarked
  | SyncFinished
  | Fetched
  | Refused
  | Mend;

export type PeerMessage = PrimaryMessage | MemberMessage;

/** A message between two deployments of a volume. */
export interface PeerEnvelope {
  readonly volume: VolumeId;
  readonly from: DeploymentId;
  readonly fromNode: NodeId;
  readonly to: DeploymentId;
  readonly message: PeerMessage;
}

/* ---- frontend → primary ---- */

export interface OpenSession {
  readonly type: 'open';
  readonly session: SessionNumber;
  readonly generation: Generation;
}

/** Writes the batch's blocks, in order. DATA and ZERO entries only. */
export interface WriteRequest {
  readonly type: 'write';
  readonly session: SessionNumber;
  readonly request: number;
  readonly fua: boolean;
  readonly batch: Batch;
}

export interface ReadRequest {
  readonly type: 'read';
  readonly session: SessionNumber;
  readonly request: number;
  readonly block: BlockNumber;
  readonly blocks: number;
}

export interface FlushRequest {
  readonly type: 'sync';
  readonly session: SessionNumber;
  readonly request: number;
}

export type FrontendMessage = OpenSession | WriteRequest | ReadRequest | FlushRequest;

/* ---- primary → frontend ---- */

export interface Opened {
  readonly type: 'opened';
  readonly session: SessionNumber;
  readonly epoch: Epoch;
  /** Another value than in the session before: acknowledged, unflushed writes were lost. */
  readonly lossVerifier: number;
}

export type RejectReason =
  /** This node does not hold the primary; `primary` says who does, if it is known. Look again, then retry. */
  | 'not-primary'
  /** A higher attachment generation is known: this frontend is fenced, for good. */
  | 'fenced'
  /** A newer session of the same frontend is open. */
  | 'stale-session';

/** Ends the session, or refuses to open one. Nothing that was unanswered in it will be. */
export interface Rejected {
  readonly type: 'rejected';
  readonly session: SessionNumber;
  readonly reason: RejectReason;
  readonly primary?: NodeId;
}

export type IoStatus =
  | 'ok'
  /** The last copy's disk is full. */
  | 'no-space'
  /** The volume's failure mode made it read-only. */
  | 'read-only'
  /** No good copy of a block; a written payload that does not match its checksum. */
  | 'io-error'
  | 'invalid';

export interface WriteReply {
  readonly type: 'written';
  readonly request: number;
  readonly status: IoStatus;
}

/** Covers the requested range exactly, in order of blocks; ranges never written come as ZERO entries. */
export interface ReadReply {
  readonly type: 'data';
  readonly request: number;
  readonly status: IoStatus;
  readonly batch: Batch;
}

export interface FlushReply {
  readonly type: 'synced';
  readonly request: number;
  readonly status: IoStatus;
}

export type SessionMessage = Opened | Rejected | WriteReply | ReadReply | FlushReply;

/* ---- anybody → deployment: the questions of a controller ---- */

/** Answered from memory, in any role; changes nothing. */
export interface DeploymentStatus {
  readonly deployment: DeploymentId;
  readonly incarnation: Incarnation;
  readonly promised: Epoch;
  readonly last: Order;
  readonly unclean: boolean;
  readonly generation: Generation;
  readonly role: 'member' | 'opening' | 'primary';
  /** For the primary: whether I/O is served at this moment. */
  readonly serving: boolean;
  readonly etcdClusterId: string;
  readonly usedBytes: number;
  /** Blocks of this copy that are known to be damaged and are not mended yet. */
  readonly badBlocks: number;
  /** Absent: an older agent, which does not tell. */
  readonly scrub?: ScrubProgress;
  readonly sync?: SyncProgress;
  /** This copy is ahead of etcd: nobody is promoted, nor the membership changed, until `storageos recover`. */
  readonly etcdBehind?: EtcdBehind;
}

export interface SyncProgress {
  readonly target: DeploymentId;
  /** `delta` from a base, or `full` from order 0. */
  readonly kind: 'delta' | 'full';
  /** 0 until they are counted, which takes seconds in large volumes. */
  readonly blocksTotal: number;
  readonly blocksDone: number;
  readonly bytesCopied: number;
  /** Lately. */
  readonly blocksPerSecond: number;
  readonly bytesPerSecond: number;
  readonly startedAtMs: number;
}
