/** Whom a promotion names (design/replication.md, "The primary fails", steps 1 and 2). */

import type { Membership } from './domain.js';
import type { DeploymentStatus } from './messages.js';
import { compareOrders } from './order.js';
import type { DeploymentId, Incarnation } from './types.js';

/** Nobody answers for this deployment: its node is away, or has no such deployment open. */
export type Answer = DeploymentStatus | 'unreachable';

export type CandidateChoice =
  | {
      readonly kind: 'candidate';
      readonly deployment: DeploymentId;
      readonly incarnation: Incarnation;
      /** Acknowledged writes that were never flushed may be missing: nobody holds a complete log. */
      readonly lossy: boolean;
    }
  | {
      readonly kind: 'wait';
      /**
       * `no-clean-answer`: a copy that does not answer may hold everything. `etcd-behind`: a deployment knows
       * another etcd cluster, or an epoch that etcd does not know; only `storageos recover` may go on.
       */
      readonly reason: 'no-clean-answer' | 'etcd-behind';
      readonly deployments: readonly DeploymentId[];
    };

/**
 * The longest log among the clean in-sync members that answered. An unclean one only if every member has
 * answered and all are unclean: unreachable is not unclean [10]. `unfit` answers and is not named all the same: it
 * counts like one that is away.
 */
export function chooseCandidate(
  membership: Membership,
  answers: ReadonlyMap<DeploymentId, Answer>,
  unfit?: DeploymentId,
): CandidateChoice {
  const answered: DeploymentStatus[] = [];
  const silent: DeploymentId[] = [];
  for (const member of membership.inSync) {
    const answer = answers.get(member);
    if (answer === undefined || answer === 'unreachable') silent.push(member);
    else answered.push(answer);
  }
  const ahead = answered.filter(
    (status) =>
      status.etcdBehind !== undefined ||
      status.promised > membership.epoch ||
      status.etcdClusterId !== membership.etcdClusterId,
  );
  if (ahead.length > 0) {
    return { kind: 'wait', reason: 'etcd-behind', deployments: ahead.map((status) => status.deployment) };
  }
  const fit = answered.filter((status) => status.deployment !== unfit);
  const clean = fit.filter((status) => !status.unclean);
  const pool = clean.length > 0 ? clean : fit.length === membership.inSync.length ? fit : [];
  const best = pool.reduce<DeploymentStatus | undefined>(
    (best, status) => (best === undefined || isBetter(status, best, membership) ? status : best),
    undefined,
  );
  if (best === undefined) {
    const awaited = unfit === undefined ? silent : [...silent, unfit];
    return { kind: 'wait', reason: 'no-clean-answer', deployments: awaited };
  }
  return { kind: 'candidate', deployment: best.deployment, incarnation: best.incarnation, lossy: best.unclean };
}

/** The longer log; of equally long ones that of the present primary, so that a restart does not move it. */
function isBetter(a: DeploymentStatus, b: DeploymentStatus, membership: Membership): boolean {
  const difference = a.last.sequence - b.last.sequence || compareOrders(a.last, b.last);
  if (difference !== 0) return difference > 0;
  if (b.deployment === membership.primary.deployment) return false;
  if (a.deployment === membership.primary.deployment) return true;
  return a.deployment < b.deployment;
}
