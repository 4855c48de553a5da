/** Search attributes of all workflows; the server must know them before the first one is started. */

import { defineSearchAttributeKey } from '@temporalio/common';

/** Id of the volume. */
export const VOLUME_ATTRIBUTE = defineSearchAttributeKey('StorageosVolume', 'KEYWORD');
/** Id of the volume's namespace. */
export const NAMESPACE_ATTRIBUTE = defineSearchAttributeKey('StorageosNamespace', 'KEYWORD');
/** Id of the node that the operation is about; for a volume, of its primary's. */
export const NODE_ATTRIBUTE = defineSearchAttributeKey('StorageosNode', 'KEYWORD');
/** The workflow type, or for a volume what it does at the moment. */
export const OPERATION_ATTRIBUTE = defineSearchAttributeKey('StorageosOperation', 'KEYWORD');
/** core/volume-plan.ts, Condition. */
export const PHASE_ATTRIBUTE = defineSearchAttributeKey('StorageosPhase', 'KEYWORD');

export const SEARCH_ATTRIBUTES = [
  VOLUME_ATTRIBUTE,
  NAMESPACE_ATTRIBUTE,
  NODE_ATTRIBUTE,
  OPERATION_ATTRIBUTE,
  PHASE_ATTRIBUTE,
] as const;
