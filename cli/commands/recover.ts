/** `storageos recover`: volumes whose copies know more than etcd does. */

import type { ApiRecovery, ApiVolume } from '../../client/types.js';
import { type Context, show } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { type Cell, formatTable } from '../format.js';

/** Every node is asked, and a new primary is waited for. */
const RECOVERY_TIMEOUT_MS = 3 * 60_000;

const REASONS: Readonly<Record<ApiRecovery['reasons'][number], string>> = {
  'no-record': 'etcd has no membership of it',
  'epoch-behind': 'etcd is older than its copies',
  'other-cluster': 'its copies belong to another etcd',
};

export interface RecoverFlags {
  readonly acceptDataLoss?: boolean;
  readonly dryRun?: boolean;
}

interface Found {
  readonly namespaceName: string;
  readonly volume: ApiVolume;
  readonly recovery: ApiRecovery;
}

export async function recover(context: Context, names: string[], flags: RecoverFlags): Promise<void> {
  const { client } = context;
  client.allowAtLeast(RECOVERY_TIMEOUT_MS * Math.max(1, names.length));
  const found = names.length === 0 ? await surveyAll(context) : await survey(context, names);
  const needed = found.filter(({ recovery }) => recovery.reasons.length > 0);
  if (names.length === 0 || flags.dryRun === true) return print(context, needed);
  const recovered: Found[] = [];
  for (const { namespaceName, volume } of needed) {
    const recovery = await client.recover(volume, flags.acceptDataLoss === true);
    recovered.push({ namespaceName, volume, recovery });
  }
  await print(context, recovered);
}

async function survey({ client }: Context, names: string[]): Promise<Found[]> {
  const found: Found[] = [];
  for (const name of names) {
    const { namespace, volume } = await client.findVolume(name);
    found.push({
      namespaceName: namespace.name,
      volume,
      recovery: await client.surveyRecovery(volume),
    });
  }
  return found;
}

/** One volume after the other, as each asks every node; those that can't be surveyed are named at the end. */
async function surveyAll({ client, streams }: Context): Promise<Found[]> {
  const found: Found[] = [];
  let failures = 0;
  for (const namespace of await client.namespaces()) {
    for (const volume of await client.volumes(namespace.id)) {
      try {
        found.push({ namespaceName: namespace.name, volume, recovery: await client.surveyRecovery(volume) });
      } catch (error) {
        failures++;
        streams.err(`${namespace.name}/${volume.name}: ${error instanceof Error ? error.message : String(error)}\n`);
      }
    }
  }
  if (failures > 0) throw new CliError(EXIT.other, `${failures} volumes could not be looked at`);
  return found;
}

async function print(context: Context, found: readonly Found[]): Promise<void> {
  const json = found.map(({ namespaceName, volume, recovery }) => ({
    ...recovery,
    name: volume.name,
    namespaceID: volume.namespaceID,
    namespaceName,
  }));
  await show(context, { text: () => (found.length === 0 ? 'Nothing to recover.\n' : table(found, context)), json });
}

function table(found: readonly Found[], context: Context): string {
  const rows = found.map(({ namespaceName, volume, recovery }): Cell[] => [
    namespaceName,
    volume.name,
    recovery.reasons.map((reason) => REASONS[reason]).join('; '),
    String(recovery.inSync?.length ?? 0),
    recovery.recovered ? { text: 'recovered', colour: 'green' } : risk(recovery),
  ]);
  return formatTable(['NAMESPACE', 'VOLUME', 'WHY', 'COPIES', 'STATE'], rows, context);
}

function risk({ risks, epoch }: ApiRecovery): Cell {
  if (epoch === undefined) return { text: 'no copy answers', colour: 'red' };
  return risks.length === 0
    ? { text: 'nothing is lost by recovering it', colour: 'yellow' }
    : { text: risks.join('; '), colour: 'red' };
}
