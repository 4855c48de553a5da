/**
 * The changes that a membership record may go through. Each function returns the next record, to be put in
 * place of exactly the record that it was given (MembershipStore.swap), with the epoch one higher.
 *
 * | change         | by                    | history entry                                     |
 * |----------------|-----------------------|---------------------------------------------------|
 * | nameCandidate  | the volume's workflow | no: an epoch that is never activated changes nothing |
 * | activate       | the named candidate   | yes, with the real end of its log                 |
 * | removeMembers, releaseMember, addMember, setReadOnly | the primary | no: its log goes on [3] |
 */

import type { Membership, OutOfSync, Placement } from './domain.js';
import { invariant } from './ports.js';
import type { DeploymentId, Epoch, Incarnation, Sequence, VolumeId } from './types.js';

/** Lost copies that a record remembers, the newest. */
export const MAX_OUT_OF_SYNC = 16;

const nextEpoch = (record: Membership): Epoch => (record.epoch + 1) as Epoch;

function withOutOfSync(present: readonly OutOfSync[], added: readonly OutOfSync[]): OutOfSync[] {
  const fresh = new Set(added.map((entry) => entry.deployment));
  return [...present.filter((entry) => !fresh.has(entry.deployment)), ...added].slice(-MAX_OUT_OF_SYNC);
}

/**
 * The first record of a volume whose copies have just been created, all empty. It is not active: the primary
 * opens like after any promotion, and who does not answer then is not in sync.
 */
export function initialMembership(options: {
  volume: VolumeId;
  primary: Placement & { readonly incarnation: Incarnation };
  /** All copies that exist; contains the primary's. */
  inSync: readonly DeploymentId[];
  etcdClusterId: string;
}): Membership {
  invariant(options.inSync.includes(options.primary.deployment), 'I4', () => 'the first primary is not in sync');
  return {
    volume: options.volume,
    epoch: 1 as Epoch,
    primary: {
      deployment: options.primary.deployment,
      node: options.primary.node,
      incarnation: options.primary.incarnation,
    },
    inSync: [...options.inSync],
    outOfSync: [],
    history: [],
    active: false,
    lossVerifier: 1,
    etcdClusterId: options.etcdClusterId,
    readOnly: false,
  };
}

/** Transaction 1 of a promotion: names candidate and incarnation; nobody leaves [1], [2]. */
export function nameCandidate(
  record: Membership,
  candidate: Placement & { readonly incarnation: Incarnation },
): Membership {
  invariant(record.inSync.includes(candidate.deployment), 'I2', () => `${candidate.deployment} is not in sync`);
  return {
    ...record,
    epoch: nextEpoch(record),
    primary: { deployment: candidate.deployment, node: candidate.node, incarnation: candidate.incarnation },
    active: false,
  };
}

/**
 * Transaction 2 of a promotion: where the log of the new primary really ends, and who confirmed exactly
 * this end in this epoch; everybody else leaves here [1], [17].
 */
export function activate(
  record: Membership,
  options: {
    /** The last sequence in the new primary's log. */
    startsAfter: Sequence;
    /** The members that confirmed, the primary among them. */
    confirmed: ReadonlySet<DeploymentId>;
    /** The primary may have lost acknowledged writes [11]. */
    lossy: boolean;
    /** Why a member leaves. */
    reason: (deployment: DeploymentId) => string;
    timestamp: string;
  },
): Membership {
  invariant(!record.active, 'I2', () => `epoch ${record.epoch} is active already`);
  const stays = record.inSync.filter((member) => options.confirmed.has(member));
  invariant(stays.includes(record.primary.deployment), 'I4', () => 'the new primary would not be in sync');
  const epoch = nextEpoch(record);
  const leaves = record.inSync.filter((member) => !options.confirmed.has(member));
  return {
    ...record,
    epoch,
    inSync: stays,
    outOfSync: withOutOfSync(
      record.outOfSync,
      leaves.map((deployment) => ({
        deployment,
        reason: options.reason(deployment),
        since: options.timestamp,
      })),
    ),
    history: [...record.history, { epoch, startsAfter: options.startsAfter }],
    active: true,
    lossVerifier: options.lossy ? record.lossVerifier + 1 : record.lossVerifier,
  };
}

/** Takes members out; never the primary, so never the last one [I4]. */
export function removeMembers(record: Membership, left: readonly OutOfSync[]): Membership {
  const gone = new Set(left.map((entry) => entry.deployment));
  invariant(!gone.has(record.primary.deployment), 'I4', () => 'a primary does not remove itself');
  return {
    ...record,
    epoch: nextEpoch(record),
    inSync: record.inSync.filter((member) => !gone.has(member)),
    outOfSync: withOutOfSync(record.outOfSync, left),
  };
}

/**
 * Takes out a copy that was given up: surplus, or on a node that is emptied. That is no loss, so nothing is
 * remembered of it. With `complete`, those that stay are all that the volume wants: what was lost before is no
 * longer missed.
 */
export function releaseMember(record: Membership, deployment: DeploymentId, complete: boolean): Membership {
  invariant(deployment !== record.primary.deployment, 'I4', () => 'a primary does not remove itself');
  return {
    ...record,
    epoch: nextEpoch(record),
    inSync: record.inSync.filter((member) => member !== deployment),
    outOfSync: complete ? [] : record.outOfSync,
  };
}

/**
 * Takes in a copy that holds everything. With `complete`, the volume has all the copies that it wants: what
 * was lost before is no longer missed.
 */
export function addMember(
  record: Membership,
  deployment: DeploymentId,
  options: { complete: boolean; readOnly: boolean },
): Membership {
  invariant(!record.inSync.includes(deployment), 'I1', () => `${deployment} is in sync already`);
  return {
    ...record,
    epoch: nextEpoch(record),
    inSync: [...record.inSync, deployment],
    outOfSync: options.complete ? [] : record.outOfSync.filter((entry) => entry.deployment !== deployment),
    readOnly: options.readOnly,
  };
}

/** The failure mode's time is over, or enough copies are there again. */
export function setReadOnly(record: Membership, readOnly: boolean): Membership {
  return { ...record, epoch: nextEpoch(record), readOnly };
}

/** The text by which etcd's transaction compares records; one form, whatever order the keys came in. */
export function membershipText(record: Membership): string {
  return JSON.stringify({
    volume: record.volume,
    epoch: record.epoch,
    primary: {
      deployment: record.primary.deployment,
      node: record.primary.node,
      incarnation: record.primary.incarnation,
    },
    inSync: record.inSync,
    outOfSync: record.outOfSync.map(({ deployment, reason, since }) => ({ deployment, reason, since })),
    history: record.history.map(({ epoch, startsAfter }) => ({ epoch, startsAfter })),
    active: record.active,
    lossVerifier: record.lossVerifier,
    etcdClusterId: record.etcdClusterId,
    readOnly: record.readOnly,
  });
}

export function sameMembership(a: Membership, b: Membership): boolean {
  return a === b || membershipText(a) === membershipText(b);
}
