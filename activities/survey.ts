/** What all nodes know of a volume. */

import type { Placement } from '../core/domain.js';
import type { RememberedVolume, SurveyedCopy } from '../core/recovery.js';
import type { Generation, NodeId, VolumeId } from '../core/types.js';
import type { ActivityDeps } from './deps.js';

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
