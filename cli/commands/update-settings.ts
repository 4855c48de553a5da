/** Changes of everything but volumes. */

import type { ApiCluster, ApiNamespace, ApiNode, ApiPolicyGroup, ApiUser } from '../../client/types.js';
import { type Context, show, versionOf } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { isReserved, type LabelChange, updatedLabels } from '../labels.js';
import { nodeJson, nodeTable } from '../node-output.js';
import { clusterJson, describeCluster, wideNamespaceTable } from '../other-output.js';
import {
  askNewPassword,
  checkPassword,
  groupIds,
  knownGroups,
  parseRules,
  showPolicyGroup,
  showUser,
} from './access.js';
import type { UpdateFlags } from './update.js';

export async function updateNamespaceLabels(
  context: Context,
  [name = '', ...args]: string[],
  flags: UpdateFlags & LabelChange,
): Promise<void> {
  const { client } = context;
  const namespace = await client.findNamespace(name);
  const { body } = await client.request<ApiNamespace>('PUT', `/namespaces/${namespace.id}`, {
    query: { 'ignore-version': 'false' },
    body: {
      labels: updatedLabels(namespace.labels ?? {}, args, flags),
      version: flags.cas ?? namespace.version,
    },
  });
  await show(context, { text: () => wideNamespaceTable([body], context.nowMs), json: body });
}

async function showNode(context: Context, node: ApiNode): Promise<void> {
  await show(context, { text: () => nodeTable([node], context), json: nodeJson(node) });
}

/** Reserved labels are kept by the API, and have their own commands. */
export async function updateNodeLabels(
  context: Context,
  [name = '', ...args]: string[],
  flags: UpdateFlags & LabelChange,
): Promise<void> {
  const { client } = context;
  const node = await client.findNode(name);
  const own = Object.fromEntries(Object.entries(node.labels ?? {}).filter(([key]) => !isReserved(key)));
  const { body } = await client.request<ApiNode>('PUT', `/nodes/${node.id}`, {
    body: { labels: updatedLabels(own, args, flags), version: flags.cas ?? node.version },
  });
  await showNode(context, body);
}

export async function updateNodeComputeOnly(
  context: Context,
  [name = '', value = '']: string[],
  flags: UpdateFlags,
): Promise<void> {
  if (value !== 'true' && value !== 'false') throw new CliError(EXIT.invalidInput, `"${value}": not true or false`);
  await changeNode(context, name, 'compute-only', { computeOnly: value === 'true' }, flags);
}

async function changeNode(context: Context, name: string, what: string, change: object, flags: UpdateFlags) {
  const { client } = context;
  const { id } = await client.findNode(name);
  const { query, version } = versionOf(flags.cas);
  const { body } = await client.request<ApiNode>('PUT', `/nodes/${id}/${what}`, {
    query,
    body: { ...change, ...version },
  });
  await showNode(context, body);
}

export function cordon(context: Context, [name = '']: string[], flags: UpdateFlags): Promise<void> {
  return changeNode(context, name, 'cordon', { cordoned: true }, flags);
}

export function uncordon(context: Context, [name = '']: string[], flags: UpdateFlags): Promise<void> {
  return changeNode(context, name, 'cordon', { cordoned: false }, flags);
}

export interface UpdateUserFlags extends UpdateFlags {
  readonly withPassword?: string;
  readonly askPassword?: boolean;
  readonly withAdmin?: boolean;
  readonly withGroups?: readonly string[];
}

export async function updateUser(context: Context, [name = '']: string[], flags: UpdateUserFlags): Promise<void> {
  const { client } = context;
  const { withPassword, askPassword = false, withAdmin, withGroups } = flags;
  if (withPassword === undefined && !askPassword && withAdmin === undefined && withGroups === undefined) {
    throw new CliError(EXIT.invalidInput, 'nothing to change: give --with-password, --with-admin or --with-groups');
  }
  // Before the change: a new password of one's own ends this session.
  const [user, known] = await Promise.all([client.findUser(name), knownGroups(client)]);
  const password = withPassword === undefined && askPassword ? await askNewPassword(context) : withPassword;
  const secret = password === undefined ? {} : { password: checkPassword(password) };
  const version = flags.cas ?? user.version;
  // The own account has a path of its own, which changes its password and nothing else.
  const self = user.username === client.settings.username && withAdmin === undefined && withGroups === undefined;
  const { body } = await client.request<ApiUser>('PUT', self ? '/users/self' : `/users/${user.id}`, {
    query: { 'ignore-version': 'false' },
    body: self
      ? { ...secret, version }
      : {
          ...secret,
          isAdmin: withAdmin ?? user.isAdmin,
          groups: withGroups === undefined ? (user.groups ?? []) : await groupIds(client, withGroups),
          version,
        },
  });
  await showUser(context, body, known);
}

export async function updatePolicyGroup(
  context: Context,
  [name = '']: string[],
  flags: UpdateFlags & { readonly rules: readonly string[] },
): Promise<void> {
  const { client } = context;
  const group = await client.findPolicyGroup(name);
  const { body } = await client.request<ApiPolicyGroup>('PUT', `/policies/${group.id}`, {
    query: { 'ignore-version': 'false' },
    body: { specs: await parseRules(client, flags.rules), version: flags.cas ?? group.version },
  });
  await showPolicyGroup(context, body);
}

export interface ClusterFlags extends UpdateFlags {
  readonly logLevel?: string;
  readonly logFormat?: string;
  readonly telemetry?: string;
  readonly crashReporting?: string;
  readonly versionCheck?: string;
}

/** Whether it is off after the change. Errors: CliError. */
function isDisabled(flag: string, value: string | undefined, current: boolean): boolean {
  if (value === undefined) return current;
  if (value !== 'on' && value !== 'off')
    throw new CliError(EXIT.invalidInput, `--${flag}: "${value}" is not on or off`);
  return value === 'off';
}

export async function updateCluster(context: Context, _: string[], flags: ClusterFlags): Promise<void> {
  const { client } = context;
  const [cluster, nodes] = await Promise.all([client.get<ApiCluster>('/cluster'), client.nodes()]);
  const { body } = await client.request<ApiCluster>('PUT', '/cluster', {
    query: { 'ignore-version': 'false' },
    body: {
      disableTelemetry: isDisabled('telemetry', flags.telemetry, cluster.disableTelemetry),
      disableCrashReporting: isDisabled('crash-reporting', flags.crashReporting, cluster.disableCrashReporting),
      disableVersionCheck: isDisabled('version-check', flags.versionCheck, cluster.disableVersionCheck),
      logLevel: flags.logLevel ?? cluster.logLevel,
      logFormat: flags.logFormat ?? cluster.logFormat,
      version: flags.cas ?? cluster.version,
    },
  });
  await show(context, { text: () => describeCluster(body, nodes, context.nowMs), json: clusterJson(body, nodes) });
}
