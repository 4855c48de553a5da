/** Nodes as text, JSON and YAML. */

import type { ApiNode } from '../client/types.js';
import {
  type Cell,
  formatAge,
  formatBytes,
  formatFields,
  formatTable,
  formatTime,
  healthCell,
  labelLines,
  type View,
} from './format.js';
import { type NamedVolume, volumeJson } from './volume-output.js';

const COLUMNS = ['NAME', 'HEALTH', 'AGE'];

function columns(node: ApiNode, nowMs: number): Cell[] {
  return [node.name, healthCell(node.health), formatAge(node.createdAt, nowMs)];
}

export function nodeTable(nodes: readonly ApiNode[], view: View): string {
  return formatTable(
    COLUMNS,
    nodes.map((node) => columns(node, view.nowMs)),
    view,
  );
}

function bytesCell(bytes: number | undefined): string {
  return bytes === undefined ? 'n/a' : formatBytes(bytes);
}

export function wideNodeTable(nodes: readonly ApiNode[], view: View): string {
  return formatTable(
    [...COLUMNS, 'CORDONED', 'AVAILABLE', 'TOTAL', 'ADDRESS', 'ID', 'LABELS'],
    nodes.map((node) => [
      ...columns(node, view.nowMs),
      node.cordoned === true ? 'yes' : '',
      bytesCell(node.capacity?.available),
      bytesCell(node.capacity?.total),
      node.ioEndpoint,
      node.id,
      labelLines(node.labels).join(','),
    ]),
    view,
  );
}

interface LocalDeployment {
  readonly volume: NamedVolume;
  readonly id: string;
  readonly health: string;
  readonly kind: 'master' | 'replica';
}

/** Copies of volumes that are on the node. */
export function localDeployments(node: ApiNode, volumes: readonly NamedVolume[]): LocalDeployment[] {
  return volumes.flatMap((named) => {
    const { master, replicas } = named.volume;
    const all = [
      { ...master, kind: 'master' as const },
      ...(replicas ?? []).map((replica) => ({ ...replica, kind: 'replica' as const })),
    ];
    return all
      .filter(({ nodeID }) => nodeID === node.id)
      .map(({ id, health, kind }) => ({ volume: named, id, health, kind }));
  });
}

function availableCapacity({ capacity }: ApiNode): string {
  const { total, free, available } = capacity ?? {};
  if (total === undefined || free === undefined || available === undefined) return 'n/a';
  return `${formatBytes(available)} (${formatBytes(total - free)} in use)`;
}

function unusable(copies: number): string {
  return `${copies}, which the node cannot open: its log says why, "storageos debug store" there shows them`;
}

export function describeNode(node: ApiNode, volumes: readonly NamedVolume[], view: View): string {
  const { nowMs } = view;
  const fields = formatFields([
    ['ID', node.id],
    ['Name', node.name],
    ['Health', node.health],
    ['Addresses:', ''],
    ['  Data Transfer address', node.ioEndpoint],
    ['  Gossip address', node.gossipEndpoint],
    ['  Supervisor address', node.supervisorEndpoint],
    ['  Clustering address', node.clusteringEndpoint],
    ['Labels', labelLines(node.labels)],
    ['Created at', formatTime(node.createdAt, nowMs)],
    ['Updated at', formatTime(node.updatedAt, nowMs)],
    ['Version', node.version],
    ['Available capacity', availableCapacity(node)],
    ...(node.cordoned === true ? ([['Cordoned', 'true']] as const) : []),
    ...(node.unusableCopies === undefined ? [] : ([['Unusable copies', unusable(node.unusableCopies)]] as const)),
  ]);
  const local = localDeployments(node, volumes);
  if (local.length === 0) return fields;
  const table = formatTable(
    ['NAMESPACE', 'VOLUME', 'DEPLOYMENT ID', 'HEALTH', 'TYPE', 'SIZE'],
    local.map(({ volume, id, health, kind }) => [
      volume.namespaceName,
      volume.volume.name,
      id,
      healthCell(health),
      kind,
      formatBytes(volume.volume.sizeBytes),
    ]),
    view,
  );
  const indented = table.split('\n').map((line) => `  ${line}`);
  return `${fields}\n\nLocal volume deployments:\n${indented.join('\n')}`;
}

function common(node: ApiNode) {
  return {
    id: node.id,
    name: node.name,
    health: node.health,
    capacity: node.capacity ?? {},
    ioAddress: node.ioEndpoint,
    supervisorAddress: node.supervisorEndpoint,
  };
}

function rest(node: ApiNode) {
  return {
    ...(node.unusableCopies !== undefined && { unusableCopies: node.unusableCopies }),
    labels: node.labels ?? {},
    createdAt: node.createdAt,
    updatedAt: node.updatedAt,
    version: node.version,
  };
}

function localJson(node: ApiNode, volumes: readonly NamedVolume[] | undefined) {
  if (volumes === undefined) return {};
  return {
    volumes: localDeployments(node, volumes).map(({ volume, id, health, kind }) => ({
      ...volumeJson(volume),
      localDeployment: { id, health, kind },
    })),
  };
}

/** `volumes`: with `describe`. */
export function nodeJson(node: ApiNode, volumes?: readonly NamedVolume[]) {
  return {
    ...common(node),
    gossipAddress: node.gossipEndpoint,
    clusteringAddress: node.clusteringEndpoint,
    ...rest(node),
    ...localJson(node, volumes),
  };
}

/** Two keys are shorter in YAML, as they were in StorageOS's. */
export function nodeYaml(node: ApiNode, volumes?: readonly NamedVolume[]) {
  return {
    ...common(node),
    gossipAddr: node.gossipEndpoint,
    clusteringAddr: node.clusteringEndpoint,
    ...rest(node),
    ...localJson(node, volumes),
  };
}
