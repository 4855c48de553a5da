import type { ApiNode, ApiVolume } from '../../client/types.js';
import { asyncQuery, type Context, show } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { parseLabels } from '../format.js';
import { nodeJson, nodeTable } from '../node-output.js';
import { nameVolumes, updatedVolume, volumeJson } from '../volume-output.js';
import { parseReplicas } from './create.js';

const RESERVED_PREFIX = 'storageos.com/';
const RESERVED_LABELS: readonly string[] = [
  'csi.storage.k8s.io/pvc/name',
  'csi.storage.k8s.io/pvc/namespace',
  'csi.storage.k8s.io/pv/name',
];

export interface UpdateFlags {
  readonly async?: boolean;
  readonly cas?: string;
}

export interface LabelFlags extends UpdateFlags {
  readonly upsert?: boolean;
  readonly delete?: boolean;
}

async function showUpdated(context: Context, namespaceId: string, id: string, changed: readonly string[]) {
  const { client } = context;
  const [volume, namespaces, nodes] = await Promise.all([
    client.get<ApiVolume>(`/namespaces/${namespaceId}/volumes/${id}`),
    client.namespaces(),
    client.nodes(),
  ]);
  const [named] = nameVolumes([volume], namespaces, nodes);
  if (named === undefined) return;
  await show(context, { text: () => updatedVolume(named, changed), json: volumeJson(named) });
}

/** Sends a change of labels or description together with what is to stay, guarded by the version that was read. */
async function putVolume(
  context: Context,
  name: string,
  flags: UpdateFlags,
  change: (volume: ApiVolume) => { labels?: Readonly<Record<string, string>>; description?: string },
  changed: string,
): Promise<void> {
  const { client } = context;
  const { namespace, volume } = await client.findVolume(name);
  const { labels, description } = volume;
  await client.request('PUT', `/namespaces/${namespace.id}/volumes/${volume.id}`, {
    query: { 'ignore-version': 'false', ...asyncQuery(context, flags.async) },
    body: { labels, description, ...change(volume), version: flags.cas ?? volume.version },
  });
  await showUpdated(context, namespace.id, volume.id, [`Volume ${volume.name} (${volume.id}) updated. ${changed}`]);
}

export function updateVolumeDescription(context: Context, [name = '', text = '']: string[], flags: UpdateFlags) {
  return putVolume(context, name, flags, () => ({ description: text }), 'Description changed.');
}

function isReserved(key: string): boolean {
  return key.startsWith(RESERVED_PREFIX) || RESERVED_LABELS.includes(key);
}

/** Labels after the update: replaced as a whole (reserved ones stay), added to, or taken away from. */
export function updatedLabels(
  current: Readonly<Record<string, string>>,
  args: readonly string[],
  flags: LabelFlags,
): Record<string, string> {
  if (flags.upsert === true && flags.delete === true) {
    throw new CliError(EXIT.invalidInput, 'give either --upsert or --delete');
  }
  if (flags.delete === true) {
    const removed = new Set(
      args
        .flatMap((arg) => arg.split(','))
        .map((item) => (item.includes('=') ? item.slice(0, item.indexOf('=')) : item)),
    );
    return Object.fromEntries(Object.entries(current).filter(([key]) => !removed.has(key)));
  }
  const given = Object.assign({}, ...args.map(parseLabels)) as Record<string, string>;
  const kept =
    flags.upsert === true ? current : Object.fromEntries(Object.entries(current).filter(([k]) => isReserved(k)));
  return { ...kept, ...given };
}

export function updateVolumeLabels(context: Context, [name = '', ...args]: string[], flags: LabelFlags) {
  return putVolume(
    context,
    name,
    flags,
    ({ labels }) => ({ labels: updatedLabels(labels ?? {}, args, flags) }),
    'Labels changed.',
  );
}

export async function updateVolumeReplicas(
  context: Context,
  [name = '', text = '']: string[],
  flags: UpdateFlags,
): Promise<void> {
  const { client } = context;
  const replicas = parseReplicas(text);
  const { namespace, volume } = await client.findVolume(name);
  await client.request('PUT', `/namespaces/${namespace.id}/volumes/${volume.id}/replicas`, {
    query: { 'ignore-version': 'false' },
    body: { replicas, version: flags.cas ?? volume.version },
  });
  await showUpdated(context, namespace.id, volume.id, [
    `Volume ${volume.name} (${volume.id}) updated.`,
    `Target of ${replicas} replicas accepted; the volume converges to it.`,
  ]);
}

export async function updateVolumeFailureMode(
  context: Context,
  [name = '', mode = '']: string[],
  flags: UpdateFlags,
): Promise<void> {
  const { client } = context;
  const threshold = /^\d+$/.test(mode);
  if (!threshold && !['hard', 'soft', 'alwayson'].includes(mode)) {
    throw new CliError(EXIT.invalidInput, `failure mode "${mode}": not hard, soft, alwayson or 0 to 5`);
  }
  const { namespace, volume } = await client.findVolume(name);
  await client.request('PUT', `/namespaces/${namespace.id}/volumes/${volume.id}/failure-mode`, {
    query: { 'ignore-version': 'false' },
    body: { ...(threshold ? { failureThreshold: Number(mode) } : { mode }), version: flags.cas ?? volume.version },
  });
  await showUpdated(context, namespace.id, volume.id, [
    `Volume ${volume.name} (${volume.id}) updated. Failure mode behaviour changed.`,
  ]);
}

async function setCordon(context: Context, name: string, cordoned: boolean, flags: UpdateFlags): Promise<void> {
  const { client } = context;
  const { id } = await client.findNode(name);
  const { body: node } = await client.request<ApiNode>('PUT', `/nodes/${id}/cordon`, {
    query: { 'ignore-version': flags.cas === undefined ? 'true' : 'false' },
    body: { cordoned, ...(flags.cas !== undefined && { version: flags.cas }) },
  });
  await show(context, { text: () => nodeTable([node], context.nowMs), json: nodeJson(node) });
}

export function cordon(context: Context, [name = '']: string[], flags: UpdateFlags): Promise<void> {
  return setCordon(context, name, true, flags);
}

export function uncordon(context: Context, [name = '']: string[], flags: UpdateFlags): Promise<void> {
  return setCordon(context, name, false, flags);
}
