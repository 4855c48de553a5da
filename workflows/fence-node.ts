import { executeChild, setCurrentDetails } from '@temporalio/workflow';
import { records } from './calls.js';
import { childOptions } from './children.js';
import { DetachVolume } from './detach-volume.js';
import { failureCode } from './failures.js';
import type { FenceNodeInput } from './names.js';

/**
 * A node is said to have failed. Every volume with a copy there is looked at: each decides for itself whether
 * to fail over. With `detach`, and only if the node is not alive, what is attached there is detached, which
 * fences whoever still writes on it.
 */
export async function FenceNode({ node, reason, detach }: FenceNodeInput): Promise<void> {
  setCurrentDetails(`Because ${reason}: waking the volumes that have a copy there`);
  const { volumes, attached } = await records.affectedByNode({ node });
  const affected = [...new Set([...volumes, ...attached])];
  await records.wakeVolumes({ volumes: affected, reason: `node ${node}: ${reason}` });
  if (!detach) {
    setCurrentDetails(`Woke ${affected.length} volumes`);
    return;
  }
  if (await records.isNodeAlive({ node })) {
    setCurrentDetails('The node is alive: nothing is detached');
    return;
  }
  setCurrentDetails(`Detaching ${attached.length} volumes`);
  const outcomes = await Promise.allSettled(
    attached.map((volume) =>
      executeChild(DetachVolume, {
        ...childOptions({
          volume,
          type: 'DetachVolume',
          operation: 'detach',
          node,
          summary: `Fence the failed node ${node}`,
        }),
        args: [{ volume }],
      }),
    ),
  );
  const failed = outcomes.filter(
    (outcome) => outcome.status === 'rejected' && failureCode(outcome.reason) !== 'not-found',
  );
  setCurrentDetails(`Detached ${outcomes.length - failed.length} of ${outcomes.length} volumes`);
  const first = failed[0];
  if (first?.status === 'rejected') throw first.reason;
}
