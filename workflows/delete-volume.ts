import { setCurrentDetails } from '@temporalio/workflow';
import type { VolumeId } from '../core/types.js';
import { records } from './calls.js';
import { erase } from './provision-volume.js';

export interface DeleteVolumeInput {
  readonly volume: VolumeId;
  readonly offline: boolean;
}

/**
 * Deletes a detached volume: key, records, then the data. From the moment that the records are gone nothing
 * can serve it, and the tombstones let every node erase its copy, now or when it is back.
 */
export async function DeleteVolume({ volume, offline }: DeleteVolumeInput): Promise<void> {
  setCurrentDetails('Marking the volume as being deleted');
  const placements = await records.beginDeletion({ volume, offline });
  setCurrentDetails('Removing key and records');
  await records.deleteKey({ volume });
  await records.finishDeletion({ volume, placements });
  setCurrentDetails(`Erasing ${placements.length} copies`);
  await erase(placements);
  setCurrentDetails('Deleted');
}
