import { type VolumeKey, volumePath } from '../../client/api.js';
import type { ApiVolume } from '../../client/types.js';
import { ACCEPTED, asyncQuery, type Context, confirm, show, versionOf } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { parseBytes } from '../format.js';
import { type LabelChange, updatedLabels } from '../labels.js';
import { waitForReplicas } from '../replica-progress.js';
import { copyOn, nameVolumes, updatedVolume, volumeJson } from '../volume-output.js';
import { parseReplicas } from './create.js';

export interface UpdateFlags {
  readonly async?: boolean;
  readonly cas?: string;
}

async function showUpdated(context: Context, key: VolumeKey, changed: readonly string[]) {
  const { client } = context;
  const [volume, namespaces, nodes] = await Promise.all([
    client.volume(key.namespaceID, key.id),
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
  const { volume } = await client.findVolume(name);
  const { labels, description } = volume;
  await client.request('PUT', volumePath(volume), {
    query: { 'ignore-version': 'false', ...asyncQuery(context, flags.async) },
    body: { labels, description, ...change(volume), version: flags.cas ?? volume.version },
  });
  await showUpdated(context, volume, [`Volume ${volume.name} (${volume.id}) updated. ${changed}`]);
}

export function updateVolumeDescription(context: Context, [name = '', text = '']: string[], flags: UpdateFlags) {
  return putVolume(context, name, flags, () => ({ description: text }), 'Description changed.');
}

export function updateVolumeLabels(context: Context, [name = '', ...args]: string[], flags: UpdateFlags & LabelChange) {
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
  flags: UpdateFlags & { readonly wait?: boolean },
): Promise<void> {
  const { client } = context;
  const replicas = parseReplicas(text);
  const { volume } = await client.findVolume(name);
  await client.request('PUT', volumePath(volume, '/replicas'), {
    query: { 'ignore-version': 'false' },
    body: { replicas, version: flags.cas ?? volume.version },
  });
  if (flags.wait === true) await waitForReplicas(context, volume);
  await showUpdated(context, volume, [
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
  const { volume } = await client.findVolume(name);
  await client.request('PUT', volumePath(volume, '/failure-mode'), {
    query: { 'ignore-version': 'false' },
    body: { ...(threshold ? { failureThreshold: Number(mode) } : { mode }), version: flags.cas ?? volume.version },
  });
  await showUpdated(context, volume, [`Volume ${volume.name} (${volume.id}) updated. Failure mode behaviour changed.`]);
}

export async function updateVolumeSize(
  context: Context,
  [name = '', size = '']: string[],
  flags: UpdateFlags,
): Promise<void> {
  const { client } = context;
  const sizeBytes = parseBytes(size);
  const { volume } = await client.findVolume(name);
  const { status } = await client.request('PUT', volumePath(volume, '/size'), {
    query: { 'ignore-version': 'false', ...asyncQuery(context, flags.async) },
    body: { sizeBytes, version: flags.cas ?? volume.version },
  });
  if (status === 202) return confirm(context, ACCEPTED, { accepted: true });
  await showUpdated(context, volume, [`Volume ${volume.name} (${volume.id}) updated. Size changed.`]);
}

export async function updateVolumePlacementStrategy(
  context: Context,
  [name = '', strategy = '']: string[],
  flags: UpdateFlags & { readonly topologyKey?: string },
): Promise<void> {
  const { client } = context;
  const { volume } = await client.findVolume(name);
  const options = flags.topologyKey === undefined ? {} : { options: { topologyKey: flags.topologyKey } };
  const { query, version } = versionOf(flags.cas);
  await client.request('PUT', volumePath(volume, '/placement-strategy'), {
    query,
    body: { placementStrategy: { strategy, ...options }, ...version },
  });
  await showUpdated(context, volume, [
    `Volume ${volume.name} (${volume.id}) updated. Placement strategy changed; copies that are there stay.`,
  ]);
}

export async function updateVolumeEvictionCandidates(
  context: Context,
  [name = '', ...nodeNames]: string[],
  flags: UpdateFlags,
): Promise<void> {
  const { client } = context;
  const [{ volume }, nodes] = await Promise.all([client.findVolume(name), client.nodes()]);
  const deploymentIDs = nodeNames.map((nodeName) => {
    const node = client.find('node', nodeName, nodes, (item) => item.name);
    return copyOn(volume, node).id;
  });
  const { query, version } = versionOf(flags.cas);
  await client.request('PUT', volumePath(volume, '/preferred-eviction-candidates'), {
    query,
    body: { deploymentIDs, ...version },
  });
  await showUpdated(context, volume, [
    `Volume ${volume.name} (${volume.id}) updated. Preferred eviction candidates changed.`,
  ]);
}
