/**
 * A volume's membership, made anew from its copies: for an etcd that was restored from an older snapshot, or replaced.
 * What every copy has on its disk says enough if all of them answer: epochs promised, the end of the log, the history,
 * whether it is clean and complete. What is not known for sure is named as a risk, which somebody has to accept.
 */

import type { Membership, Placement, Tombstone, Volume } from './domain.js';
import { DomainError } from './errors.js';
import { MAX_OUT_OF_SYNC } from './membership.js';
import type { DeploymentStatus } from './messages.js';
import { commonEnd, compareOrders } from './order.js';
import type { DeploymentId, Epoch, HistoryEntry, NodeId, Order, VolumeId } from './types.js';

/** What a node tells of one of its copies. */
export interface SurveyedCopy {
  readonly node: NodeId;
  readonly status: DeploymentStatus;
  readonly history: readonly HistoryEntry[];
  /** Set: a sync of it was not finished, so that it lacks blocks. */
  readonly syncBase: Order | null;
  /** The newest record that the running process has seen. */
  readonly record?: Membership | undefined;
  /** Bytes of a block, and number of blocks in the volume. Older agents do not tell. */
  readonly shape?: { readonly blockSize: number; readonly blocks: number } | undefined;
}

/** A volume as etcd had it when a node last heard of it. */
export interface RememberedVolume {
  readonly volume: Volume;
  readonly namespaceName: string;
}

/** Everything that one node has of a volume. */
export interface NodeSurvey {
  readonly copies: readonly SurveyedCopy[];
  /** On its disks and not open: damaged, or about to be opened. */
  readonly closed: readonly DeploymentId[];
  /** Copies on its disks that do not even say of which volume they are. */
  readonly unreadable: number;
  readonly remembered?: RememberedVolume | undefined;
}

export interface RecoveryInput {
  readonly volume: VolumeId;
  /** What etcd has; undefined: nothing. */
  readonly record: Membership | undefined;
  /** What the volume's record in etcd says; copies that were placed later may be missing there. */
  readonly placements: readonly Placement[];
  readonly copies: readonly SurveyedCopy[];
  readonly closed: readonly Placement[];
  /** Nodes that were asked and did not answer. */
  readonly silent: readonly NodeId[];
  /** Nodes that have answered, and have copies of which they cannot tell of which volume they are. */
  readonly unsure: readonly NodeId[];
  /** Of the etcd that is there now. */
  readonly etcdClusterId: string;
  /** RFC 3339. */
  readonly timestamp: string;
}

/** Why etcd can't be relied upon for this volume. */
export type RecoveryReason = 'no-record' | 'epoch-behind' | 'other-cluster';

export type RecoveryRisk =
  /** This copy was in sync as far as is known: what it holds and others do not is lost. */
  | {
      readonly kind: 'member-missing';
      readonly deployment: DeploymentId;
      readonly node?: NodeId;
      readonly closed?: true;
    }
  /** It may know of a later membership, under which others have acknowledged writes. */
  | { readonly kind: 'copy-missing'; readonly deployment: DeploymentId; readonly node?: NodeId; readonly closed?: true }
  /** It may hold copies that etcd does not know of. */
  | { readonly kind: 'node-missing'; readonly node: NodeId }
  /** Nobody is clean: writes that were acknowledged and not flushed before a power loss are missing. */
  | { readonly kind: 'unclean'; readonly deployment: DeploymentId }
  /** No complete copy was in sync as late as others: what was acknowledged behind the end of this one's log is lost. */
  | { readonly kind: 'outdated'; readonly deployment: DeploymentId; readonly last: Order }
  /** No copy is complete: blocks that changed behind this one's base are old ones. */
  | { readonly kind: 'incomplete'; readonly deployment: DeploymentId; readonly base: Order };

export interface RecoveryPlan {
  /** Empty: etcd knows all that the copies know. */
  readonly reasons: readonly RecoveryReason[];
  readonly risks: readonly RecoveryRisk[];
  /** Takes the place of what etcd has; undefined: nothing is to be done, or no copy was found. */
  readonly next: Membership | undefined;
  /** Where the volume's copies are: those that etcd names, and those that were found, without `abandoned`. */
  readonly placements: readonly Placement[];
  /**
   * Copies that the recovery goes on without. They may have gone on under primaries that nobody else knows, so that
   * their logs agree with the volume's up to a point that cannot be told: they never join it again, and are erased. So
   * are all others of a copy that is outdated, as they know of such primaries, or incomplete, as they hold blocks of
   * which it knows nothing.
   */
  readonly abandoned: readonly Placement[];
  /** Copies that have to be told the id of the present etcd. */
  readonly adopting: readonly Placement[];
}

