/** Users and policy groups as text and JSON. */

import type { ApiNamespace, ApiPolicyGroup, ApiPolicySpec, ApiUser } from '../client/types.js';
import { formatAge, formatFields, formatTable, formatTime } from './format.js';

function groupName(id: string, groups: readonly ApiPolicyGroup[]): string {
  return groups.find((group) => group.id === id)?.name ?? id;
}

function namespaceName(id: string, namespaces: readonly ApiNamespace[]): string {
  return namespaces.find((namespace) => namespace.id === id)?.name ?? id;
}

export function userTable(users: readonly ApiUser[], groups: readonly ApiPolicyGroup[], nowMs: number): string {
  return formatTable(
    ['NAME', 'ROLE', 'AGE', 'GROUPS'],
    users.map((user) => [
      user.username,
      user.isAdmin ? 'admin' : 'user',
      formatAge(user.createdAt, nowMs),
      (user.groups ?? []).map((id) => groupName(id, groups)).join(','),
    ]),
  );
}

export function describeUser(user: ApiUser, groups: readonly ApiPolicyGroup[], nowMs: number): string {
  return formatFields([
    ['ID', user.id],
    ['Username', user.username],
    ['Admin', String(user.isAdmin)],
    ['Version', user.version],
    ['Created at', formatTime(user.createdAt, nowMs)],
    ['Updated at', formatTime(user.updatedAt, nowMs)],
    ['Policies', (user.groups ?? []).map((id) => `${groupName(id, groups)} (${id})`)],
  ]);
}

export function userJson(user: ApiUser, groups: readonly ApiPolicyGroup[]) {
  return {
    id: user.id,
    username: user.username,
    isAdmin: user.isAdmin,
    groups: (user.groups ?? []).map((id) => ({ id, name: groupName(id, groups) })),
    createdAt: user.createdAt,
    updatedAt: user.updatedAt,
    version: user.version,
  };
}

export function policyGroupTable(groups: readonly ApiPolicyGroup[], nowMs: number): string {
  return formatTable(
    ['NAME', 'USERS', 'SPECS', 'AGE'],
    groups.map((group) => [
      group.name,
      String(group.users?.length ?? 0),
      String(group.specs?.length ?? 0),
      formatAge(group.createdAt, nowMs),
    ]),
  );
}

function specText({ namespaceID, resourceType, readOnly }: ApiPolicySpec, namespaces: readonly ApiNamespace[]): string {
  return `${readOnly ? 'read' : 'write'} ${resourceType} on ${namespaceName(namespaceID, namespaces)}`;
}

export function describePolicyGroup(group: ApiPolicyGroup, namespaces: readonly ApiNamespace[], nowMs: number): string {
  return formatFields([
    ['ID', group.id],
    ['Name', group.name],
    ['Specs', (group.specs ?? []).map((spec) => specText(spec, namespaces))],
    ['Members', (group.users ?? []).map(({ username, id }) => `${username} (${id})`)],
    ['Created at', formatTime(group.createdAt, nowMs)],
    ['Updated at', formatTime(group.updatedAt, nowMs)],
    ['Version', group.version],
  ]);
}

export function policyGroupJson(group: ApiPolicyGroup, namespaces: readonly ApiNamespace[]) {
  return {
    id: group.id,
    name: group.name,
    users: group.users ?? [],
    specs: (group.specs ?? []).map((spec) => ({
      namespaceID: spec.namespaceID,
      namespaceName: namespaceName(spec.namespaceID, namespaces),
      resourceType: spec.resourceType,
      readOnly: spec.readOnly,
    })),
    createdAt: group.createdAt,
    updatedAt: group.updatedAt,
    version: group.version,
  };
}
