/** Users and policy groups. */

import { ApiError } from '../../client/errors.js';
import type { ApiNamespace, ApiPolicyGroup, ApiPolicySpec, ApiUser } from '../../client/types.js';
import {
  describePolicyGroup,
  describeUser,
  policyGroupJson,
  policyGroupTable,
  userJson,
  userTable,
} from '../access-output.js';
import type { Client } from '../client.js';
import { type Context, confirm, show, versionQuery } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { oneOrMany, select } from '../selection.js';
import type { DeleteFlags } from './delete.js';

const MIN_PASSWORD_CHARS = 8;
const ALL = '*';

/** Those that the user may see; the names of others are not known. */
export async function knownGroups(client: Client): Promise<readonly ApiPolicyGroup[]> {
  try {
    return await client.policyGroups();
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) return [];
    throw error;
  }
}

async function selectUsers(context: Context, names: readonly string[]) {
  const { client } = context;
  const [all, groups] = await Promise.all([client.users(), knownGroups(client)]);
  const users = select(client, 'user', all, (user) => user.username, names);
  return { users, groups };
}

export async function getUsers(context: Context, names: string[]): Promise<void> {
  const { users, groups } = await selectUsers(context, names);
  await show(context, {
    text: () => userTable(users, groups, context.nowMs),
    json: oneOrMany(
      names,
      users.map((user) => userJson(user, groups)),
    ),
  });
}

export async function describeUsers(context: Context, names: string[]): Promise<void> {
  const { users, groups } = await selectUsers(context, names);
  await show(context, {
    text: () => users.map((user) => describeUser(user, groups, context.nowMs)).join('\n\n'),
    json: oneOrMany(
      names,
      users.map((user) => userJson(user, groups)),
    ),
  });
}

async function selectGroups(context: Context, names: readonly string[]) {
  const { client } = context;
  const [all, namespaces] = await Promise.all([client.policyGroups(), client.namespaces()]);
  return { groups: select(client, 'policy group', all, (group) => group.name, names), namespaces };
}

export async function getPolicyGroups(context: Context, names: string[]): Promise<void> {
  const { groups, namespaces } = await selectGroups(context, names);
  await show(context, {
    text: () => policyGroupTable(groups, context.nowMs),
    json: oneOrMany(
      names,
      groups.map((group) => policyGroupJson(group, namespaces)),
    ),
  });
}

export async function describePolicyGroups(context: Context, names: string[]): Promise<void> {
  const { groups, namespaces } = await selectGroups(context, names);
  await show(context, {
    text: () => groups.map((group) => describePolicyGroup(group, namespaces, context.nowMs)).join('\n\n'),
    json: oneOrMany(
      names,
      groups.map((group) => policyGroupJson(group, namespaces)),
    ),
  });
}

/* ---- changes ---- */

export interface UserFlags {
  readonly withUsername?: string;
  readonly withPassword?: string;
  readonly withAdmin?: boolean;
  readonly withGroups?: readonly string[];
}

/** Errors: CliError for one that is too short. */
export function checkPassword(password: string): string {
  if (password.length < MIN_PASSWORD_CHARS) {
    throw new CliError(EXIT.invalidInput, `a password has at least ${MIN_PASSWORD_CHARS} characters`);
  }
  return password;
}

/** Errors: CliError where nobody can be asked, or what was typed differs. */
export async function askNewPassword({ askSecretly }: Context): Promise<string> {
  if (askSecretly === undefined) {
    throw new CliError(EXIT.invalidInput, 'give --with-password: there is no terminal on which it could be asked for');
  }
  const password = checkPassword(await askSecretly('Password: '));
  if ((await askSecretly('Again: ')) !== password) throw new CliError(EXIT.invalidInput, 'the passwords differ');
  return password;
}

/** Ids of the groups that the flag names. */
export async function groupIds(client: Client, names: readonly string[]): Promise<string[]> {
  const wanted = names.flatMap((part) => part.split(',')).filter((name) => name !== '');
  if (wanted.length === 0) return [];
  const all = await client.policyGroups();
  return wanted.map((name) => client.find('policy group', name, all, (group) => group.name).id);
}

export async function createUser(context: Context, _: string[], flags: UserFlags): Promise<void> {
  const { client } = context;
  const { withUsername: username } = flags;
  if (username === undefined) throw new CliError(EXIT.invalidInput, 'give --with-username');
  const password = flags.withPassword === undefined ? await askNewPassword(context) : checkPassword(flags.withPassword);
  const groups = await groupIds(client, flags.withGroups ?? []);
  const { body } = await client.request<ApiUser>('POST', '/users', {
    body: { username, password, isAdmin: flags.withAdmin ?? false, groups },
    creating: true,
  });
  await showUser(context, body, await knownGroups(client));
}

/** Errors: CliError for anything but `namespace:resource:r`, `:w` and `:rw`. */
export function parseRule(client: Client, text: string, namespaces: readonly ApiNamespace[]): ApiPolicySpec {
  const match = /^([^:]+):([^:]+):(r|w|rw)$/.exec(text);
  if (match === null) {
    throw new CliError(EXIT.invalidInput, `rule "${text}": write namespace:resource:r, :w or :rw`);
  }
  const [, namespace = '', resourceType = '', mode] = match;
  const namespaceID = namespace === ALL ? ALL : client.find('namespace', namespace, namespaces, (item) => item.name).id;
  return { namespaceID, resourceType, readOnly: mode === 'r' };
}

export async function parseRules(client: Client, rules: readonly string[]): Promise<ApiPolicySpec[]> {
  const parts = rules.flatMap((rule) => rule.split(',')).filter((rule) => rule !== '');
  if (parts.length === 0) return [];
  const namespaces = await client.namespaces();
  return parts.map((part) => parseRule(client, part, namespaces));
}

export async function createPolicyGroup(
  context: Context,
  [name = '']: string[],
  flags: { readonly rules?: readonly string[] },
): Promise<void> {
  const { client } = context;
  const specs = await parseRules(client, flags.rules ?? []);
  const { body } = await client.request<ApiPolicyGroup>('POST', '/policies', { body: { name, specs }, creating: true });
  await showPolicyGroup(context, body);
}

export async function showPolicyGroup(context: Context, group: ApiPolicyGroup): Promise<void> {
  const namespaces = await context.client.namespaces();
  await show(context, {
    text: () => policyGroupTable([group], context.nowMs),
    json: policyGroupJson(group, namespaces),
  });
}

export async function showUser(context: Context, user: ApiUser, groups: readonly ApiPolicyGroup[]): Promise<void> {
  await show(context, { text: () => userTable([user], groups, context.nowMs), json: userJson(user, groups) });
}

export async function deleteUser(context: Context, [name = '']: string[], flags: DeleteFlags): Promise<void> {
  const { client } = context;
  const user = await client.findUser(name);
  // Another path for the own account: the API has it so.
  const self = user.username === client.settings.username;
  await client.request('DELETE', self ? '/users/self' : `/users/${user.id}`, { query: versionQuery(flags.cas) });
  await confirm(context, `Deleted user ${user.username} (${user.id}).`, { userID: user.id });
}

export async function deletePolicyGroup(context: Context, [name = '']: string[], flags: DeleteFlags): Promise<void> {
  const { client } = context;
  const group = await client.findPolicyGroup(name);
  await client.request('DELETE', `/policies/${group.id}`, { query: versionQuery(flags.cas) });
  await confirm(context, `Deleted policy group ${group.name} (${group.id}).`, { policyGroupID: group.id });
}
