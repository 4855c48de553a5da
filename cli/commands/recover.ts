/** `storageos recover`: volumes whose copies know more than etcd does, and those that it has lost. */

import type { ApiLostVolume, ApiLostVolumes, ApiRecovery, ApiVolume, LostVolumeWishes } from '../../client/types.js';
import { withNames } from '../../core/operation.js';
import { isUuid } from '../../core/types.js';
import { type Context, show } from '../context.js';
import { CliError, EXIT } from '../errors.js';
import { type Cell, formatTable } from '../format.js';

/** Volumes that are looked at at the same time; each is asked for at every node. */
const MAX_PARALLEL_SURVEYS = 8;
/** For these, ms: nodes that do not answer are waited for 10 s, and after them those that etcd has forgotten. */
const SURVEYS_TIMEOUT_MS = 30_000;
/** Every node is asked, and a new primary is waited for. */
const RECOVERY_TIMEOUT_MS = 3 * 60_000;

const REASONS: Readonly<Record<ApiRecovery['reasons'][number], string>> = {
  'no-record': 'etcd has no membership of it',
  'epoch-behind': 'etcd is older than its copies',
  'other-cluster': 'its copies belong to another etcd',
};
const LOST = 'etcd has no record of it';

export interface RecoverFlags {
  readonly acceptDataLoss?: boolean;
  readonly dryRun?: boolean;
  readonly name?: string;
  readonly fsType?: string;
}

/** A volume that etcd knows. */
interface Known {
  readonly namespaceName: string;
  readonly volume: ApiVolume;
  readonly recovery: ApiRecovery;
}

interface Lost {
  readonly recovery: ApiLostVolume;
}

type Found = Known | Lost;

export async function recover(context: Context, names: string[], flags: RecoverFlags): Promise<void> {
  const { client } = context;
  if ((flags.name !== undefined || flags.fsType !== undefined) && names.length !== 1) {
    throw new CliError(EXIT.invalidInput, '--name and --fs-type are for one volume');
  }
  client.allowAtLeast(RECOVERY_TIMEOUT_MS * Math.max(1, names.length));
  if (names.length === 0) return showAll(context);
  const needed = (await survey(context, names, flags)).filter(isNeeded);
  if (flags.dryRun === true) return print(context, needed);
  const recovered: Found[] = [];
  for (const one of needed) recovered.push(await recoverOne(context, one, flags));
  await print(context, recovered);
}

const isNeeded = (one: Found): boolean => !('volume' in one) || one.recovery.reasons.length > 0;

async function recoverOne({ client }: Context, found: Found, flags: RecoverFlags): Promise<Found> {
  const acceptLoss = flags.acceptDataLoss === true;
  if ('volume' in found) return { ...found, recovery: await client.recover(found.volume, acceptLoss) };
  const { volume: id, namespaceName } = found.recovery;
  const chosen = flags.name !== undefined || namespaceName === '';
  const wishes: LostVolumeWishes = {
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.fsType !== undefined && { fsType: flags.fsType }),
    ...(chosen && { namespaceID: (await client.namespace()).id }),
  };
  return { recovery: await client.recoverLostVolume(id, acceptLoss, wishes) };
}

async function survey(context: Context, names: string[], { name }: RecoverFlags): Promise<Found[]> {
  const { client } = context;
  let lost: ApiLostVolumes | undefined;
  const found: Found[] = [];
  for (const reference of names) {
    // With a name to be given it is a lost one, and another volume may have the name that it had.
    const known = name === undefined ? await findKnown(context, reference) : undefined;
    if (known !== undefined) {
      found.push({ ...known, recovery: await client.surveyRecovery(known.volume) });
      continue;
    }
    if (isUuid(reference)) {
      found.push({ recovery: await client.surveyLostVolume(reference) });
      continue;
    }
    lost ??= await client.lostVolumes();
    found.push({ recovery: await client.surveyLostVolume(findLost(context, lost, reference)) });
  }
  return found;
}

async function findKnown({ client }: Context, reference: string): Promise<Omit<Known, 'recovery'> | undefined> {
  try {
    const { namespace, volume } = await client.findVolume(reference);
    return { namespaceName: namespace.name, volume };
  } catch (error) {
    // The volume's namespace may be lost as well.
    if (error instanceof CliError && error.exitCode === EXIT.notFound) return undefined;
    throw error;
  }
}

/** The id of the one that had this name. Errors: CliError('not found'), also if several had the name. */
function findLost({ client }: Context, { volumes, silent }: ApiLostVolumes, reference: string): string {
  const { namespace } = client.settings;
  const named = volumes.filter(({ name, namespaceName }) => name === reference && namespaceName === namespace);
  const [found] = named;
  if (found !== undefined && named.length === 1) return found.id;
  if (named.length > 1) {
    const ids = named.map(({ id }) => id).join(', ');
    throw new CliError(
      EXIT.invalidInput,
      `${named.length} lost volumes had the name "${reference}": say which by its id (${ids})`,
    );
  }
  const unheard = silent.length === 0 ? '' : `; nodes that do not answer may have copies of it: ${silent.join(', ')}`;
  throw new CliError(EXIT.notFound, `no volume "${reference}" is known to etcd or to any node${unheard}`);
}

