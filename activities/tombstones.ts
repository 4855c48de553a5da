/** What allows a node to erase a copy. */

import type { Placement, Tombstone } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import type { VolumeId } from '../core/types.js';

/** `deletedAt`: RFC 3339. */
export function tombstoneOf(volume: VolumeId, copy: Placement, deletedAt: string): Tombstone {
  return { deployment: copy.deployment, volume, node: copy.node, deletedAt };
}

/** For a step that was done already, by an earlier attempt of the same activity. */
export function ignore(code: DomainError['code']): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof DomainError) || error.code !== code) throw error;
  };
}