/** What a recovery writes, all at once. */
export interface RecoveredVolume {
  /** What etcd has; undefined: no membership. */
  readonly expected: Membership | undefined;
  readonly next: Membership;
  readonly placements: readonly Placement[];
  readonly abandoned: readonly Tombstone[];
  /** RFC 3339. */
  readonly timestamp: string;
}

/**
 * By how much the epoch rises beyond all that are known where copies may have used later ones. Epochs that were given
 * twice would make two logs look like one. A volume's epoch rises by one or two for each failure, so that no copy gets
 * this far while it is away; and 2^53, the largest number that is exact, has room for 2^33 such recoveries.
 */
export const UNSEEN_EPOCHS = 2 ** 20;

/**
 * What is wrong between etcd and the volume's copies, and the record that puts it right. Errors:
 * DomainError('invalid-state') if there is no epoch above those that the copies tell.
 */
export function planRecovery(input: RecoveryInput): RecoveryPlan {
  const { copies, record, etcdClusterId } = input;
  const promised = Math.max(0, ...copies.map(({ status }) => status.promised));
  const adopting = copies
    .filter(({ status }) => status.etcdClusterId !== etcdClusterId)
    .map(({ status, node }) => ({ deployment: status.deployment, node }));
  const reasons: RecoveryReason[] = [];
  if (record === undefined) reasons.push('no-record');
  else if (record.epoch < promised) reasons.push('epoch-behind');
  if (adopting.length > 0 || (record !== undefined && record.etcdClusterId !== etcdClusterId)) {
    reasons.push('other-cluster');
  }
  const placements = allPlacements(input, promised);
  if (reasons.length === 0 || copies.length === 0) {
    return { reasons, risks: [], next: undefined, placements, abandoned: [], adopting };
  }
  return { reasons, adopting, ...rebuild(input, promised as Epoch, placements) };
}

/**
 * In the order of the record; then what was found beside, by id: not in the order of the answers. Without copies that
 * were not heard when a loss was accepted, and are placed nowhere since: others are far ahead of them.
 */
function allPlacements({ placements, copies, closed }: RecoveryInput, promised: number): Placement[] {
  const isPlaced = (deployment: DeploymentId): boolean => placements.some((placed) => placed.deployment === deployment);
  const ours = copies.filter(
    ({ status }) => isPlaced(status.deployment) || promised - status.promised < UNSEEN_EPOCHS / 2,
  );
  const told = [...ours.map(({ status, node }) => ({ deployment: status.deployment, node })), ...closed];
  const found = new Map(told.map((placed) => [placed.deployment, placed]));
  const known = placements.map((placed) => found.get(placed.deployment) ?? placed);
  for (const { deployment } of placements) found.delete(deployment);
  return [...known, ...[...found.values()].sort((a, b) => (a.deployment < b.deployment ? -1 : 1))];
}

