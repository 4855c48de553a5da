import type { VolumeId } from '../core/types.js';
import type { ActivityDeps } from './deps.js';

/** Keys stay where the key store keeps them: only ids pass through Temporal. */
export interface KeyActivities {
  createKey(request: { volume: VolumeId }): Promise<void>;
  deleteKey(request: { volume: VolumeId }): Promise<void>;
}

export function createKeyActivities({ keys }: Pick<ActivityDeps, 'keys'>): KeyActivities {
  return {
    createKey: ({ volume }) => keys.create(volume),
    deleteKey: ({ volume }) => keys.delete(volume),
  };
}