interface Question {
  /** What the answer is about. */
  readonly name: string;
  readonly look: () => Promise<Found>;
}

/** What is found is shown also where some volumes can't be looked at. Errors: CliError, then. */
async function showAll(context: Context): Promise<void> {
  const { client, streams } = context;
  const questions: Question[] = [];
  for (const namespace of await client.namespaces()) {
    for (const volume of await client.volumes(namespace.id)) {
      const namespaceName = namespace.name;
      questions.push({
        name: `${namespaceName}/${volume.name}`,
        look: async () => ({ namespaceName, volume, recovery: await client.surveyRecovery(volume) }),
      });
    }
  }
  const { volumes, silent } = await client.lostVolumes();
  for (const { id, name } of volumes) {
    questions.push({
      name: name === '' ? id : `${name} (${id})`,
      look: async () => ({ recovery: await client.surveyLostVolume(id) }),
    });
  }
  const { found, failures } = await answersTo(questions, context);
  const needed = found.filter(isNeeded);
  if (needed.length > 0 || failures === 0) await print(context, needed);
  if (silent.length > 0) {
    const names = (await nodesByName(context))(silent.join(', '));
    streams.err(`nodes that do not answer may have copies of other volumes: ${names}\n`);
  }
  if (failures > 0) throw new CliError(EXIT.other, `${failures} volumes could not be looked at`);
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** In the order of the questions. Those without an answer are named on stderr, and why. */
async function answersTo(
  questions: readonly Question[],
  { client, streams }: Context,
): Promise<{ readonly found: Found[]; readonly failures: number }> {
  const found: Found[] = [];
  for (let first = 0; first < questions.length; first += MAX_PARALLEL_SURVEYS) {
    client.allowAtLeast(SURVEYS_TIMEOUT_MS);
    const some = questions.slice(first, first + MAX_PARALLEL_SURVEYS);
    const answers = await Promise.allSettled(some.map(({ look }) => look()));
    for (const [i, answer] of answers.entries()) {
      if (answer.status === 'fulfilled') found.push(answer.value);
      else streams.err(`${some[i]!.name}: ${reasonOf(answer.reason)}\n`);
    }
  }
  return { found, failures: questions.length - found.length };
}

async function print(context: Context, found: readonly Found[]): Promise<void> {
  const json = found.map((one) => {
    if (!('volume' in one)) return { ...one.recovery, lost: true };
    const { namespaceName, volume, recovery } = one;
    return { ...recovery, lost: false, name: volume.name, namespaceID: volume.namespaceID, namespaceName };
  });
  const named = found.length === 0 ? (text: string) => text : await nodesByName(context);
  await show(context, {
    text: () => (found.length === 0 ? 'Nothing to recover.\n' : table(found, named, context)),
    json,
  });
}

/** Puts the names of nodes in place of their ids. */
async function nodesByName({ client }: Context): Promise<(text: string) => string> {
  const names = new Map((await client.nodes()).map(({ id, name }) => [id, name]));
  return (text) => withNames(text, (id) => names.get(id));
}

function table(found: readonly Found[], named: (text: string) => string, context: Context): string {
  const rows = found.map((one): Cell[] => {
    const { recovery } = one;
    const reasons = recovery.reasons.map((reason) => REASONS[reason]).join('; ');
    return [
      ...('volume' in one
        ? [one.namespaceName, one.volume.name, reasons]
        : [one.recovery.namespaceName, one.recovery.name || one.recovery.volume, LOST]),
      copies(one, named),
      state(one, named),
    ];
  });
  return formatTable(['NAMESPACE', 'VOLUME', 'WHY', 'COPIES', 'STATE'], rows, context);
}

/** How many there would be in sync; of a lost one also where all of them are. */
function copies(found: Found, named: (text: string) => string): string {
  const inSync = found.recovery.inSync?.length ?? 0;
  if ('volume' in found || found.recovery.copies.length === 0) return String(inSync);
  return `${inSync} (${found.recovery.copies.map(({ node }) => named(node)).join(', ')})`;
}

function state({ recovery }: Found, named: (text: string) => string): Cell {
  if (recovery.recovered) return { text: 'recovered', colour: 'green' };
  const { risks, epoch } = recovery;
  const obstacles = 'obstacles' in recovery ? recovery.obstacles : [];
  if (epoch === undefined) return { text: 'no copy answers', colour: 'red' };
  if (obstacles.length + risks.length === 0) return { text: 'nothing is lost by recovering it', colour: 'yellow' };
  return { text: named([...obstacles, ...risks].join('; ')), colour: 'red' };
}
