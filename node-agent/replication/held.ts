/** What this node has of volumes of which it sees no record in etcd: they are told to whoever looks for lost ones. */

import type { HeldVolume } from '../../core/lost-volumes.js';
import type { DeploymentState } from '../../core/ports.js';
import type { RememberedVolume } from '../../core/recovery.js';
import type { Epoch, VolumeId } from '../../core/types.js';
import { MAX_HELD_VOLUMES, MAX_SURVEYED_COPIES } from './requests.js';

export interface HeldSources {
  /** Of all copies on the disks. */
  readonly states: readonly DeploymentState[];
  readonly isKnown: (volume: VolumeId) => boolean;
  readonly memoryOf: (volume: VolumeId) => RememberedVolume | undefined;
}

/** The volumes behind `after` in the order of their ids, MAX_HELD_VOLUMES at the most. */
export function heldVolumes(
  { states, isKnown, memoryOf }: HeldSources,
  after: VolumeId | undefined,
): { readonly volumes: HeldVolume[]; readonly more: boolean } {
  const byVolume = new Map<VolumeId, DeploymentState[]>();
  for (const state of states) {
    if (isKnown(state.volume) || (after !== undefined && state.volume <= after)) continue;
    byVolume.set(state.volume, [...(byVolume.get(state.volume) ?? []), state]);
  }
  const ids = [...byVolume.keys()].sort();
  const volumes = ids.slice(0, MAX_HELD_VOLUMES).map((volume) => {
    const copies = byVolume.get(volume)!.slice(0, MAX_SURVEYED_COPIES);
    const remembered = memoryOf(volume);
    return {
      volume,
      deployments: copies.map(({ deployment }) => deployment),
      sizeBytes: Math.max(...copies.map(({ blocks, blockSize }) => blocks * blockSize)),
      promised: Math.max(...copies.map(({ promised }) => promised)) as Epoch,
      ...(remembered !== undefined && { name: remembered.volume.name, namespaceName: remembered.namespaceName }),
    };
  });
  return { volumes, more: ids.length > volumes.length };
}
