import { ACCEPTED, asyncQuery, type Context, confirm, versionQuery } from '../context.js';

export async function attach(context: Context, [volumeName = '', nodeName = '']: string[]): Promise<void> {
  const { client } = context;
  const [{ namespace, volume }, node] = await Promise.all([client.findVolume(volumeName), client.findNode(nodeName)]);
  const { status } = await client.request('POST', `/namespaces/${namespace.id}/volumes/${volume.id}/attach`, {
    body: { nodeID: node.id },
  });
  const line = `Volume ${volume.name} (${volume.id}) attached to node ${node.name} (${node.id}).`;
  await confirm(context, status === 202 ? ACCEPTED : line, { volumeID: volume.id, nodeID: node.id });
}

export async function detach(
  context: Context,
  [volumeName = '']: string[],
  flags: { readonly async?: boolean; readonly cas?: string },
): Promise<void> {
  const { client } = context;
  const { namespace, volume } = await client.findVolume(volumeName);
  const { status } = await client.request('DELETE', `/namespaces/${namespace.id}/volumes/${volume.id}/attach`, {
    query: { ...versionQuery(flags.cas), ...asyncQuery(context, flags.async) },
  });
  const line = `Volume ${volume.name} (${volume.id}) detached.`;
  await confirm(context, status === 202 ? ACCEPTED : line, { volumeID: volume.id });
}
