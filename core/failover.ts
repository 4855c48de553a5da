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

/** How long the primary of a record may go without serving before another one is named; ms. */
export interface FailoverPatience {
  /** It does not answer, or does not know of its part. */
  readonly suspicionMs: number;
  /** It answers and has not been activated: longer than it waits for members and for the leases of the old one. */
  readonly openingMs: number;
  /**
   * It was activated, answers, and does not serve: longer than it takes to drop a member. Only one that is cut off
   * from etcd stays so.
   */
  readonly stalledMs: number;
}

export const DEFAULT_PATIENCE: FailoverPatience = { suspicionMs: 300, openingMs: 8_000, stalledMs: 30_000 };

/** For how long it must have been seen like this, under this record, before another one is named; ms. */
export function patienceMs(record: Membership, health: PrimaryHealth, patience: FailoverPatience): number {
  switch (health) {
    case 'serving':
      return Number.POSITIVE_INFINITY;
    case 'working':
      return record.active ? patience.stalledMs : patience.openingMs;
    // Another incarnation can't become the old one again; what does not answer, or has not yet seen its record, may.
    case 'restarted':
      return 0;
    case 'deposed':
    case 'unreachable':
      return patience.suspicionMs;
  }
}

export type FailoverStep =
  | { readonly kind: 'swap'; readonly next: Membership; readonly lossy: boolean }
  | Extract<CandidateChoice, { kind: 'wait' }>;

/**
 * Transaction 1, from the answers of the record's in-sync members. A primary that answers and does not get on is
 * not named again, though its log may be the longest: every acknowledged write is in the others' logs as well.
 */
export function planFailover(
  record: Membership,
  placements: readonly Placement[],
  answers: ReadonlyMap<DeploymentId, Answer>,
): FailoverStep {
  const { deployment } = record.primary;
  const stuck = primaryHealth(record, answers.get(deployment)) === 'working' ? deployment : undefined;
  const choice = chooseCandidate(record, answers, stuck);
  if (choice.kind === 'wait') return choice;
  const placement =
    placements.find((placement) => placement.deployment === choice.deployment) ??
    (record.primary.deployment === choice.deployment ? record.primary : undefined);
  if (placement === undefined) return { kind: 'wait', reason: 'no-clean-answer', deployments: [choice.deployment] };
  const candidate = { deployment: placement.deployment, node: placement.node, incarnation: choice.incarnation };
  return { kind: 'swap', next: nameCandidate(record, candidate), lossy: choice.lossy };
}
