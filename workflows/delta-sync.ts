import { setCurrentDetails } from '@temporalio/workflow';
import type { SyncResult } from '../activities/deployments.js';
import type { Placement } from '../core/domain.js';
import type { DeploymentId, Epoch, VolumeId } from '../core/types.js';
import { dataOnNode } from './calls.js';

export interface DeltaSyncInput {
  readonly volume: VolumeId;
  readonly primary: Placement;
  readonly target: DeploymentId;
  readonly epoch: Epoch;
}

/**
 * Brings a copy up to date from the primary; progress is in the activity's heartbeat. It is fenced by the
 * primary's epoch: after a failover it fails, and the volume's workflow starts the next one from where the
 * copy then is.
 */
export async function DeltaSync({ volume, primary, target, epoch }: DeltaSyncInput): Promise<SyncResult> {
  setCurrentDetails(`Copying from node ${primary.node}; progress: the heartbeat of syncReplica`);
  const result = await dataOnNode(primary.node).syncReplica({ volume, source: primary.deployment, target, epoch });
  setCurrentDetails(`In sync: ${result.blocksCopied} blocks, ${result.bytesCopied} bytes copied (${result.kind})`);
  return result;
}
