/** How a volume's workflow starts its children: by the resource's name, found in the UI by volume, node and operation. */

import { type ChildWorkflowOptions, ParentClosePolicy, WorkflowIdReusePolicy } from '@temporalio/workflow';
import type { DeploymentId, NodeId, VolumeId } from '../core/types.js';
import { volumeChildId } from './names.js';
import { NODE_ATTRIBUTE, OPERATION_ATTRIBUTE, VOLUME_ATTRIBUTE } from './search-attributes.js';

export interface ChildDescription {
  readonly volume: VolumeId;
  /** The workflow type. */
  readonly type: string;
  /** What the id says of the operation: `failover`, `sync`. */
  readonly operation: string;
  readonly deployment?: DeploymentId;
  readonly node?: NodeId;
  /** One line for the UI. */
  readonly summary: string;
}

export function childOptions(child: ChildDescription): Omit<ChildWorkflowOptions, 'args' | 'typeInfo'> {
  return {
    workflowId: volumeChildId(child.volume, child.operation, child.deployment),
    workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
    // A child outlives the run that started it: the run may continue as new in the middle.
    parentClosePolicy: ParentClosePolicy.ABANDON,
    staticSummary: child.summary,
    typedSearchAttributes: [
      { key: VOLUME_ATTRIBUTE, value: child.volume },
      { key: OPERATION_ATTRIBUTE, value: child.type },
      ...(child.node === undefined ? [] : [{ key: NODE_ATTRIBUTE, value: child.node }]),
    ],
  };
}
