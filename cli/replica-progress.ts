/** How a volume comes to the replicas that it is to have. */

import type { ApiVolume } from '../client/types.js';
import type { Context } from './context.js';
import { CliError, EXIT } from './errors.js';
import { waitUntil } from './progress.js';
import { replicaState, syncProgress } from './volume-output.js';

function state(volume: ApiVolume): string {
  const { ready, wanted } = replicaState(volume);
  const copying = (volume.replicas ?? [])
    .filter(({ health }) => health !== 'ready')
    .map((replica) =>
      replica.health === 'syncing' ? `syncing ${syncProgress(replica, volume.sizeBytes)}` : replica.health,
    );
  return [`${volume.name}: ${ready} of ${wanted} replicas in sync`, ...copying].join('; ');
}

/** Resolves with the volume when exactly the replicas are there that it is to have. Errors: CliError, ApiError. */
export async function waitForReplicas(context: Context, volume: ApiVolume): Promise<ApiVolume> {
  return waitUntil(context, async () => {
    const now = await context.client.volumeNow(volume);
    if (now === undefined) throw new CliError(EXIT.notFound, `volume "${volume.name}" was deleted meanwhile`);
    const { ready, wanted } = replicaState(now);
    const settled = ready === wanted && (now.replicas ?? []).length === wanted;
    return { text: state(now), ...(settled && { result: now }) };
  });
}
