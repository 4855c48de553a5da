import { volumePath } from '../../client/api.js';
import type { ApiDeployment, ApiNode, ApiVolume } from '../../client/types.js';
import { type Context, confirm } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { waitUntil } from '../progress.js';
import { copyOn, replicaState, syncProgress } from '../volume-output.js';

function copyIfAny(volume: ApiVolume, node: ApiNode): ApiDeployment | undefined {
  return [volume.master, ...(volume.replicas ?? [])].find(({ nodeID }) => nodeID === node.id);
}

/** Errors: CliError('not found'). */
async function current({ client }: Context, volume: ApiVolume): Promise<ApiVolume> {
  const now = await client.volumeNow(volume);
  if (now === undefined) throw new CliError(EXIT.notFound, `volume "${volume.name}" was deleted meanwhile`);
  return now;
}

/**
 * One more copy on the destination; when it is in sync, the volume wants one copy less, and gives up the source's.
 * Every step looks at what is there: given again after an interruption, the command goes on where it was.
 */
export async function moveVolume(
  context: Context,
  [volumeName = '', sourceName = '', destinationName = '']: string[],
): Promise<void> {
  const { client } = context;
  const [{ volume }, source, destination] = await Promise.all([
    client.findVolume(volumeName),
    client.findNode(sourceName),
    client.findNode(destinationName),
  ]);
  const leaving = copyOn(volume, source);
  if (volume.master.id === leaving.id) {
    throw new CliError(EXIT.invalidState, `the copy on ${source.name} is the master, which stays while it serves`);
  }
  await addCopy(context, volume, destination);
  await waitForCopy(context, volume, destination);
  await giveUp(context, volume, source, leaving.id);
  const line = `Volume ${volume.name} (${volume.id}) moved from node ${source.name} to node ${destination.name}.`;
  await confirm(context, line, { volumeID: volume.id, sourceNodeID: source.id, destinationNodeID: destination.id });
}

async function addCopy({ client }: Context, volume: ApiVolume, destination: ApiNode): Promise<void> {
  if (copyIfAny(volume, destination) !== undefined) return;
  await client.request('PUT', volumePath(volume, '/add-deployment-on-node'), {
    query: { 'ignore-version': 'false' },
    body: { nodeID: destination.id, version: volume.version },
  });
}

function waitForCopy(context: Context, volume: ApiVolume, destination: ApiNode): Promise<true> {
  return waitUntil(context, async () => {
    const now = await current(context, volume);
    const copy = copyIfAny(now, destination);
    const ready = copy?.health === 'ready' || now.master.nodeID === destination.id;
    const how = copy?.health === 'syncing' ? syncProgress(copy, now.sizeBytes) : '';
    const text = `copy on ${destination.name}: ${copy?.health ?? 'not placed yet'} ${how}`.trimEnd();
    return { text, ...(ready && { result: true as const }) };
  });
}

async function giveUp(context: Context, volume: ApiVolume, source: ApiNode, deployment: string): Promise<void> {
  const { client } = context;
  const before = await current(context, volume);
  if (copyIfAny(before, source) === undefined) return;
  await client.request('PUT', volumePath(volume, '/preferred-eviction-candidates'), {
    query: { 'ignore-version': 'false' },
    body: { deploymentIDs: [deployment], version: before.version },
  });
  const now = await current(context, volume);
  const { wanted } = replicaState(now);
  // A move that was interrupted after this step has lowered the target already.
  if ((now.replicas ?? []).length <= wanted) {
    await client.request('PUT', volumePath(volume, '/replicas'), {
      query: { 'ignore-version': 'false' },
      body: { replicas: wanted - 1, version: now.version },
    });
  }
  await waitUntil(context, async () => {
    const gone = copyIfAny(await current(context, volume), source) === undefined;
    return { text: `copy on ${source.name}: ${gone ? 'removed' : 'being removed'}`, ...(gone && { result: true }) };
  });
}