function rebuild(
  input: RecoveryInput,
  promised: Epoch,
  found: readonly Placement[],
): Pick<RecoveryPlan, 'risks' | 'next' | 'placements' | 'abandoned'> {
  const { copies, etcdClusterId, volume } = input;
  const seen = newestRecord(input);
  const newest = newestHistory(input, seen);
  const members = membersOf(copies, promised, seen);
  const complete = members.filter(isComplete);
  const clean = complete.filter(isClean);
  const outdated = outdatedOf(copies, members, found, newest);
  const pool = [clean, complete, outdated, members].find((candidates) => candidates.length > 0)!;
  const chosen = pool.reduce((best, copy) => (isBetter(copy, best, newest, seen) ? copy : best));
  const isAlone = complete.length === 0;
  const history = isAlone ? chosen.history : newest;
  // By the newest record that is known, what was acknowledged is in none of the copies that are there.
  const membersGone =
    seen !== undefined &&
    seen.epoch >= promised &&
    !complete.some(({ status }) => seen.inSync.includes(status.deployment));
  const absent = missing(input, seen, found, membersGone);
  const risks = [...absent, ...flaws(chosen, pool === outdated)];
  const isAbandoned = ({ deployment }: Placement): boolean =>
    (isAlone && deployment !== chosen.status.deployment) ||
    absent.some((risk) => 'deployment' in risk && risk.deployment === deployment);
  const placements = found.filter((placed) => !isAbandoned(placed));
  const inSync = (clean.includes(chosen) ? clean : complete.includes(chosen) ? complete : [chosen]).map(
    ({ status }) => status.deployment,
  );
  const known = Math.max(promised, seen?.epoch ?? 0, input.record?.epoch ?? 0);
  const epoch = (known + (absent.length > 0 || isAlone ? UNSEEN_EPOCHS : 1)) as Epoch;
  if (!Number.isSafeInteger(epoch)) {
    throw new DomainError('invalid-state', `a copy of volume ${volume} has promised epoch ${known}: none is above it`);
  }
  const left = placements
    .filter(({ deployment }) => !inSync.includes(deployment))
    .map(({ deployment }) => ({ deployment, reason: 'recovered without it', since: input.timestamp }));
  const next: Membership = {
    volume,
    epoch,
    primary: { deployment: chosen.status.deployment, node: chosen.node, incarnation: chosen.status.incarnation },
    inSync,
    outOfSync: left.slice(-MAX_OUT_OF_SYNC),
    history,
    active: false,
    // Epochs rise with every change of it: this is none that a frontend may have seen. The newest record that is known
    // does only if nothing came after it: a loss may have, of which a frontend has yet to hear.
    lossVerifier: seen === undefined || seen.epoch < promised || risks.length > 0 ? epoch : seen.lossVerifier,
    etcdClusterId,
    readOnly: false,
  };
  return { risks, next, placements, abandoned: found.filter(isAbandoned) };
}

/** The newest membership that etcd or a running process knows. */
function newestRecord({ record, copies }: RecoveryInput): Membership | undefined {
  const known = [record, ...copies.map((copy) => copy.record)].filter((found) => found !== undefined);
  return known.reduce<Membership | undefined>(
    (newest, found) => (newest === undefined || found.epoch > newest.epoch ? found : newest),
    undefined,
  );
}

/**
 * Histories grow, and the one whose last activation is the newest has all the others; but for a recovery that goes on
 * from one copy alone, by that one's, whose epochs are above all others then.
 */
function newestHistory({ copies }: RecoveryInput, seen: Membership | undefined): readonly HistoryEntry[] {
  const last = (history: readonly HistoryEntry[]): number => history.at(-1)?.epoch ?? 0;
  return copies.reduce<readonly HistoryEntry[]>(
    (newest, { history }) => (last(history) > last(newest) ? history : newest),
    seen?.history ?? [],
  );
}

/**
 * The copies that were in sync: those of the newest record, if no copy has promised anything later; else those that
 * have promised the latest epoch, as only members and targets of syncs are asked to.
 */
function membersOf(
  copies: readonly SurveyedCopy[],
  promised: Epoch,
  seen: Membership | undefined,
): readonly SurveyedCopy[] {
  const listed = copies.filter(({ status }) => seen?.inSync.includes(status.deployment));
  if (seen !== undefined && seen.epoch >= promised && listed.length > 0) return listed;
  return copies.filter(({ status }) => status.promised === promised);
}

function isComplete({ syncBase }: SurveyedCopy): boolean {
  return syncBase === null;
}

function isClean({ status }: SurveyedCopy): boolean {
  return !status.unclean;
}

/**
 * Complete copies of an earlier time, for members of which none is complete: those that were in sync last, the clean
 * ones if there are any. Not one that was never written, nor one in which every block is older than in a member, whose
 * sync began with what it had.
 */
function outdatedOf(
  copies: readonly SurveyedCopy[],
  members: readonly SurveyedCopy[],
  placements: readonly Placement[],
  history: readonly HistoryEntry[],
): readonly SurveyedCopy[] {
  const bases = members.map(({ syncBase }) => (syncBase === null ? 0 : commonEnd(syncBase, history)));
  const least = Math.max(1, ...bases);
  const candidates = copies.filter(
    (copy) =>
      isComplete(copy) &&
      commonEnd(copy.status.last, history) >= least &&
      placements.some(({ deployment }) => deployment === copy.status.deployment),
  );
  const promised = Math.max(...candidates.map(({ status }) => status.promised));
  const latest = candidates.filter(({ status }) => status.promised === promised);
  const clean = latest.filter(isClean);
  return clean.length > 0 ? clean : latest;
}

