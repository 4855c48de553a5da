import { setCurrentDetails } from '@temporalio/workflow';
import type { Placement } from '../core/domain.js';
import type { DeploymentId, VolumeId } from '../core/types.js';
import { records, removingOnNode } from './calls.js';
import { erase } from './provision-volume.js';

export interface RemoveReplicaInput {
  readonly volume: VolumeId;
  readonly primary: Placement;
  readonly deployment: DeploymentId;
  readonly reason: string;
}

/** Takes a copy out of the membership, then out of the record, then erases it. */
export async function RemoveReplica({ volume, primary, deployment, reason }: RemoveReplicaInput): Promise<void> {
  setCurrentDetails(`Because ${reason}: leaving the membership`);
  const { removeMember } = removingOnNode(primary.node);
  await removeMember({ volume, source: primary.deployment, member: deployment, reason });
  setCurrentDetails('Erasing the copy');
  await erase(await records.dropPlacements({ volume, deployments: [deployment] }));
  setCurrentDetails('Removed');
}
