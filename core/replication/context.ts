/** What the parts of one replicated deployment share. */

import type { Durability, FailureMode, Membership, Placement } from '../domain.js';
import type { PeerMessage } from '../messages.js';
import type { Clock, DeploymentStore, MembershipStore, PeerLinks, Random } from '../ports.js';
import type { Batch, Lender } from '../record.js';
import type { DeploymentId, NodeId, VolumeId } from '../types.js';
import type { NodeLoad } from './node-load.js';
import type { ReplicationSettings } from './settings.js';
import type { SyncAdmission } from './sync-admission.js';

/** What the volume is meant to be: from etcd. */
export interface VolumeSpec {
  readonly replicas: number;
  readonly failureMode: FailureMode;
  readonly durability: Durability;
  readonly placements: readonly Placement[];
}

export type AttentionReason =
  | 'member-removed'
  | 'target-needed'
  | 'suspect-primary'
  | 'activated'
  | 'in-sync'
  | 'stepped-down'
  | 'store-failed'
  | 'read-only';

/** To the host. None of them changes anything durable by itself. */
export interface ReplicationEvents {
  /** Wakes the volume's workflow; `store-failed`: the host closes the store and opens it anew. */
  attention(reason: AttentionReason): void;
  log(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>): void;
}

export interface ReplicationCounters {
  writesAcknowledged: number;
  readsServed: number;
  flushesServed: number;
  blocksHealed: number;
  blocksUnhealed: number;
  /** Sent to a sync's target as lost, as no copy could read them. */
  blocksLost: number;
  membersRemoved: number;
  activations: number;
  syncsCompleted: number;
  backfilledBytes: number;
}

export interface Context {
  readonly self: Placement & { readonly volume: VolumeId };
  readonly store: DeploymentStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly links: PeerLinks;
  readonly memberships: MembershipStore;
  readonly settings: ReplicationSettings;
  readonly events: ReplicationEvents;
  readonly counters: ReplicationCounters;
  /** What users of this node notice of its syncs. */
  readonly nodeLoad: NodeLoad;
  /** Which syncs this node takes in. */
  readonly admission: SyncAdmission;
  /** Whether all payloads of a batch match their checksums. */
  readonly verify: (batch: Batch) => boolean;
  /** Where payloads that are read for a frontend may be put. */
  readonly lend: Lender;
  /** The same for those of syncs: what frontends can spare. */
  readonly lendSpare: Lender;
  readonly spec: VolumeSpec | undefined;
  /** The newest membership record seen. */
  readonly record: Membership | undefined;
  /** No more messages, timers or I/O: stopped, or the store has failed. */
  readonly halted: boolean;
  /** Where a deployment lives, if that was ever told. */
  nodeOf(deployment: DeploymentId): NodeId | undefined;
  send(to: DeploymentId, message: PeerMessage): void;
  /** The store or an invariant failed: nothing more is served. */
  fail(error: unknown): void;
  /** Runs `run` unless halted, and fails the deployment if it throws. */
  guard(run: () => void): void;
  /** Like `guard` for what goes on later. */
  background(promise: Promise<unknown>): void;
}

export function newCounters(): ReplicationCounters {
  return {
    writesAcknowledged: 0,
    readsServed: 0,
    flushesServed: 0,
    blocksHealed: 0,
    blocksUnhealed: 0,
    blocksLost: 0,
    membersRemoved: 0,
    activations: 0,
    syncsCompleted: 0,
    backfilledBytes: 0,
  };
}

export type ReplicationErrorCode =
  /** This deployment is not the primary, or ceased to be it. */
  | 'not-primary'
  /** The target did not answer in time, or its connection broke. */
  | 'target-lost'
  /** The target refused. */
  | 'target-refused'
  /** The target's node takes in as many syncs as it can: the same request may succeed later. */
  | 'target-busy'
  | 'cancelled'
  /** A block could not be read from any in-sync copy. */
  | 'bad-block'
  /** The asked change is against the volume's state, e.g. removing the primary. */
  | 'invalid-state'
  /** Another change is under way and does not end: the same request may succeed later. */
  | 'busy';

export class ReplicationError extends Error {
  readonly code: ReplicationErrorCode;
  constructor(code: ReplicationErrorCode, message: string) {
    super(message);
    this.name = 'ReplicationError';
    this.code = code;
  }
}
