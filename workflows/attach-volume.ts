import { CancellationScope, setCurrentDetails } from '@temporalio/workflow';
import type { NodeId, VolumeId } from '../core/types.js';
import { onNode, records } from './calls.js';
import { failure } from './failures.js';

export interface AttachVolumeInput {
  readonly volume: VolumeId;
  readonly node: NodeId;
}

/**
 * Shows a volume on a node. The record's generation rises first, so that whoever had the volume before is
 * refused by every copy; then the node opens frontend and device.
 */
export async function AttachVolume({ volume, node }: AttachVolumeInput): Promise<void> {
  setCurrentDetails('Checking node and volume');
  await records.checkAttachable({ volume, node });
  const before = await records.readAttachment({ volume });
  if (before.node !== undefined && before.node !== node) {
    throw failure('in-use', `volume ${volume} is attached to node ${before.node}; detach it first`);
  }
  if (before.node === node) {
    setCurrentDetails('Opening the device again');
    await onNode(node).openAttachment({ volume, generation: before.generation });
    return;
  }
  const attached = await records.moveAttachment({ volume, expected: before.generation, node });
  try {
    setCurrentDetails('Opening frontend and device');
    const { nbdUri, device } = await onNode(node).openAttachment({ volume, generation: attached.generation });
    setCurrentDetails(`Attached: ${device ?? nbdUri}`);
  } catch (error) {
    setCurrentDetails('Failed, detaching');
    await CancellationScope.nonCancellable(async () => {
      await records.moveAttachment({ volume, expected: attached.generation });
      await onNode(node)
        .closeAttachment({ volume, generation: attached.generation })
        .catch(() => {
          // It is fenced already; a node that is away has nothing open when it is back.
        });
    });
    throw error;
  }
}
