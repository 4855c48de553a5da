/** What allows a node to erase a copy. */

import type { Placement, Tombstone } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import type { DeploymentId, VolumeId } from '../core/types.js';
import type { ActivityDeps } from './deps.js';

/** `deletedAt`: RFC 3339. */
export function tombstoneOf(volume: VolumeId, copy: Placement, deletedAt: string): Tombstone {
  return { deployment: copy.deployment, volume, node: copy.node, deletedAt };
}

/** Copies that their nodes may erase, and do. */
export async function buried({
  tombstones,
}: Pick<ActivityDeps['state'], 'tombstones'>): Promise<ReadonlySet<DeploymentId>> {
  return new Set((await tombstones.list()).map(({ value }) => value.deployment));
}

/** For a step that was done already, by an earlier attempt of the same activity. */
export function ignore(code: DomainError['code']): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof DomainError) || error.code !== code) throw error;
  };
}
