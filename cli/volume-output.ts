/** Volumes as text, JSON and YAML. */

import type {
  ApiDeployment,
  ApiDeploymentState,
  ApiNamespace,
  ApiNfsExport,
  ApiNode,
  ApiVolume,
} from '../client/types.js';
import { CliError, EXIT } from './errors.js';
import {
  type Cell,
  type Field,
  formatAge,
  formatBytes,
  formatFields,
  formatTable,
  formatTime,
  healthCell,
  labelLines,
  type View,
} from './format.js';

const LABEL_REPLICAS = 'storageos.com/replicas';
const BAR_CHARS = 30;

/** A volume with the names of what it refers to. */
export interface NamedVolume {
  readonly volume: ApiVolume;
  readonly namespaceName: string;
  readonly nodeName: (id: string) => string;
  /** What the copies say of themselves, if they were asked. */
  readonly copies?: readonly ApiDeploymentState[];
}

export function nameVolumes(
  volumes: readonly ApiVolume[],
  namespaces: readonly ApiNamespace[],
  nodes: readonly ApiNode[],
): NamedVolume[] {
  const nodeNames = new Map(nodes.map(({ id, name }) => [id, name]));
  const namespaceNames = new Map(namespaces.map(({ id, name }) => [id, name]));
  return volumes.map((volume) => ({
    volume,
    namespaceName: namespaceNames.get(volume.namespaceID) ?? volume.namespaceID,
    nodeName: (id) => nodeNames.get(id) ?? id,
  }));
}

/** The volume's copy on the node. Errors: CliError('not found'). */
export function copyOn(volume: ApiVolume, node: ApiNode): ApiDeployment {
  const found = [volume.master, ...(volume.replicas ?? [])].find(({ nodeID }) => nodeID === node.id);
  if (found === undefined) {
    throw new CliError(EXIT.notFound, `volume "${volume.name}" has no copy on node "${node.name}"`);
  }
  return found;
}

/** Replicas that the volume has in sync, and how many it is to have. */
export function replicaState({ labels, replicas }: ApiVolume): { readonly ready: number; readonly wanted: number } {
  const ready = (replicas ?? []).filter(({ health }) => health === 'ready').length;
  return { ready, wanted: Number(labels?.[LABEL_REPLICAS] ?? replicas?.length ?? 0) };
}

function replicaCount(volume: ApiVolume): string {
  const { ready, wanted } = replicaState(volume);
  return `${ready}/${wanted}`;
}

const COLUMNS = ['NAMESPACE', 'NAME', 'SIZE', 'LOCATION', 'ATTACHED ON', 'REPLICAS', 'AGE'];

function columns({ volume, namespaceName, nodeName }: NamedVolume, nowMs: number): Cell[] {
  const { master } = volume;
  return [
    namespaceName,
    volume.name,
    formatBytes(volume.sizeBytes),
    healthCell(master.health, `${nodeName(master.nodeID)} (${master.health})`),
    volume.attachedOn === '' ? '' : nodeName(volume.attachedOn),
    replicaCount(volume),
    formatAge(volume.createdAt, nowMs),
  ];
}

export function volumeTable(volumes: readonly NamedVolume[], view: View): string {
  return formatTable(
    COLUMNS,
    volumes.map((named) => columns(named, view.nowMs)),
    view,
  );
}

export function wideVolumeTable(volumes: readonly NamedVolume[], view: View): string {
  return formatTable(
    [...COLUMNS, 'REPLICA NODES', 'FILESYSTEM', 'ID', 'LABELS'],
    volumes.map((named) => [
      ...columns(named, view.nowMs),
      (named.volume.replicas ?? []).map(({ nodeID, health }) => `${named.nodeName(nodeID)} (${health})`).join(','),
      named.volume.fsType,
      named.volume.id,
      labelLines(named.volume.labels).join(','),
    ]),
    view,
  );
}

function nameAndId(id: string, nodeName: (id: string) => string): string {
  return id === '' ? '' : `${nodeName(id)} (${id})`;
}

function exportLines({ exportID = 0, path = '', pseudoPath = '', acls }: ApiNfsExport): string[] {
  const lines = [`ID ${exportID}`, `  Path ${path}`, `  Pseudo Path ${pseudoPath}`, '  ACLs'];
  for (const { identity, squashConfig, accessLevel } of acls ?? []) {
    lines.push(
      `    Identity Type ${identity?.identityType ?? ''}`,
      `    Identity Matcher ${identity?.matcher ?? ''}`,
      `    Squash ${squashConfig?.squash ?? ''}`,
      `    Squash UID ${squashConfig?.uid ?? 0}`,
      // The misspelling is StorageOS's; scripts may look for it.
      `    Squash GUID ${squashConfig?.gid ?? 0}`,
      `    Access ${accessLevel ?? ''}`,
    );
  }
  return lines;
}

/** How far a sync is, of what there is to copy: `1.0 GiB/5.0 GiB [######....] 20% ETA 40s`. */
export function syncProgress(replica: ApiDeployment, sizeBytes: number): string {
  const { bytesRemaining: remaining, bytesTotal = sizeBytes } = replica.syncProgress ?? {};
  if (remaining === undefined) return 'n/a';
  const total = Math.max(bytesTotal, remaining);
  const share = total === 0 ? 1 : (total - remaining) / total;
  const filled = Math.round(share * BAR_CHARS);
  const bar = `${'#'.repeat(filled)}${'.'.repeat(BAR_CHARS - filled)}`;
  const seconds = replica.syncProgress?.estimatedSecondsRemaining ?? 0;
  const eta = seconds > 0 ? `ETA ${seconds}s` : 'ETA n/a';
  return `${formatBytes(total - remaining)}/${formatBytes(total)} [${bar}] ${Math.floor(share * 100)}% ${eta}`;
}

