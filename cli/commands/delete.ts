import { ACCEPTED, asyncQuery, type Context, confirm, versionQuery } from '../context.js';

export interface DeleteFlags {
  readonly async?: boolean;
  readonly cas?: string;
  readonly offlineDelete?: boolean;
}

export async function deleteVolume(context: Context, [name = '']: string[], flags: DeleteFlags): Promise<void> {
  const { client } = context;
  const { namespace, volume } = await client.findVolume(name);
  const { status } = await client.request('DELETE', `/namespaces/${namespace.id}/volumes/${volume.id}`, {
    query: {
      ...versionQuery(flags.cas),
      'offline-delete': String(flags.offlineDelete ?? false),
      ...asyncQuery(context, flags.async),
    },
  });
  const line = `Deleted volume ${volume.name} (${volume.id}) from namespace ${namespace.name} (${namespace.id}).`;
  await confirm(context, status === 202 ? ACCEPTED : line, { volumeID: volume.id, namespaceID: namespace.id });
}

export async function deleteNamespace(context: Context, [name = '']: string[], flags: DeleteFlags): Promise<void> {
  const { client } = context;
  const namespace = client.find('namespace', name, await client.namespaces(), (item) => item.name);
  await client.request('DELETE', `/namespaces/${namespace.id}`, { query: versionQuery(flags.cas) });
  await confirm(context, `Deleted namespace ${namespace.name} (${namespace.id}).`, { namespaceID: namespace.id });
}

export async function deleteNode(context: Context, [name = '']: string[], flags: DeleteFlags): Promise<void> {
  const { client } = context;
  const node = await client.findNode(name);
  const { status } = await client.request('DELETE', `/nodes/${node.id}`, {
    query: { ...versionQuery(flags.cas), ...asyncQuery(context, flags.async) },
  });
  const line = `Deleted node ${node.name} (${node.id}).`;
  await confirm(context, status === 202 ? ACCEPTED : line, { nodeID: node.id });
}
