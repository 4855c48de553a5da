import type { ApiNamespace, ApiUser, ApiVolume } from '../../client/types.js';
import { ACCEPTED, asyncQuery, type Context, confirm, show } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { parseBytes, parseLabels } from '../format.js';
import { namespaceTable, userJson, userTable } from '../other-output.js';
import { nameVolumes, volumeJson, volumeTable } from '../volume-output.js';

const MAX_REPLICAS = 5;
const MIN_PASSWORD_CHARS = 8;

export interface CreateVolumeFlags {
  readonly async?: boolean;
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
  const { client, nowMs } = context;
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
  const volumes = nameVolumes([body], [namespace], await client.nodes());
  await show(context, { text: () => volumeTable(volumes, nowMs), json: volumes.map(volumeJson)[0] });
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

export interface CreateUserFlags {
  readonly withUsername?: string;
  readonly withPassword?: string;
  readonly withAdmin?: boolean;
}

export async function createUser(context: Context, _: string[], flags: CreateUserFlags): Promise<void> {
  const { withUsername: username, withPassword: password } = flags;
  if (username === undefined || password === undefined) {
    throw new CliError(EXIT.invalidInput, 'give --with-username and --with-password');
  }
  if (password.length < MIN_PASSWORD_CHARS) {
    throw new CliError(EXIT.invalidInput, `a password has at least ${MIN_PASSWORD_CHARS} characters`);
  }
  const { body } = await context.client.request<ApiUser>('POST', '/users', {
    body: { username, password, isAdmin: flags.withAdmin ?? false },
    creating: true,
  });
  await show(context, { text: () => userTable([body], context.nowMs), json: userJson(body) });
}
