/** Names by which workflows are started and spoken to; constants and argument types, no code. */

import type { LostVolumeWishes } from '../core/lost-volumes.js';
import type { DeploymentId, NodeId, VolumeId } from '../core/types.js';
import type { Failures, PlanMemory } from '../core/volume-plan.js';

/** Workflows, and the activities that any node can do. */
export const SHARED_TASK_QUEUE = 'storageos';

/** Activities that must happen on this node. */
export function nodeTaskQueue(node: NodeId): string {
  return `node:${node}`;
}

export const VOLUME_WORKFLOW = 'Volume';
export const FENCE_NODE_WORKFLOW = 'FenceNode';
export const VERIFY_VOLUME_WORKFLOW = 'VerifyVolume';
export const RECOVER_VOLUME_WORKFLOW = 'RecoverVolume';

export function volumeWorkflowId(volume: VolumeId): string {
  return `volume/${volume}`;
}

/** At most one of each kind runs for a volume; a sync, for each copy. */
export function volumeChildId(volume: VolumeId, operation: string, deployment?: DeploymentId): string {
  return `volume/${volume}/${operation}${deployment === undefined ? '' : `/${deployment}`}`;
}

/** Whose workflow it is, or whose child; undefined for a node's. */
export function volumeOfWorkflow(workflowId: string): VolumeId | undefined {
  const [kind, volume] = workflowId.split('/');
  return kind === 'volume' && volume !== undefined && volume !== '' ? (volume as VolumeId) : undefined;
}

export function fenceNodeWorkflowId(node: NodeId): string {
  return `fence-node/${node}`;
}

export const LOOK_SIGNAL = 'look';
export const PROVISION_UPDATE = 'provision';
export const ATTACH_UPDATE = 'attach';
export const DETACH_UPDATE = 'detach';
export const REMOVE_UPDATE = 'remove';

/** Commands that wait for their turn; more are refused as 'locked'. */
export const MAX_PENDING_COMMANDS = 32;

export interface VolumeWorkflowInput {
  readonly volume: VolumeId;
  /** What the run before this one knew (continue-as-new). */
  readonly carried?: { readonly memory: PlanMemory; readonly failures: Failures };
}

export interface AttachCommand {
  readonly node: NodeId;
}

export interface RemoveCommand {
  /** Although no node with a copy answers. */
  readonly offline: boolean;
}

export interface RecoverVolumeInput {
  readonly volume: VolumeId;
  /** Go on although acknowledged writes are lost, or may be. */
  readonly acceptLoss: boolean;
  /** Set: etcd has no record of the volume, and it is to come back with this. */
  readonly lost?: LostVolumeWishes;
}

export interface FenceNodeInput {
  readonly node: NodeId;
  readonly reason: string;
  /** Detach what is attached there, under a higher generation: whoever still writes there is refused. */
  readonly detach: boolean;
}
