/** Namespaces, the cluster and its licence as text and JSON. */

import type { ApiCluster, ApiLicence, ApiNamespace, ApiNode } from '../client/types.js';
import { formatAge, formatBytes, formatFields, formatTable, formatTime, labelLines } from './format.js';
import { nodeJson } from './node-output.js';

export function namespaceTable(namespaces: readonly ApiNamespace[], nowMs: number): string {
  return formatTable(
    ['NAME', 'AGE'],
    namespaces.map((namespace) => [namespace.name, formatAge(namespace.createdAt, nowMs)]),
  );
}

export function wideNamespaceTable(namespaces: readonly ApiNamespace[], nowMs: number): string {
  return formatTable(
    ['NAME', 'AGE', 'ID', 'LABELS'],
    namespaces.map((namespace) => [
      namespace.name,
      formatAge(namespace.createdAt, nowMs),
      namespace.id,
      labelLines(namespace.labels).join(','),
    ]),
  );
}

export function describeNamespace(namespace: ApiNamespace, nowMs: number): string {
  return formatFields([
    ['ID', namespace.id],
    ['Name', namespace.name],
    ['Labels', labelLines(namespace.labels)],
    ['Version', namespace.version],
    ['Created at', formatTime(namespace.createdAt, nowMs)],
    ['Updated at', formatTime(namespace.updatedAt, nowMs)],
  ]);
}

export function clusterFields(cluster: ApiCluster, nodes: readonly ApiNode[], nowMs: number): string {
  const healthy = nodes.filter(({ health }) => health === 'online').length;
  return formatFields([
    ['ID:', cluster.id],
    ['Created at:', formatTime(cluster.createdAt, nowMs)],
    ['Updated at:', formatTime(cluster.updatedAt, nowMs)],
    ['Nodes:', String(nodes.length)],
    ['  Healthy:', String(healthy)],
    ['  Unhealthy:', String(nodes.length - healthy)],
  ]);
}

export function describeCluster(cluster: ApiCluster, nodes: readonly ApiNode[], nowMs: number): string {
  const enabled = (disabled: boolean) => (disabled ? 'Disabled' : 'Enabled');
  const fields = formatFields([
    ['ID', cluster.id],
    ['Version', cluster.version],
    ['Created at', formatTime(cluster.createdAt, nowMs)],
    ['Updated at', formatTime(cluster.updatedAt, nowMs)],
    ['Telemetry', enabled(cluster.disableTelemetry)],
    ['Crash Reporting', enabled(cluster.disableCrashReporting)],
    ['Version Check', enabled(cluster.disableVersionCheck)],
    ['Log Level', cluster.logLevel],
    ['Log Format', cluster.logFormat],
  ]);
  const described = nodes.map((node) =>
    formatFields(
      [
        ['ID', node.id],
        ['Name', node.name],
        ['Health', node.health],
        ['Address', node.ioEndpoint],
      ],
      2,
    ),
  );
  return `${fields}\n\nNodes:\n${described.join('\n\n')}`;
}

export function clusterJson(cluster: ApiCluster, nodes: readonly ApiNode[]) {
  return { ...cluster, nodes: nodes.map((node) => nodeJson(node)) };
}

export function licenceFields(licence: ApiLicence, nowMs: number): string {
  return formatFields([
    ['ClusterID:', licence.clusterID],
    ['Expiration:', formatTime(licence.expiresAt, nowMs)],
    ['Capacity:', `${formatBytes(licence.clusterCapacityBytes)} (${licence.clusterCapacityBytes})`],
    ['Used:', `${formatBytes(licence.usedBytes)} (${licence.usedBytes})`],
    ['Kind:', licence.kind],
    ['Features:', `[${(licence.features ?? []).join(' ')}]`],
    ['Customer name:', licence.customerName],
  ]);
}
