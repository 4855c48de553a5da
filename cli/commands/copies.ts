/** What is done with single copies of a volume. */

import { volumePath } from '../../client/api.js';
import { ACCEPTED, type Context, confirm } from '../context.js';
import { copyOn } from '../volume-output.js';

async function withCopy(
  context: Context,
  [volumeName = '', nodeName = '']: string[],
  method: string,
  action: string,
): Promise<void> {
  const { client } = context;
  const [{ volume }, node] = await Promise.all([client.findVolume(volumeName), client.findNode(nodeName)]);
  const { id } = copyOn(volume, node);
  await client.request(method, volumePath(volume, `/debug/${action}/${id}`));
  await confirm(context, ACCEPTED, { volumeID: volume.id, nodeID: node.id, deploymentID: id });
}

/** Removes the volume's copy from the node; another one takes its place if one is wanted. */
export function evict(context: Context, args: string[]): Promise<void> {
  return withCopy(context, args, 'DELETE', 'evict');
}

export function promote(context: Context, args: string[]): Promise<void> {
  return withCopy(context, args, 'PUT', 'attempt-replica-promotion');
}