/** What a copy says of its stored blocks; nothing if the cluster can't tell. */
function integrityFields({ copies }: NamedVolume, id: string, nowMs: number): Field[] {
  const copy = copies?.find((candidate) => candidate.id === id);
  if (copy === undefined) return [];
  const { badBlocks, scrub } = copy;
  return [
    ['Bad Blocks', badBlocks === undefined ? 'n/a' : String(badBlocks)],
    ['Scrub', scrub === undefined ? 'n/a' : scrubLine(scrub, nowMs)],
  ];
}

/** `40% (4.0 GiB/10 GiB), 3 passes, the last one ended 2026-01-02T03:04:05Z (2 days ago)` */
function scrubLine(scrub: NonNullable<ApiDeploymentState['scrub']>, nowMs: number): string {
  const { doneBytes, totalBytes, passes, lastPassEndedAt } = scrub;
  const percent = totalBytes === 0 ? 0 : Math.floor((doneBytes / totalBytes) * 100);
  const ended = lastPassEndedAt === undefined ? '' : `, the last one ended ${formatTime(lastPassEndedAt, nowMs)}`;
  return `${percent}% (${formatBytes(doneBytes)}/${formatBytes(totalBytes)}), ${passes} pass${passes === 1 ? '' : 'es'}${ended}`;
}

export function describeVolume(named: NamedVolume, nowMs: number): string {
  const { volume, namespaceName, nodeName } = named;
  const { master } = volume;
  const sections = [
    formatFields([
      ['ID', volume.id],
      ['Name', volume.name],
      ['Description', volume.description],
      ['AttachedOn', nameAndId(volume.attachedOn, nodeName)],
      ['Attachment Type', volume.attachmentType],
      ['NFS', ''],
      ['  Service Endpoint', volume.nfs?.serviceEndpoint ?? ''],
      ['  Exports:', (volume.nfs?.exports ?? []).flatMap(exportLines)],
      ['Namespace', `${namespaceName} (${volume.namespaceID})`],
      ['Labels', labelLines(volume.labels)],
      ['Filesystem', volume.fsType],
      ['Size', `${formatBytes(volume.sizeBytes)} (${volume.sizeBytes} bytes)`],
      ['Version', volume.version],
      ['Created at', formatTime(volume.createdAt, nowMs)],
      ['Updated at', formatTime(volume.updatedAt, nowMs)],
    ]),
    `Master:\n${formatFields(
      [
        ['ID', master.id],
        ['Node', nameAndId(master.nodeID, nodeName)],
        ['Health', master.health],
        ...integrityFields(named, master.id, nowMs),
      ],
      2,
    )}`,
  ];
  const replicas = volume.replicas ?? [];
  if (replicas.length > 0) {
    const described = replicas.map((replica) =>
      formatFields(
        [
          ['ID', replica.id],
          ['Node', nameAndId(replica.nodeID, nodeName)],
          ['Health', replica.health],
          ['Promotable', String(replica.promotable ?? false)],
          ...(replica.health === 'syncing'
            ? ([['Sync Progress', syncProgress(replica, volume.sizeBytes)]] as const)
            : []),
          ...integrityFields(named, replica.id, nowMs),
        ],
        2,
      ),
    );
    sections.push(`Replicas:\n${described.join('\n\n')}`);
  }
  return sections.join('\n\n');
}

function deploymentJson(deployment: ApiDeployment, { nodeName, copies }: NamedVolume) {
  const { badBlocks, scrub } = copies?.find(({ id }) => id === deployment.id) ?? {};
  return {
    id: deployment.id,
    nodeID: deployment.nodeID,
    nodeName: nodeName(deployment.nodeID),
    health: deployment.health,
    promotable: deployment.promotable ?? false,
    ...(deployment.syncProgress !== undefined &&
      deployment.syncProgress !== null && { syncProgress: deployment.syncProgress }),
    ...(badBlocks !== undefined && { badBlocks }),
    ...(scrub !== undefined && { scrub }),
  };
}

export function volumeJson(named: NamedVolume) {
  const { volume, namespaceName, nodeName } = named;
  return {
    id: volume.id,
    name: volume.name,
    description: volume.description,
    attachedOn: volume.attachedOn,
    attachedOnName: volume.attachedOn === '' ? '' : nodeName(volume.attachedOn),
    attachmentType: volume.attachmentType,
    nfs: { exports: volume.nfs?.exports ?? [], serviceEndpoint: volume.nfs?.serviceEndpoint ?? '' },
    namespaceID: volume.namespaceID,
    namespaceName,
    labels: volume.labels ?? {},
    filesystem: volume.fsType,
    sizeBytes: volume.sizeBytes,
    master: deploymentJson(volume.master, named),
    replicas: (volume.replicas ?? []).map((replica) => deploymentJson(replica, named)),
    createdAt: volume.createdAt,
    updatedAt: volume.updatedAt,
    version: volume.version,
  };
}

/** After an update: what the volume is now, and a sentence that says what changed. */
export function updatedVolume({ volume, nodeName }: NamedVolume, changed: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const { health } of volume.replicas ?? []) counts.set(health, (counts.get(health) ?? 0) + 1);
  const replicas = [...counts].map(([health, count]) => `${count}x ${health}`).join(', ');
  const fields = formatFields([
    ['Name', volume.name],
    ['ID', volume.id],
    ['Size', formatBytes(volume.sizeBytes)],
    ['Description', volume.description],
    ['AttachedOn', volume.attachedOn === '' ? '' : nodeName(volume.attachedOn)],
    ['Replicas', replicas === '' ? 'none' : replicas],
    ['Labels', labelLines(volume.labels)],
  ]);
  return `${fields}\n\n${changed.join('\n')}`;
}
