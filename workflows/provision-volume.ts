import { CancellationScope, setCurrentDetails, uuid4 } from '@temporalio/workflow';
import type { Placement } from '../core/domain.js';
import type { DeploymentId, VolumeId } from '../core/types.js';
import { awaitServing, erasingOnNode, onNode, records } from './calls.js';
import { failure, rootFailure } from './failures.js';
import { FIRST_SERVING_TIMEOUT_MS } from './options.js';

export interface ProvisionVolumeInput {
  readonly volume: VolumeId;
}

/**
 * From a record to a volume that serves: places the copies, makes them, writes the first membership, and waits
 * for the primary. If a step fails, what was made is unmade, the last first, and the record says why.
 */
export async function ProvisionVolume({ volume }: ProvisionVolumeInput): Promise<void> {
  const compensations: (() => Promise<unknown>)[] = [];
  try {
    const { phase, copies, encryption, placements: placed } = await records.readVolume({ volume });
    if (phase === 'ready') {
      setCurrentDetails('Provisioned already');
      return;
    }
    if (phase === 'deleting') throw failure('invalid-state', `volume ${volume} is being deleted`);
    setCurrentDetails('Placing the copies');
    const missing = Array.from({ length: Math.max(0, copies - placed.length) }, () => uuid4() as DeploymentId);
    const deployments = [...placed.map((placement) => placement.deployment), ...missing];
    compensations.push(() => unplace(volume, deployments));
    const placements = await records.placeVolume({ volume, deployments });
    if (encryption) {
      compensations.push(() => records.deleteKey({ volume }));
      await records.createKey({ volume });
    }

    setCurrentDetails(`Making ${placements.length} copies`);
    const created = await Promise.all(
      placements.map(({ deployment, node }) => onNode(node).createDeployment({ volume, deployment })),
    );

    setCurrentDetails('Waiting for the primary to serve');
    compensations.push(() => records.discardMembership({ volume }));
    const { epoch } = await records.initialiseMembership({
      volume,
      placements,
      incarnation: created[0]!.incarnation,
    });
    if (!(await awaitServing({ volume, epoch, timeoutMs: FIRST_SERVING_TIMEOUT_MS }))) {
      throw failure('node-unavailable', 'the new volume did not begin to serve in time');
    }
    await records.setPhase({ volume, phase: 'ready' });
    setCurrentDetails('The volume serves');
  } catch (error) {
    const { type, message } = rootFailure(error);
    setCurrentDetails(`Failed, unmaking what was made: ${message}`);
    await CancellationScope.nonCancellable(async () => {
      for (const compensate of compensations.reverse()) await compensate();
      await records.setPhase({ volume, phase: 'failed', reason: message });
    });
    setCurrentDetails(`Failed (${type}): ${message}`);
    throw error;
  }
}

/** A node that is away erases its copy by the tombstone when it is back. */
async function unplace(volume: VolumeId, deployments: readonly DeploymentId[]): Promise<void> {
  const dropped = await records.dropPlacements({ volume, deployments });
  await erase(dropped);
}

/** Erases copies whose tombstones are there; those whose node is away go when it is back. */
export async function erase(copies: readonly Placement[]): Promise<void> {
  await Promise.allSettled(copies.map(({ deployment, node }) => erasingOnNode(node).eraseDeployment({ deployment })));
}
