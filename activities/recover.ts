/** A volume's membership made anew from its copies, when etcd is an older one, or another. */

import { recoverAttachment } from '../core/attachment.js';
import type { RecoveryReport } from '../core/controller.js';
import { DomainError } from '../core/errors.js';
import { describeRisk, planRecovery, type RecoveryPlan } from '../core/recovery.js';
import type { Epoch, VolumeId } from '../core/types.js';
import { requireVolume } from './copies.js';
import type { ActivityDeps } from './deps.js';
import { surveyNodes, withoutErasable } from './survey.js';
import { tombstoneOf } from './tombstones.js';

export interface RecoverActivities {
  /** What is wrong and what would be done; changes nothing. 'not-found' if etcd has no such volume. */
  surveyVolume(request: { volume: VolumeId }): Promise<RecoveryReport>;
  /**
   * Writes placements and membership as the copies tell them, and has all copies adopt the present etcd. What may be
   * lost must be accepted: else 'invalid-state', which says what; copies that are accepted to be lost may be erased
   * from then on. 'stale-write' if the record changes meanwhile.
   */
  recoverMembership(request: { volume: VolumeId; acceptLoss: boolean }): Promise<RecoveryReport>;
}

type SurveyDeps = Pick<ActivityDeps, 'state' | 'replication' | 'settings'>;

async function survey(deps: SurveyDeps, volume: VolumeId) {
  const { state, settings } = deps;
  const [{ placements }, record, nodes] = await Promise.all([
    requireVolume(deps, volume),
    state.membershipStore.read(volume),
    state.nodes.list(),
  ]);
  const asked = new Set([...nodes.map(({ value }) => value.id), ...placements.map(({ node }) => node)]);
  const found = await withoutErasable(state, () => surveyNodes(deps, volume, asked, settings.statusTimeoutMs));
  const { generation, remembered: _, stays, ...told } = found;
  const { etcdClusterId } = state;
  const timestamp = settings.timestamp();
  const kept = placements.filter(({ deployment }) => stays(deployment));
  return {
    record,
    generation,
    plan: planRecovery({ volume, record, placements: kept, ...told, etcdClusterId, timestamp }),
  };
}

/** Also asked by the API, for which no workflow is needed. Errors: 'not-found'; those of etcd. */
export async function surveyVolume(deps: SurveyDeps, volume: VolumeId): Promise<RecoveryReport> {
  return report(volume, (await survey(deps, volume)).plan, false);
}

export function report(volume: VolumeId, { reasons, risks, next }: RecoveryPlan, recovered: boolean): RecoveryReport {
  return {
    volume,
    reasons,
    risks: risks.map(describeRisk),
    recovered,
    ...(next !== undefined && {
      primary: { deployment: next.primary.deployment, node: next.primary.node },
      inSync: next.inSync,
      epoch: next.epoch as Epoch,
    }),
  };
}

/** Errors: 'invalid-state', which says what may be lost. */
export function requireAccepted(risks: readonly string[], accepted: boolean): void {
  if (risks.length === 0 || accepted) return;
  throw new DomainError('invalid-state', `this has to be accepted: ${risks.join('; ')}`);
}

export function createRecoverActivities(deps: ActivityDeps): RecoverActivities {
  const { state, replication, settings } = deps;

  async function recoverMembership(volume: VolumeId, acceptLoss: boolean): Promise<RecoveryReport> {
    const { plan, record, generation } = await survey(deps, volume);
    const { next, placements, abandoned } = plan;
    if (plan.reasons.length === 0) return report(volume, plan, false);
    if (next === undefined)
      throw new DomainError('node-unavailable', `no node with a copy of volume ${volume} answers`);
    requireAccepted(plan.risks.map(describeRisk), acceptLoss);
    // Before the record, which they take for another etcd's otherwise: until it is there, it is older than their epochs.
    for (const copy of plan.adopting)
      await replication.adoptCluster(copy, state.etcdClusterId, settings.statusTimeoutMs);
    const timestamp = settings.timestamp();
    await state.attachments.update(volume, (current) => recoverAttachment(current, generation, timestamp));
    const tombstones = abandoned.map((copy) => tombstoneOf(volume, copy, timestamp));
    await state.recoverVolume({ expected: record, next, placements, abandoned: tombstones, timestamp });
    await deps.look(volume, 'its membership was recovered');
    return report(volume, plan, true);
  }

  return {
    surveyVolume: ({ volume }) => surveyVolume(deps, volume),
    recoverMembership: ({ volume, acceptLoss }) => recoverMembership(volume, acceptLoss),
  };
}
