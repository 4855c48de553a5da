import { ApiError } from '../../client/errors.js';
import type { ApiCluster, ApiNamespace, ApiNode, ApiVolume } from '../../client/types.js';
import { type Context, show } from '../context.js';
import { askCopies } from '../copies.js';
import { describeNode, nodeJson, nodeTable, nodeYaml, wideNodeTable } from '../node-output.js';
import {
  clusterFields,
  clusterJson,
  describeCluster,
  describeNamespace,
  namespaceTable,
  wideNamespaceTable,
} from '../other-output.js';
import { oneOrMany, type SelectionFlags, select } from '../selection.js';
import {
  describeVolume,
  type NamedVolume,
  nameVolumes,
  volumeJson,
  volumeTable,
  wideVolumeTable,
} from '../volume-output.js';

const separated = (parts: readonly string[]) => parts.join('\n\n');

/** Namespaces that are asked for their volumes at the same time. */
const MAX_PARALLEL_LISTS = 16;

/** Namespaces that may not be read are left out, as the user did not ask for them by name. */
async function volumesOfAll({ client }: Context, namespaces: readonly ApiNamespace[]): Promise<ApiVolume[]> {
  const volumes: ApiVolume[] = [];
  for (let first = 0; first < namespaces.length; first += MAX_PARALLEL_LISTS) {
    const lists = namespaces.slice(first, first + MAX_PARALLEL_LISTS).map(({ id }) =>
      client.volumes(id).catch((error) => {
        if (error instanceof ApiError && error.status === 403) return [];
        throw error;
      }),
    );
    for (const list of await Promise.all(lists)) volumes.push(...list);
  }
  return volumes;
}

async function selectVolumes(
  context: Context,
  references: readonly string[],
  flags: SelectionFlags,
): Promise<NamedVolume[]> {
  const { client } = context;
  const [namespaces, nodes] = await Promise.all([client.namespaces(), client.nodes()]);
  const within =
    flags.allNamespaces === true
      ? namespaces
      : [client.find('namespace', client.settings.namespace, namespaces, (item) => item.name)];
  const volumes = await volumesOfAll(context, within);
  return nameVolumes(
    select(context.client, 'volume', volumes, (volume) => volume.name, references, flags),
    namespaces,
    nodes,
  );
}

export async function getVolumes(context: Context, names: string[], flags: SelectionFlags): Promise<void> {
  const volumes = await selectVolumes(context, names, flags);
  const json = oneOrMany(names, volumes.map(volumeJson));
  await show(context, {
    text: () => volumeTable(volumes, context),
    wide: () => wideVolumeTable(volumes, context),
    json,
  });
}

export async function describeVolumes(context: Context, names: string[], flags: SelectionFlags): Promise<void> {
  const volumes = await askCopies(context.client, await selectVolumes(context, names, flags));
  const json = oneOrMany(names, volumes.map(volumeJson));
  await show(context, {
    text: () => separated(volumes.map((volume) => describeVolume(volume, context.nowMs))),
    json,
  });
}

async function selectNodes(context: Context, names: readonly string[], flags: SelectionFlags): Promise<ApiNode[]> {
  return select(context.client, 'node', await context.client.nodes(), (node) => node.name, names, flags);
}

export async function getNodes(context: Context, names: string[], flags: SelectionFlags): Promise<void> {
  const nodes = await selectNodes(context, names, flags);
  await show(context, {
    text: () => nodeTable(nodes, context),
    wide: () => wideNodeTable(nodes, context),
    json: oneOrMany(
      names,
      nodes.map((node) => nodeJson(node)),
    ),
    yaml: oneOrMany(
      names,
      nodes.map((node) => nodeYaml(node)),
    ),
  });
}

export async function describeNodes(context: Context, names: string[], flags: SelectionFlags): Promise<void> {
  const nodes = await selectNodes(context, names, flags);
  const [namespaces, all] = await Promise.all([context.client.namespaces(), context.client.nodes()]);
  const volumes = nameVolumes(await volumesOfAll(context, namespaces), namespaces, all);
  await show(context, {
    text: () => separated(nodes.map((node) => describeNode(node, volumes, context))),
    json: oneOrMany(
      names,
      nodes.map((node) => nodeJson(node, volumes)),
    ),
    yaml: oneOrMany(
      names,
      nodes.map((node) => nodeYaml(node, volumes)),
    ),
  });
}

async function selectNamespaces(context: Context, names: readonly string[], flags: SelectionFlags) {
  return select(context.client, 'namespace', await context.client.namespaces(), (item) => item.name, names, flags);
}

export async function getNamespaces(context: Context, names: string[], flags: SelectionFlags): Promise<void> {
  const namespaces = await selectNamespaces(context, names, flags);
  await show(context, {
    text: () => namespaceTable(namespaces, context.nowMs),
    wide: () => wideNamespaceTable(namespaces, context.nowMs),
    json: oneOrMany(names, namespaces),
  });
}

export async function describeNamespaces(context: Context, names: string[]): Promise<void> {
  const namespaces = await selectNamespaces(context, names, {});
  await show(context, {
    text: () => separated(namespaces.map((namespace) => describeNamespace(namespace, context.nowMs))),
    json: oneOrMany(names, namespaces),
  });
}

export async function getCluster(context: Context): Promise<void> {
  const { client, nowMs } = context;
  const [cluster, nodes] = await Promise.all([client.get<ApiCluster>('/cluster'), client.nodes()]);
  await show(context, { text: () => clusterFields(cluster, nodes, nowMs), json: clusterJson(cluster, nodes) });
}

export async function describeClusterCommand(context: Context): Promise<void> {
  const { client, nowMs } = context;
  const [cluster, nodes] = await Promise.all([client.get<ApiCluster>('/cluster'), client.nodes()]);
  await show(context, { text: () => describeCluster(cluster, nodes, nowMs), json: clusterJson(cluster, nodes) });
}
