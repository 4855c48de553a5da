import { setCurrentDetails } from '@temporalio/workflow';
import type { Epoch, VolumeId } from '../core/types.js';
import { awaitServing, namePrimary } from './calls.js';
import { failure } from './failures.js';
import { SERVING_TIMEOUT_MS } from './options.js';

export interface FailoverInput {
  readonly volume: VolumeId;
  /** Epoch of the record whose primary is to be replaced; another one makes this a no-op. */
  readonly epoch: Epoch;
  readonly reason: string;
  /** The primary answers; it is to be replaced although it may be on its way. */
  readonly stalled?: boolean;
}

/**
 * Names a new primary, which may be the restarted old one, and waits until it serves. Fails with
 * 'node-unavailable' if there is no candidate yet, or if it does not serve in time: the volume's workflow
 * looks again, and tries anew under the epoch that it then finds.
 */
export async function Failover({ volume, epoch, reason, stalled = false }: FailoverInput): Promise<void> {
  setCurrentDetails(`Because ${reason}: asking the in-sync copies`);
  const named = await namePrimary({ volume, epoch, stalled });
  if (named.outcome === 'wait') {
    setCurrentDetails(`Not possible yet: ${named.reason}`);
    throw failure('node-unavailable', named.reason);
  }
  const state = named.outcome === 'named' ? 'named, waiting until it serves' : 'is there already';
  setCurrentDetails(`Primary of epoch ${named.epoch} on node ${named.node}: ${state}`);
  if (!(await awaitServing({ volume, epoch: named.epoch, timeoutMs: SERVING_TIMEOUT_MS }))) {
    throw failure('node-unavailable', `the primary on node ${named.node} does not serve yet`);
  }
  setCurrentDetails(`The primary on node ${named.node} serves, epoch ${named.epoch} or later`);
}
