/**
 * What a volume's workflow does next, from what it sees: a pure function. One act at a time; after it the
 * workflow looks again. The rules are those of design/replication.md ("The primary fails", "A member fails",
 * "Delta sync"):
 *
 * 1. A volume without a primary that serves or is on its way gets a failover; nothing else is done meanwhile.
 * 2. A copy that is there again is brought up to date before a new one is made elsewhere: a new one is placed
 *    only when a copy has been missing for the grace period.
 * 3. If the old copy comes back while the new one is being filled, the one with fewer blocks to copy stays.
 * 4. Surplus copies go when their node answers: one that is away costs nothing and may be wanted again.
 */

import type { Membership, Volume } from './domain.js';
import { type FailoverStep, patienceMs, planFailover, primaryHealth } from './failover.js';
import type { DeploymentStatus } from './messages.js';
import { planCopies } from './plan-copies.js';
import {
  asAnswer,
  nodeName,
  type PlanInput,
  type PlanSettings,
  plan,
  propose,
  type VolumePlan,
  wait,
} from './plan-steps.js';
import type { DeploymentId } from './types.js';

export {
  type Act,
  type ActingPrimary,
  actKey,
  asAnswer,
  type Condition,
  type CopyAnswer,
  DEFAULT_PLAN_SETTINGS,
  EMPTY_MEMORY,
  type Failures,
  HOPELESS_AFTER,
  type NodeView,
  type PlanInput,
  type PlanMemory,
  type PlanSettings,
  type Step,
  type VolumePlan,
} from './plan-steps.js';

export function planVolume(input: PlanInput): VolumePlan {
  const { volume, membership, settings } = input;
  if (volume === undefined) return plan(input, 'deleted', { act: 'end' }, 'the volume is deleted', 0);
  switch (volume.phase) {
    case 'provisioning':
      return propose(input, 'provisioning', { act: 'provision' }, 'being provisioned');
    case 'deleting':
      return propose(input, 'deleting', { act: 'delete' }, 'being deleted');
    case 'failed':
      return planAnew(input, volume);
    case 'ready':
      break;
  }
  if (membership === undefined) {
    const summary = 'etcd has no membership record of this volume: nothing is touched';
    return wait(input, 'unknown', summary, settings.idleMs);
  }
  const ahead = [...input.answers].filter(([, told]) => typeof told === 'object' && told.etcdBehind !== undefined);
  if (ahead.length > 0) {
    const step = { reason: 'etcd-behind', deployments: ahead.map(([id]) => id) } as const;
    const obstacle = failoverObstacle(step, placeOf(input, volume));
    return wait(input, 'etcd-behind', obstacle, settings.busyMs);
  }
  return planPrimary(input, volume, membership);
}

/** Whoever waited for it to be made has the time to remove it, so that its name is free; nobody else may know of it. */
function planAnew(input: PlanInput, volume: Volume): VolumePlan {
  const summary = `not provisioned: ${volume.reason ?? 'no reason recorded'}`;
  const remaining = Date.parse(volume.updatedAt) + input.settings.idleMs - input.nowMs;
  return remaining > 0
    ? wait(input, 'failed', `${summary}; trying again`, Math.min(remaining, input.settings.idleMs))
    : propose(input, 'failed', { act: 'provision' }, summary);
}