/** The longer log, as far as it is alive; of equally long ones that of the primary that was. */
function isBetter(
  a: SurveyedCopy,
  b: SurveyedCopy,
  history: readonly HistoryEntry[],
  seen: Membership | undefined,
): boolean {
  const end = ({ status }: SurveyedCopy): number => commonEnd(status.last, history);
  const difference = end(a) - end(b) || compareOrders(a.status.last, b.status.last);
  if (difference !== 0) return difference > 0;
  if (b.status.deployment === seen?.primary.deployment) return false;
  return a.status.deployment === seen?.primary.deployment || a.status.deployment < b.status.deployment;
}

/**
 * A copy is gone for good if its node answers and has nothing of it: it was erased, by a tombstone. That is no answer
 * where its disk may just not be mounted, or readable: with `membersGone` for those that were in sync, as nobody erases
 * these; from a node that has copies which it cannot read; and where no record has been seen, as then nobody knows who
 * was in sync.
 */
function missing(
  { copies, closed, silent, unsure }: RecoveryInput,
  seen: Membership | undefined,
  placements: readonly Placement[],
  membersGone: boolean,
): RecoveryRisk[] {
  const answered = new Set(copies.map(({ status }) => status.deployment));
  const nodeOf = new Map(placements.map(({ deployment, node }) => [deployment, node]));
  const known = new Set([
    ...nodeOf.keys(),
    ...(seen?.inSync ?? []),
    ...(seen?.outOfSync ?? []).map((o) => o.deployment),
  ]);
  const risks: RecoveryRisk[] = [];
  for (const deployment of known) {
    if (answered.has(deployment)) continue;
    const node = nodeOf.get(deployment);
    const isClosed = closed.some((copy) => copy.deployment === deployment);
    const member = seen?.inSync.includes(deployment) === true;
    // Lost by the newest record and placed nowhere since: it was erased. If it is on a silent node after all, that counts.
    if (node === undefined && !member) continue;
    const erased = seen !== undefined && !(member && membersGone) && !isClosed;
    if (node !== undefined && erased && !silent.includes(node) && !unsure.includes(node)) continue;
    const kind = member ? 'member-missing' : 'copy-missing';
    risks.push({ kind, deployment, ...(node !== undefined && { node }), ...(isClosed && { closed: true as const }) });
  }
  const explained = new Set(risks.map((risk) => ('node' in risk ? risk.node : undefined)));
  for (const node of silent) if (!explained.has(node)) risks.push({ kind: 'node-missing', node });
  return risks;
}

function flaws({ status: { deployment, unclean, last }, syncBase }: SurveyedCopy, outdated: boolean): RecoveryRisk[] {
  return [
    ...(outdated ? [{ kind: 'outdated' as const, deployment, last }] : []),
    ...(unclean ? [{ kind: 'unclean' as const, deployment }] : []),
    ...(syncBase === null ? [] : [{ kind: 'incomplete' as const, deployment, base: syncBase }]),
  ];
}

/** For people: what is lost, or may be, if the recovery goes on. */
export function describeRisk(risk: RecoveryRisk): string {
  const at = 'node' in risk && risk.node !== undefined ? ` on node ${risk.node}` : '';
  // Cut off and not gone, it goes on to acknowledge what a frontend beside it writes.
  const off = at === '' ? '' : ' (see that the node is off)';
  switch (risk.kind) {
    case 'member-missing':
    case 'copy-missing': {
      const copy = `copy ${risk.deployment}${at}`;
      const [state, erased] =
        risk.closed === true
          ? ['is not open (being opened, which takes a moment, or damaged)', 'it is erased']
          : [`does not answer${off}`, 'it is erased when it comes back'];
      return risk.kind === 'member-missing'
        ? `${copy} ${state} and was in sync: acknowledged writes that only it holds are lost, ${erased}`
        : `${copy} ${state}: if it was in sync later than is known, what was acknowledged since is lost, ${erased}`;
    }
    case 'node-missing':
      return `node ${risk.node} does not answer${off}: a copy there that etcd does not know of, and writes that only it holds, are lost`;
    case 'unclean':
      return `copy ${risk.deployment} is the best one and has lived through a power loss or an error of its disk: acknowledged writes that were not flushed are lost`;
    case 'outdated':
      return `copy ${risk.deployment} is the best one and was not in sync at last, as far as is known: what was acknowledged behind order (${risk.last.epoch}, ${risk.last.sequence}) is lost, and all other copies are erased and made anew`;
    case 'incomplete':
      return `copy ${risk.deployment} is the best one and was not brought up to date: blocks that changed behind order (${risk.base.epoch}, ${risk.base.sequence}) are old, and differ among each other in age; all other copies are erased and made anew`;
  }
}
