import { readFileSync, statSync } from 'node:fs';
import type { ApiLicence } from '../../client/types.js';
import { type Context, show } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { licenceFields } from '../other-output.js';
import type { UpdateFlags } from './update.js';

const MAX_LICENCE_BYTES = 1 << 20;
const STANDARD_INPUT = 0;

export async function getLicence(context: Context): Promise<void> {
  const licence = await context.client.get<ApiLicence>('/cluster/licence');
  await show(context, { text: () => licenceFields(licence, context.nowMs), json: licenceJson(licence) });
}

function licenceJson({
  clusterID,
  expiresAt,
  clusterCapacityBytes,
  usedBytes,
  kind,
  features,
  customerName,
}: ApiLicence) {
  return { clusterID, expiresAt, clusterCapacityBytes, usedBytes, kind, features: features ?? [], customerName };
}

export interface ApplyFlags extends UpdateFlags {
  readonly fromFile?: string;
  readonly fromStdin?: boolean;
}

/** Errors: CliError. */
function readKey({ fromFile, fromStdin = false }: ApplyFlags): string {
  if ((fromFile === undefined) === !fromStdin) {
    throw new CliError(EXIT.invalidInput, 'give either --from-file or --from-stdin');
  }
  const from = fromFile ?? 'standard input';
  try {
    if (fromFile !== undefined && statSync(fromFile).size > MAX_LICENCE_BYTES) {
      throw new CliError(EXIT.invalidInput, `${from} is too large for a licence`);
    }
    return readFileSync(fromFile ?? STANDARD_INPUT, 'utf8').slice(0, MAX_LICENCE_BYTES);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError(EXIT.invalidInput, `${from} cannot be read`, { cause });
  }
}

export async function applyLicence(context: Context, _: string[], flags: ApplyFlags): Promise<void> {
  const { client } = context;
  const key = readKey(flags);
  const version = flags.cas ?? (await client.get<ApiLicence>('/cluster/licence')).version;
  const { body } = await client.request<ApiLicence>('PUT', '/cluster/licence', {
    query: { 'ignore-version': 'false' },
    body: { key, version },
  });
  await show(context, {
    text: () => `Licence applied to cluster ${body.clusterID}.\n\n${licenceFields(body, context.nowMs)}`,
    json: licenceJson(body),
  });
}
