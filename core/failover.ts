/**
 * The workflow's half of a promotion: who is asked, what the answers mean, and the first transaction. Used by
 * the volume's workflow (through its activities) and by the simulator.
 */

import { type Answer, type CandidateChoice, chooseCandidate } from './candidate.js';
import type { Membership, Placement } from './domain.js';
import { nameCandidate } from './membership.js';
import type { DeploymentId } from './types.js';

export type PrimaryHealth =
  /** The incarnation that the record names answers and serves. */
  | 'serving'
  /** It answers and is on its way: opening, or waiting for its members or for etcd. */
  | 'working'
  /** It answers under another incarnation: its process was restarted, or its store reopened [2]. */
  | 'restarted'
  /** It answers and is no longer the primary, or never took the epoch up. */
  | 'deposed'
  | 'unreachable';

/** What the answer of the named primary says about it. */
export function primaryHealth(record: Membership, answer: Answer | undefined): PrimaryHealth {
  if (answer === undefined || answer === 'unreachable') return 'unreachable';
  if (answer.incarnation !== record.primary.incarnation) return 'restarted';
  if (answer.role === 'member') return 'deposed';
  return answer.serving ? 'serving' : 'working';
}

export type FailoverStep =
  | { readonly kind: 'swap'; readonly next: Membership; readonly lossy: boolean }
  | Extract<CandidateChoice, { kind: 'wait' }>;

/** Transaction 1, from the answers of the record's in-sync members. */
export function planFailover(
  record: Membership,
  placements: readonly Placement[],
  answers: ReadonlyMap<DeploymentId, Answer>,
): FailoverStep {
  const choice = chooseCandidate(record, answers);
  if (choice.kind === 'wait') return choice;
  const placement =
    placements.find((placement) => placement.deployment === choice.deployment) ??
    (record.primary.deployment === choice.deployment ? record.primary : undefined);
  if (placement === undefined) return { kind: 'wait', reason: 'no-clean-answer', deployments: [choice.deployment] };
  const candidate = { deployment: placement.deployment, node: placement.node, incarnation: choice.incarnation };
  return { kind: 'swap', next: nameCandidate(record, candidate), lossy: choice.lossy };
}
