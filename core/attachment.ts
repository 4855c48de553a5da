/** Which generation an attachment gets: each is given once, so that a later one fences all that were before it. */

import type { Attachment } from './domain.js';
import { DomainError } from './errors.js';
import { type RecoveryPlan, UNSEEN_EPOCHS } from './recovery.js';
import type { Generation, NodeId } from './types.js';

/** By how much a generation rises while the primary is silent. */
const UNTOLD_GENERATIONS = 2 ** 20;
/**
 * By how much generations rise where a loss is accepted, as attachments may have been made of which only absent copies
 * know: also many while primaries were silent. 2^53, the largest number that is exact, has room for 2^21 such losses.
 */
const UNSEEN_GENERATIONS = 2 ** 32;

export interface AttachmentMove {
  /** The generation that the move begins with. */
  readonly expected: Generation;
  /** Undefined: detached. */
  readonly node: NodeId | undefined;
  /**
   * The latest generation that the volume's primary has met; undefined: it does not tell, or was not asked. An etcd
   * that was restored from an older snapshot may not know of it, and would give its number to another attachment.
   */
  readonly met: number | undefined;
  /** Of the volume's membership, if it is known. */
  readonly epoch: number | undefined;
  /** RFC 3339. */
  readonly timestamp: string;
}

/**
 * The attachment at a higher generation than `expected`, which is what it has; itself, if an earlier attempt has moved
 * it already. 'stale-write' if somebody else has changed it.
 */
export function moveAttachment(
  current: Attachment,
  { expected, node, met, epoch, timestamp }: AttachmentMove,
): Attachment {
  // Which generation an attempt wrote depends on what the primary told it: another one may be told something else.
  const isDone = current.generation > expected && current.node === node;
  // An equal generation may be that of the very attachment, in use by now: an attempt that comes late ends no use.
  if (isDone && current.generation >= (met ?? 0)) return current;
  if (!isDone && current.generation !== expected) {
    throw new DomainError('stale-write', `the attachment of volume ${current.volume} changed meanwhile`);
  }
  const { node: _, ...rest } = current;
  // Nobody writes by what is detached: the next attachment is what has to be above all others.
  if (node === undefined) return { ...rest, generation: (expected + 1) as Generation, updatedAt: timestamp };
  const told = met === undefined ? current.generation + UNTOLD_GENERATIONS : Math.max(current.generation, met) + 1;
  // Each accepted loss of copies has raised the epoch so far, whatever became of the attachment then.
  const generation = Math.max(told, Math.floor((epoch ?? 0) / UNSEEN_EPOCHS) * UNSEEN_GENERATIONS + 1);
  return { ...rest, node, generation: generation as Generation, updatedAt: timestamp };
}

/**
 * The attachment after a recovery, `seen` being the highest generation that a copy has told: one of which etcd does not
 * know any more must not come back beside the next one. Whoever is attached by what etcd knows stays, unless a copy knows
 * of a later one.
 */
export function recoverAttachment(
  current: Attachment,
  seen: number,
  plan: Pick<RecoveryPlan, 'risks'>,
  timestamp: string,
): Attachment {
  const isKnown = current.generation >= seen;
  if (isKnown && (plan.risks.length === 0 || current.node !== undefined)) return current;
  return { ...current, generation: fencingGeneration(Math.max(current.generation, seen), plan), updatedAt: timestamp };
}

/** A generation above all that a copy may have seen, `seen` being the highest that was told. */
export function fencingGeneration(seen: number, { risks }: Pick<RecoveryPlan, 'risks'>): Generation {
  return (seen + (risks.length > 0 ? UNSEEN_GENERATIONS : 1)) as Generation;
}
