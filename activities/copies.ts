/** Questions to the copies of a volume. */

import type { Answer } from '../core/candidate.js';
import type { Placement, Volume } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import type { DeploymentId, VolumeId } from '../core/types.js';
import { asAnswer, type CopyAnswer } from '../core/volume-plan.js';
import type { ActivityDeps } from './deps.js';

/**
 * What each copy says of itself, asked in parallel; takes at most `statusTimeoutMs`. Of a node that gossip takes for
 * dead an answer is not expected: it gets a little time, in which it answers if it is there after all. A failover asks
 * several times, and each time the whole cluster would wait for what is known.
 */
export async function askCopies(
  deps: Pick<ActivityDeps, 'replication' | 'settings' | 'nodeHealth'>,
  copies: readonly Placement[],
): Promise<Map<DeploymentId, CopyAnswer>> {
  const answers = await Promise.all(
    copies.map(async ({ deployment, node }): Promise<[DeploymentId, CopyAnswer]> => {
      try {
        const { statusTimeoutMs, deadStatusTimeoutMs } = deps.settings;
        const timeoutMs = deps.nodeHealth(node) === 'dead' ? deadStatusTimeoutMs : statusTimeoutMs;
        return [deployment, await deps.replication.remoteStatus({ deployment, node }, timeoutMs)];
      } catch (error) {
        if (error instanceof DomainError && error.code === 'not-found') return [deployment, 'absent'];
        if (error instanceof DomainError && error.code === 'invalid-state') return [deployment, 'damaged'];
        // Also a node whose answer makes no sense.
        return [deployment, 'unreachable'];
      }
    }),
  );
  return new Map(answers);
}

/** For choosing a candidate, a node without the copy, or with a damaged one, is as good as none. */
export function withoutAbsent(answers: ReadonlyMap<DeploymentId, CopyAnswer>): Map<DeploymentId, Answer> {
  return new Map([...answers].map(([id, answer]) => [id, asAnswer(answer)]));
}

/** The record, or DomainError 'not-found'. */
export async function requireVolume(deps: Pick<ActivityDeps, 'state'>, id: VolumeId): Promise<Volume> {
  const found = await deps.state.volumes.get(id);
  if (found === undefined) throw new DomainError('not-found', `volume ${id} not found`);
  return found.value;
}
