import { ApiError } from '../../client/errors.js';
import type { ApiCluster, ApiLicence, ApiNamespace, ApiNode, ApiUser, ApiVolume } from '../../client/types.js';
import { type Context, show } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { matchesSelectors } from '../format.js';
import { describeNode, nodeJson, nodeTable, nodeYaml } from '../node-output.js';
import {
  clusterFields,
  clusterJson,
  describeCluster,
  describeNamespace,
  licenceFields,
  namespaceTable,
  userJson,
  userTable,
} from '../other-output.js';
import { describeVolume, type NamedVolume, nameVolumes, volumeJson, volumeTable } from '../volume-output.js';

export interface SelectionFlags {
  readonly selector?: readonly string[];
  readonly allNamespaces?: boolean;
}

/** All objects, those with the labels, or those that are named, in the order of the names. */
function select<T extends { readonly id: string; readonly labels?: Readonly<Record<string, string>> | null }>(
  { client }: Context,
  noun: string,
  all: readonly T[],
  nameOf: (item: T) => string,
  references: readonly string[],
  flags: SelectionFlags,
): T[] {
  const selectors = flags.selector ?? [];
  if (references.length > 0 && selectors.length > 0) {
    throw new CliError(EXIT.invalidInput, 'give either the names of targets or a selector, not both');
  }
  if (references.length > 0) return references.map((reference) => client.find(noun, reference, all, nameOf));
  return all.filter((item) => matchesSelectors(item.labels ?? {}, selectors));
}

/** One object that was named is shown as itself, everything else as a list. */
function oneOrMany<T>(references: readonly string[], items: readonly T[]): T | readonly T[] {
  const [only] = items;
  return references.length === 1 && only !== undefined ? only : items;
}

const separated = (parts: readonly string[]) => parts.join('\n\n');

/** Namespaces that may not be read are left out, as the user did not ask for them by name. */
async function volumesOfAll({ client }: Context, namespaces: readonly ApiNamespace[]): Promise<ApiVolume[]> {
  const lists = await Promise.all(
    namespaces.map(({ id }) =>
      client.volumes(id).catch((error) => {
        if (error instanceof ApiError && error.status === 403) return [];
        throw error;
      }),
    ),
  );
  return lists.flat();
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
    select(context, 'volume', volumes, (volume) => volume.name, references, flags),
    namespaces,
    nodes,
  );
}

export async function getVolumes(context: Context, names: string[], flags: SelectionFlags): Promise<void> {
  const volumes = await selectVolumes(context, names, flags);
  const json = oneOrMany(names, volumes.map(volumeJson));
  await show(context, { text: () => volumeTable(volumes, context.nowMs), json });
}

export async function describeVolumes(context: Context, names: string[], flags: SelectionFlags): Promise<void> {
  const volumes = await selectVolumes(context, names, flags);
  const json = oneOrMany(names, volumes.map(volumeJson));
  await show(context, {
    text: () => separated(volumes.map((volume) => describeVolume(volume, context.nowMs))),
    json,
  });
}

async function selectNodes(context: Context, names: readonly string[], flags: SelectionFlags): Promise<ApiNode[]> {
  return select(context, 'node', await context.client.nodes(), (node) => node.name, names, flags);
}

export async function getNodes(context: Context, names: string[], flags: SelectionFlags): Promise<void> {
  const nodes = await selectNodes(context, names, flags);
  await show(context, {
    text: () => nodeTable(nodes, context.nowMs),
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
    text: () => separated(nodes.map((node) => describeNode(node, volumes, context.nowMs))),
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
  return select(context, 'namespace', await context.client.namespaces(), (item) => item.name, names, flags);
}

export async function getNamespaces(context: Context, names: string[], flags: SelectionFlags): Promise<void> {
  const namespaces = await selectNamespaces(context, names, flags);
  await show(context, {
    text: () => namespaceTable(namespaces, context.nowMs),
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

export async function getUsers(context: Context, names: string[]): Promise<void> {
  const all = await context.client.get<ApiUser[]>('/users');
  const users = select(context, 'user', all, (user) => user.username, names, {});
  await show(context, {
    text: () => userTable(users, context.nowMs),
    json: oneOrMany(names, users.map(userJson)),
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

export async function getLicence(context: Context): Promise<void> {
  const licence = await context.client.get<ApiLicence>('/cluster/licence');
  await show(context, { text: () => licenceFields(licence, context.nowMs), json: licence });
}
