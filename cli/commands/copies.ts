/** What is done with single copies of a volume. */

import { volumePath } from '../../client/api.js';
import type { ApiNode, ApiVolume } from '../../client/types.js';
import type { Client } from '../client.js';
import { ACCEPTED, type Context, confirm } from '../context.js';
import { copyOn } from '../volume-output.js';

/** Removes the volume's copy from the node; another one takes its place if one is wanted. */
export async function evictCopy(client: Client, volume: ApiVolume, node: ApiNode): Promise<string> {
  const { id } = copyOn(volume, node);
  await client.request('DELETE', volumePath(volume, `/debug/evict/${id}`));
  return id;
}

/** Makes the volume's copy on the node its master. */
export async function promoteCopy(client: Client, volume: ApiVolume, node: ApiNode): Promise<string> {
  const { id } = copyOn(volume, node);
  await client.request('PUT', volumePath(volume, `/debug/attempt-replica-promotion/${id}`));
  return id;
}

export async function evict(context: Context, [volumeName = '', nodeName = '']: string[]): Promise<void> {
  const { client } = context;
  const [{ volume }, node] = await Promise.all([client.findVolume(volumeName), client.findNode(nodeName)]);
  const deploymentID = await evictCopy(client, volume, node);
  await confirm(context, ACCEPTED, { volumeID: volume.id, nodeID: node.id, deploymentID });
}

export async function promote(context: Context, [volumeName = '', nodeName = '']: string[]): Promise<void> {
  const { client } = context;
  const [{ volume }, node] = await Promise.all([client.findVolume(volumeName), client.findNode(nodeName)]);
  const deploymentID = await promoteCopy(client, volume, node);
  await confirm(context, ACCEPTED, { volumeID: volume.id, nodeID: node.id, deploymentID });
}
