/** What all nodes know of a volume. */

import type { Placement } from '../core/domain.js';
import type { RememberedVolume, SurveyedCopy } from '../core/recovery.js';
import type { DeploymentId, Generation, NodeId, VolumeId } from '../core/types.js';
import type { ActivityDeps } from './deps.js';
import { buried } from './tombstones.js';

export interface Survey {
  readonly copies: readonly SurveyedCopy[];
  readonly closed: readonly Placement[];
  readonly remembered: readonly RememberedVolume[];
  /** Did not answer. */
  readonly silent: readonly NodeId[];
  /** Have answered, and have copies that they cannot read. */
  readonly unsure: readonly NodeId[];
  /** The highest of the attachments that a copy has seen. */
  readonly generation: Generation;
}

/** Asks them in parallel; takes at most `timeoutMs`. */
export async function surveyNodes(
  { replication }: Pick<ActivityDeps, 'replication'>,
  volume: VolumeId,
  nodes: ReadonlySet<NodeId>,
  timeoutMs: number,
): Promise<Survey> {
  const copies: SurveyedCopy[] = [];
  const closed: Placement[] = [];
  const remembered: RememberedVolume[] = [];
  const silent: NodeId[] = [];
  const unsure: NodeId[] = [];
  await Promise.all(
    [...nodes].map(async (node) => {
      try {
        const found = await replication.survey(node, volume, timeoutMs);
        copies.push(...found.copies);
        closed.push(...found.closed.map((deployment) => ({ deployment, node })));
        if (found.unreadable > 0) unsure.push(node);
        if (found.remembered !== undefined) remembered.push(found.remembered);
      } catch {
        // Whatever the reason, it has told nothing.
        silent.push(node);
      }
    }),
  );
  const generation = Math.max(0, ...copies.map(({ status }) => status.generation)) as Generation;
  return { copies, closed, remembered, silent, unsure, generation };
}

/**
 * What `ask` finds, without the copies that their nodes may erase, and whether a copy is none of them. A tombstone goes
 * when its copy is gone, and a deletion meanwhile leaves copies in the answers of those that were asked first: so
 * tombstones are read before and after.
 */
export async function withoutErasable(
  state: Pick<ActivityDeps['state'], 'tombstones'>,
  ask: () => Promise<Survey>,
): Promise<Survey & { readonly stays: (deployment: DeploymentId) => boolean }> {
  const early = await buried(state);
  const found = await ask();
  const late = await buried(state);
  const stays = (deployment: DeploymentId): boolean => !early.has(deployment) && !late.has(deployment);
  return {
    ...found,
    copies: found.copies.filter(({ status }) => stays(status.deployment)),
    closed: found.closed.filter(({ deployment }) => stays(deployment)),
    stays,
  };
}