function planPrimary(input: PlanInput, volume: Volume, membership: Membership): VolumePlan {
  const { settings, nowMs } = input;
  const answer = input.answers.get(membership.primary.deployment);
  const health = primaryHealth(membership, asAnswer(answer));
  if (health === 'serving') return planCopies(input, volume, membership, answer as DeploymentStatus);
  if (health === 'working') return planStalled(input, volume, membership, answer as DeploymentStatus);
  const what = {
    restarted: 'was restarted',
    deposed: 'does not act as primary',
    unreachable: 'does not answer',
  }[health];
  const isGone = (copy: DeploymentId): boolean => input.answers.get(copy) === 'absent';
  const node = nodeName(input, membership.primary);
  const reason = isGone(membership.primary.deployment)
    ? `${node} does not show the primary`
    : `the primary on ${node} ${what}`;
  const suspect =
    input.memory.suspect?.epoch === membership.epoch
      ? input.memory.suspect
      : { epoch: membership.epoch, sinceMs: nowMs };
  const suspicion = { ...input, memory: { ...input.memory, suspect } };
  const remaining = suspect.sinceMs + patienceMs(membership, health, settings) - nowMs;
  if (remaining > 0) return wait(suspicion, 'no-primary', `${reason}: looking again`, remaining);
  const step = promotion(input, volume, membership);
  if (step.kind === 'wait') {
    const pauseMs = lookLater(nowMs - suspect.sinceMs, settings);
    const obstacle = step.deployments.every(isGone)
      ? 'no node shows a complete copy: bring back their disks, or delete the volume'
      : failoverObstacle(step, placeOf(input, volume));
    return wait(suspicion, 'no-primary', `${reason}; ${obstacle}`, pauseMs);
  }
  return propose(suspicion, 'no-primary', { act: 'failover', epoch: membership.epoch, reason }, reason);
}

/**
 * The primary answers, and opens or is held up. It gets its time; if then another copy can be named, it is. It may
 * be the only one that does not reach etcd.
 */
function planStalled(input: PlanInput, volume: Volume, membership: Membership, primary: DeploymentStatus): VolumePlan {
  const { settings, nowMs, memory } = input;
  const { epoch } = membership;
  const stalled = memory.stalled?.epoch === epoch ? memory.stalled : { epoch, sinceMs: nowMs };
  const held: PlanInput = { ...input, memory: { missingSince: memory.missingSince, stalled } };
  const remaining = stalled.sinceMs + patienceMs(membership, 'working', settings) - nowMs;
  if (remaining <= 0 && promotion(input, volume, membership).kind === 'swap') {
    const what = membership.active ? 'answers and does not serve' : 'does not get open';
    const reason = `the primary on ${nodeName(input, membership.primary)} ${what}`;
    return propose(held, 'no-primary', { act: 'failover', epoch, reason, stalled: true }, reason);
  }
  const plan =
    membership.active && primary.role === 'primary'
      ? planCopies(held, volume, membership, primary)
      : wait(held, 'opening', `the primary on ${nodeName(input, membership.primary)} opens`, settings.idleMs);
  const pauseMs = remaining > 0 ? settings.busyMs : lookLater(-remaining, settings);
  return { ...plan, lookAgainMs: Math.min(plan.lookAgainMs, pauseMs) };
}

function promotion(input: PlanInput, volume: Volume, membership: Membership): FailoverStep {
  const answers = new Map([...input.answers].map(([id, told]) => [id, asAnswer(told)]));
  return planFailover(membership, volume.placements, answers);
}

/** Whoever comes back wakes the workflow; the longer it lasts, the less looking helps. */
function lookLater(sinceMs: number, settings: PlanSettings): number {
  return Math.min(Math.max(settings.busyMs, sinceMs / 8), settings.idleMs);
}

/** By the names of the nodes, as far as it is placed. */
function placeOf(input: PlanInput, { placements }: Volume): (copy: DeploymentId) => string {
  return (copy) => {
    const placed = placements.find(({ deployment }) => deployment === copy);
    return placed === undefined ? `copy ${copy}` : nodeName(input, placed);
  };
}

/** Why nobody can be named yet, for people. */
export function failoverObstacle(
  { reason, deployments }: Pick<Extract<FailoverStep, { kind: 'wait' }>, 'reason' | 'deployments'>,
  placeOf: (copy: DeploymentId) => string = (copy) => `copy ${copy}`,
): string {
  const places = deployments.map(placeOf).join(', ');
  return reason === 'no-clean-answer'
    ? `no complete copy answers; waiting for ${places}`
    : `etcd is behind ${places}: run "storageos recover"`;
}
