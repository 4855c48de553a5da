/** Which generation an attachment gets: each is given once, so that a later one fences all that were before it. */

import type { Attachment } from './domain.js';
import { DomainError } from './errors.js';
import type { Generation, NodeId } from './types.js';

export interface AttachmentMove {
  /** The generation that the move begins with. */
  readonly expected: Generation;
  /** Undefined: detached. */
  readonly node: NodeId | undefined;
  /**
   * The latest generation that the copy has met which etcd takes for the primary; undefined: it does not tell, or was
   * not asked. An etcd that was restored from an older snapshot may not know of it.
   */
  readonly met: number | undefined;
  /** RFC 3339. */
  readonly timestamp: string;
}

/**
 * A generation above `known`, the latest that anybody tells of; and above those that nobody tells of, as after the
 * restoration of an older etcd, since it is the time, in ms since 1970, wherever clocks are no further apart than those
 * attachments lie back. Where they are, it still rises (a hybrid logical clock: Kulkarni et al., OPODIS 2014).
 */
export function nextGeneration(known: number, timestamp: string): Generation {
  return Math.max(known + 1, Date.parse(timestamp)) as Generation;
}

/**
 * The attachment at a higher generation than `expected`, which is what it has; itself, if an earlier attempt has moved
 * it already. 'stale-write' if somebody else has changed it.
 */
export function moveAttachment(
  current: Attachment,
  { expected, node, met = 0, timestamp }: AttachmentMove,
): Attachment {
  // Which generation an attempt wrote depends on when it did.
  const isDone = current.generation > expected && current.node === node;
  // An equal generation may be that of the very attachment, in use by now: an attempt that comes late ends no use.
  if (isDone && current.generation >= met) return current;
  if (!isDone && current.generation !== expected) {
    throw new DomainError('stale-write', `the attachment of volume ${current.volume} changed meanwhile`);
  }
  const { node: _, ...rest } = current;
  // Nobody writes by what is detached: the next attachment is what has to be above all others.
  if (node === undefined) return { ...rest, generation: (expected + 1) as Generation, updatedAt: timestamp };
  const generation = nextGeneration(Math.max(current.generation, met), timestamp);
  return { ...rest, node, generation, updatedAt: timestamp };
}

/**
 * The attachment after a recovery, `seen` being the highest generation that a copy has told: one of which etcd does not
 * know any more must not come back beside the next one. Whoever is attached by what etcd knows stays, unless a copy knows
 * of a later one.
 */
export function recoverAttachment(current: Attachment, seen: number, timestamp: string): Attachment {
  if (current.generation >= seen) return current;
  return { ...current, generation: nextGeneration(seen, timestamp), updatedAt: timestamp };
}
