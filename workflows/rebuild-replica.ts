import { executeChild, ParentClosePolicy, setCurrentDetails, uuid4 } from '@temporalio/workflow';
import type { SyncResult } from '../activities/deployments.js';
import type { Placement } from '../core/domain.js';
import type { DeploymentId, Epoch, VolumeId } from '../core/types.js';
import { onNode, records } from './calls.js';
import { childOptions } from './children.js';
import { DeltaSync } from './delta-sync.js';

export interface RebuildReplicaInput {
  readonly volume: VolumeId;
  readonly primary: Placement;
  readonly epoch: Epoch;
  /** A placed copy that does not exist on its node; absent: a new one is placed. */
  readonly placed?: Placement;
  readonly reason: string;
}

/**
 * Makes a copy and fills it: a sync from order 0, which copies written blocks only. A copy that was placed
 * and not filled stays: the volume's workflow goes on with it.
 */
export async function RebuildReplica(input: RebuildReplicaInput): Promise<SyncResult> {
  const { volume, primary, epoch, reason } = input;
  setCurrentDetails(`Because ${reason}: choosing a node`);
  const target = input.placed ?? (await records.placeCopy({ volume, deployment: uuid4() as DeploymentId }));
  setCurrentDetails(`Making the copy on node ${target.node}`);
  await onNode(target.node).createDeployment({ volume, deployment: target.deployment });
  setCurrentDetails(`Filling the copy on node ${target.node}`);
  const result = await executeChild(DeltaSync, {
    ...childOptions({
      volume,
      type: 'DeltaSync',
      operation: 'sync',
      deployment: target.deployment,
      node: target.node,
      summary: `Fill the new copy on node ${target.node}`,
    }),
    parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    args: [{ volume, primary, target: target.deployment, epoch }],
  });
  setCurrentDetails(`In sync on node ${target.node}: ${result.blocksCopied} blocks, ${result.bytesCopied} bytes`);
  return result;
}
