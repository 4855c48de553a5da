/** Times and bounds of the replication protocol. All times in milliseconds of the monotonic clock. */
export interface ReplicationSettings {
  /** How long a member's lease binds it, by its own clock from the receipt of the request. */
  readonly leaseMs: number;
  /** By how much the primary counts a lease shorter, for the difference in rate of the two clocks. */
  readonly leaseMarginMs: number;
  /** How often a lease is asked for; several must fit into `leaseMs`. */
  readonly leaseRenewMs: number;
  /** A member that owes an answer to an append, a greeting or a lease for so long has failed. */
  readonly memberTimeoutMs: number;
  /** A member whose space is short answers an append so much later at the most, well below `memberTimeoutMs`. */
  readonly maxAppendDelayMs: number;
  /** A member that owes the answer to a flush for so long has failed. */
  readonly flushTimeoutMs: number;
  /** A member whose connection is gone for so long has failed: time for a blip, or for a quick restart. */
  readonly memberGraceMs: number;
  /** How long a new primary waits for answers of members before it goes on without them. */
  readonly openTimeoutMs: number;
  /** How long a volume goes on with fewer copies than its failure mode needs before it becomes read-only. */
  readonly shortfallMs: number;
  /** Pause before the same swap of unknown outcome is tried again. */
  readonly swapRetryMs: number;
  /** An unanswered greeting is sent again after so long. */
  readonly greetRetryMs: number;
  /** Grain of all these times at a primary. */
  readonly tickMs: number;
  /** While the primary's connection is down, how often a member asks for a look at it. */
  readonly suspectRepeatMs: number;
  /** Ordered writes that are not committed yet: bytes of payload and count. More wait in the queue. */
  readonly maxInFlightBytes: number;
  readonly maxInFlightWrites: number;
  /**
   * Entries and payload that one copy has been sent and has not confirmed, in bytes: no more is sent, but a batch or
   * a piece of the log that has begun below it. All volumes share one connection between two nodes, whose queue is
   * bounded too (node-agent/replication/settings.ts, `maxQueueBytes`): it holds 32 volumes that stand still.
   */
  readonly maxUnconfirmedBytes: number;
  /** Writes waiting for their order; a frontend that sends more gets `invalid`: it ignores its own window. */
  readonly maxQueuedWrites: number;
  readonly maxQueuedBytes: number;
  /** Reads and flushes that wait at the same time. */
  readonly maxWaitingReads: number;
  readonly maxWaitingFlushes: number;
  /** Payload of one piece of a log's tail that is sent to a member. */
  readonly catchUpBytes: number;
  /** Blocks of one backfill message at the most; no more than fit into a batch. */
  readonly backfillBlocks: number;
  /** Pieces of the volume that one sync copies at the same time; of each, one message is without an answer. */
  readonly syncParallel: number;
  /** So much of its copying an interrupted sync does again at the most, and what it did while the last mark was made. */
  readonly syncMarkMs: number;
  /** Block numbers with dead orders in one message. */
  readonly deadBlocksPerMessage: number;
  /** The syncs of one volume copy no faster, bytes per second; 0: no limit. */
  readonly syncBytesPerSecond: number;
  /**
   * However much users notice of it, the syncs of one volume may copy so many bytes per second: a GiB in a quarter of
   * an hour, so that every sync ends.
   */
  readonly syncFloorBytesPerSecond: number;
  /** A sync's messages must be answered within. */
  readonly syncTimeoutMs: number;
  /**
   * Writers wait for a target that has not confirmed so much of the live stream, in bytes as they see them: below what
   * the log holds behind a checkpoint (`reclaimBytes` of the store).
   */
  readonly maxTargetLagBytes: number;
  /** How long ordering may stop at the end of a sync before it is given up for this time. */
  readonly drainTimeoutMs: number;
  /** How long the removal of a copy that was given up may take before its caller is told to come again. */
  readonly removalTimeoutMs: number;
  /** How often a block is read anew after it was mended, before the reader gets an error. */
  readonly healAttempts: number;
  /** Another copy must send a good block within. */
  readonly fetchTimeoutMs: number;
  /** A member asks its primary for blocks that have gone bad no more often. */
  readonly mendIntervalMs: number;
  /** A primary that mends others has to ask around for what it has not got itself; after this it is asked again. */
  readonly mendTimeoutMs: number;
  /** Bad blocks that one copy remembers until they are mended. */
  readonly maxDamagedBlocks: number;
  /** For so long etcd's watch may show less than this copy has promised: longer, and etcd is an older one. */
  readonly etcdBehindMs: number;
}

export const DEFAULT_SETTINGS: ReplicationSettings = {
  leaseMs: 2_000,
  leaseMarginMs: 100,
  leaseRenewMs: 500,
  memberTimeoutMs: 5_000,
  maxAppendDelayMs: 2_000,
  flushTimeoutMs: 20_000,
  memberGraceMs: 500,
  openTimeoutMs: 1_500,
  shortfallMs: 90_000,
  swapRetryMs: 200,
  greetRetryMs: 250,
  tickMs: 100,
  suspectRepeatMs: 1_000,
  maxInFlightBytes: 32 << 20,
  maxInFlightWrites: 4_096,
  maxUnconfirmedBytes: 4 << 20,
  maxQueuedWrites: 16_384,
  maxQueuedBytes: 256 << 20,
  maxWaitingReads: 4_096,
  maxWaitingFlushes: 1_024,
  catchUpBytes: 4 << 20,
  backfillBlocks: 512,
  syncParallel: 8,
  syncMarkMs: 5_000,
  deadBlocksPerMessage: 4_096,
  syncBytesPerSecond: 0,
  syncFloorBytesPerSecond: 1 << 20,
  syncTimeoutMs: 15_000,
  maxTargetLagBytes: 64 << 20,
  drainTimeoutMs: 2_000,
  removalTimeoutMs: 5_000,
  healAttempts: 3,
  fetchTimeoutMs: 2_000,
  mendIntervalMs: 1_000,
  mendTimeoutMs: 15_000,
  maxDamagedBlocks: 4_096,
  etcdBehindMs: 5_000,
};
