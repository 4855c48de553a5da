import { setCurrentDetails } from '@temporalio/workflow';
import type { VolumeId } from '../core/types.js';
import { onNode, records } from './calls.js';
import { failureCode } from './failures.js';

export interface DetachVolumeInput {
  readonly volume: VolumeId;
}

/**
 * Takes a volume from its node: closed there first, so that nothing that was written is left behind, then
 * fenced by a higher generation. A node that is away is fenced only.
 */
export async function DetachVolume({ volume }: DetachVolumeInput): Promise<void> {
  const before = await records.readAttachment({ volume });
  if (before.node === undefined) {
    setCurrentDetails('Detached already');
    return;
  }
  const { node, generation } = before;
  if (await records.isNodeAlive({ node })) {
    setCurrentDetails('Closing device and frontend');
    try {
      await onNode(node).closeAttachment({ volume, generation });
    } catch (error) {
      // Gone meanwhile: fenced like any node that is away. Anything else, such as a busy filesystem, is told.
      if (failureCode(error) !== 'node-unavailable' || (await records.isNodeAlive({ node }))) throw error;
    }
  }
  setCurrentDetails('Raising the generation');
  await records.moveAttachment({ volume, expected: generation });
  setCurrentDetails('Detached');
}
