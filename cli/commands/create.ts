import type { ApiNamespace, ApiVolume } from '../../client/types.js';
import { ACCEPTED, asyncQuery, type Context, confirm, show } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { parseBytes, parseLabels } from '../format.js';
import { namespaceTable } from '../other-output.js';
import { waitForReplicas } from '../replica-progress.js';
import { nameVolumes, volumeJson, volumeTable } from '../volume-output.js';

const MAX_REPLICAS = 5;

export interface CreateVolumeFlags {
  readonly async?: boolean;
  readonly wait?: boolean;
  readonly cache: boolean;
  readonly compress: boolean;
  readonly throttle: boolean;
  readonly description: string;
  readonly fsType: string;
  readonly labels?: string;
  readonly replicas: string;
  readonly size: string;
}

/** Errors: CliError for anything but 0–5. */
export function parseReplicas(text: string): number {
  if (!/^[0-5]$/.test(text)) {
    throw new CliError(EXIT.invalidInput, `replicas "${text}": not a number from 0 to ${MAX_REPLICAS}`);
  }
  return Number(text);
}

export async function createVolume(context: Context, [name = '']: string[], flags: CreateVolumeFlags): Promise<void> {
  const { client } = context;
  if (flags.async === true && flags.wait === true)
    throw new CliError(EXIT.invalidInput, 'give either --async or --wait');
  const replicas = parseReplicas(flags.replicas);
  const labels = {
    ...parseLabels(flags.labels ?? ''),
    'storageos.com/nocache': String(!flags.cache),
    'storageos.com/nocompress': String(!flags.compress),
    'storageos.com/throttle': String(flags.throttle),
    ...(replicas > 0 && { 'storageos.com/replicas': String(replicas) }),
  };
  const sizeBytes = parseBytes(flags.size);
  const namespace = await client.namespace();
  const { status, body } = await client.request<ApiVolume>('POST', `/namespaces/${namespace.id}/volumes`, {
    query: asyncQuery(context, flags.async),
    body: { name, namespaceID: namespace.id, sizeBytes, fsType: flags.fsType, description: flags.description, labels },
    creating: true,
  });
  if (status === 202) return confirm(context, ACCEPTED, { accepted: true });
  const volume = flags.wait === true ? await waitForReplicas(context, body) : body;
  const volumes = nameVolumes([volume], [namespace], await client.nodes());
  await show(context, { text: () => volumeTable(volumes, context), json: volumes.map(volumeJson)[0] });
}

export async function createNamespace(
  context: Context,
  [name = '']: string[],
  flags: { readonly labels?: string },
): Promise<void> {
  const { body } = await context.client.request<ApiNamespace>('POST', '/namespaces', {
    body: { name, labels: parseLabels(flags.labels ?? '') },
    creating: true,
  });
  await show(context, { text: () => namespaceTable([body], context.nowMs), json: body });
}
