/**
 * What a volume's workflow does next, from what it sees: a pure function. One act at a time; after it the
 * workflow looks again. The rules are those of design/replication.md ("The primary fails", "A member fails",
 * "Delta sync"):
 *
 * 1. A volume without a primary that serves or is on its way gets a failover; nothing else is done meanwhile.
 * 2. A copy that is there again is brought up to date before a new one is made elsewhere: a new one is placed
 *    only when a copy has been missing for the grace period.
 * 3. If the old copy comes back while the new one is being filled, the one with fewer blocks to copy stays.
 * 4. Surplus copies go when their node answers: one that is away costs nothing and may be wanted again.
 */

import type { Answer } from './candidate.js';
import type { Membership, Placement, Volume } from './domain.js';
import {
  DEFAULT_PATIENCE,
  type FailoverPatience,
  type FailoverStep,
  patienceMs,
  planFailover,
  primaryHealth,
} from './failover.js';
import type { DeploymentStatus } from './messages.js';
import type { DeploymentId, Epoch, NodeId } from './types.js';

export interface PlanSettings extends FailoverPatience {
  /** How long a copy may be away before a new one is placed. */
  readonly graceMs: number;
  /** Pause between looks while all is well: only a safety net, agents wake the workflow. */
  readonly idleMs: number;
  /** Pause between looks at something that changes by itself within seconds. */
  readonly busyMs: number;
  /** Pause between looks while a copy is being filled. */
  readonly runningMs: number;
}

export const DEFAULT_PLAN_SETTINGS: PlanSettings = {
  ...DEFAULT_PATIENCE,
  graceMs: 15_000,
  idleMs: 30_000,
  busyMs: 1_000,
  runningMs: 5_000,
};

/** After so many failures in a row an act no longer counts as a way to another copy. */
export const HOPELESS_AFTER = 3;

/** `absent`: the node answers and has no such deployment. */
export type CopyAnswer = Answer | 'absent';

export interface NodeView {
  readonly id: NodeId;
  readonly name: string;
  readonly cordoned: boolean;
  readonly computeOnly: boolean;
}

/** What the workflow remembers between looks; small, and safe to lose: periods then begin anew. */
export interface PlanMemory {
  /** Since when a copy has not been there; ms of the workflow's clock. */
  readonly missingSince: Readonly<Record<DeploymentId, number>>;
  /** Since when the primary of this epoch looks dead. */
  readonly suspect?: { readonly epoch: Epoch; readonly sinceMs: number };
  /** Since when the primary of this epoch answers without serving. */
  readonly stalled?: { readonly epoch: Epoch; readonly sinceMs: number };
}

export const EMPTY_MEMORY: PlanMemory = { missingSince: {} };

/** Acts that failed lately, by `actKey`: not tried before `notBeforeMs`. */
export type Failures = Readonly<Record<string, { readonly count: number; readonly notBeforeMs: number }>>;

export interface PlanInput {
  /** Undefined: the record is gone. */
  readonly volume: Volume | undefined;
  readonly membership: Membership | undefined;
  readonly answers: ReadonlyMap<DeploymentId, CopyAnswer>;
  readonly nodes: ReadonlyMap<NodeId, NodeView>;
  readonly attachedTo: NodeId | undefined;
  /** The long act that goes on beside the workflow's loop. */
  readonly running: 'sync' | 'rebuild' | undefined;
  readonly failures: Failures;
  readonly memory: PlanMemory;
  /** The workflow's clock. */
  readonly nowMs: number;
  readonly settings: PlanSettings;
}

export type Act =
  | { readonly act: 'provision' }
  | { readonly act: 'delete' }
  /** `stalled`: the primary answers and is to be replaced all the same. */
  | { readonly act: 'failover'; readonly epoch: Epoch; readonly reason: string; readonly stalled?: true }
  /** `primary` is asked to bring `deployment` up to date, under `epoch` or a later one of its own. */
  | ({ readonly act: 'sync'; readonly deployment: DeploymentId } & ActingPrimary)
  /** With `placed`, makes that copy, which does not exist; else places a new one. */
  | ({ readonly act: 'rebuild'; readonly placed?: Placement; readonly reason: string } & ActingPrimary)
  | ({ readonly act: 'remove-copy'; readonly deployment: DeploymentId; readonly reason: string } & ActingPrimary);

export interface ActingPrimary {
  readonly primary: Placement;
  readonly epoch: Epoch;
}

/** `end`: nothing is left that the workflow could look after. */
export type Step = Act | { readonly act: 'wait' } | { readonly act: 'end' };

export type Condition =
  | 'provisioning'
  | 'failed'
  | 'opening'
  | 'no-primary'
  | 'degraded'
  /** Some blocks can't be read from any copy: they are I/O errors until they are written again. */
  | 'damaged'
  | 'healthy'
  | 'deleting'
  | 'deleted'
  | 'unknown'
  /** etcd is an older one, or another: nothing is decided by it until the volume was recovered. */
  | 'etcd-behind';

export interface VolumePlan {
  readonly step: Step;
  readonly condition: Condition;
  /** Where the record says that the primary is. */
  readonly primaryNode?: NodeId;
  /** One line for people: the state, and what is waited for. */
  readonly summary: string;
  readonly lookAgainMs: number;
  readonly memory: PlanMemory;
}

/** Names an act for counting its failures. */
export function actKey(act: Act): string {
  const deployment = act.act === 'rebuild' ? act.placed?.deployment : 'deployment' in act ? act.deployment : undefined;
  return deployment === undefined ? act.act : `${act.act}/${deployment}`;
}

export function planVolume(input: PlanInput): VolumePlan {
  const { volume, membership, settings } = input;
  if (volume === undefined) return plan(input, 'deleted', { act: 'end' }, 'the volume is deleted', 0);
  switch (volume.phase) {
    case 'provisioning':
      return propose(input, 'provisioning', { act: 'provision' }, 'being provisioned');
    case 'deleting':
      return propose(input, 'deleting', { act: 'delete' }, 'being deleted');
    case 'failed':
      return wait(input, 'failed', `not provisioned: ${volume.reason ?? 'no reason recorded'}`, settings.idleMs);
    case 'ready':
      break;
  }
  if (membership === undefined) {
    const summary = 'etcd has no membership record of this volume: nothing is touched';
    return wait(input, 'unknown', summary, settings.idleMs);
  }
  const ahead = [...input.answers].filter(([, told]) => typeof told === 'object' && told.etcdBehind !== undefined);
  if (ahead.length > 0) {
    const obstacle = failoverObstacle({ reason: 'etcd-behind', deployments: ahead.map(([id]) => id) });
    return wait(input, 'etcd-behind', obstacle, settings.busyMs);
  }
  return planPrimary(input, volume, membership);
}

function planPrimary(input: PlanInput, volume: Volume, membership: Membership): VolumePlan {
  const { settings, nowMs } = input;
  const answer = input.answers.get(membership.primary.deployment);
  const health = primaryHealth(membership, answer === 'absent' ? 'unreachable' : answer);
  if (health === 'serving') return planCopies(input, volume, membership, answer as DeploymentStatus);
  if (health === 'working') return planStalled(input, volume, membership, answer as DeploymentStatus);
  const what = {
    restarted: 'was restarted',
    deposed: 'does not act as primary',
    unreachable: 'does not answer',
  }[health];
  const reason = `the primary on ${nodeName(input, membership.primary)} ${what}`;
  const suspect =
    input.memory.suspect?.epoch === membership.epoch
      ? input.memory.suspect
      : { epoch: membership.epoch, sinceMs: nowMs };
  const suspicion = { ...input, memory: { ...input.memory, suspect } };
  const remaining = suspect.sinceMs + patienceMs(membership, health, settings) - nowMs;
  if (remaining > 0) return wait(suspicion, 'no-primary', `${reason}: looking again`, remaining);
  const step = promotion(input, volume, membership);
  if (step.kind === 'wait') {
    const pauseMs = lookLater(nowMs - suspect.sinceMs, settings);
    return wait(suspicion, 'no-primary', `${reason}; ${failoverObstacle(step)}`, pauseMs);
  }
  return propose(suspicion, 'no-primary', { act: 'failover', epoch: membership.epoch, reason }, reason);
}

/**
 * The primary answers, and opens or is held up. It gets its time; if then another copy can be named, it is. It may
 * be the only one that does not reach etcd.
 */
function planStalled(input: PlanInput, volume: Volume, membership: Membership, primary: DeploymentStatus): VolumePlan {
  const { settings, nowMs, memory } = input;
  const { epoch } = membership;
  const stalled = memory.stalled?.epoch === epoch ? memory.stalled : { epoch, sinceMs: nowMs };
  const held: PlanInput = { ...input, memory: { missingSince: memory.missingSince, stalled } };
  const remaining = stalled.sinceMs + patienceMs(membership, 'working', settings) - nowMs;
  if (remaining <= 0 && promotion(input, volume, membership).kind === 'swap') {
    const what = membership.active ? 'answers and does not serve' : 'does not get open';
    const reason = `the primary on ${nodeName(input, membership.primary)} ${what}`;
    return propose(held, 'no-primary', { act: 'failover', epoch, reason, stalled: true }, reason);
  }
  const plan =
    membership.active && primary.role === 'primary'
      ? planCopies(held, volume, membership, primary)
      : wait(held, 'opening', `the primary on ${nodeName(input, membership.primary)} opens`, settings.idleMs);
  const pauseMs = remaining > 0 ? settings.busyMs : lookLater(-remaining, settings);
  return { ...plan, lookAgainMs: Math.min(plan.lookAgainMs, pauseMs) };
}

function promotion(input: PlanInput, volume: Volume, membership: Membership): FailoverStep {
  const answers = new Map([...input.answers].map(([id, told]) => [id, told === 'absent' ? 'unreachable' : told]));
  return planFailover(membership, volume.placements, answers);
}

/** Whoever comes back wakes the workflow; the longer it lasts, the less looking helps. */
function lookLater(sinceMs: number, settings: PlanSettings): number {
  return Math.min(Math.max(settings.busyMs, sinceMs / 8), settings.idleMs);
}

/** Why nobody can be named yet, for people. */
export function failoverObstacle({
  reason,
  deployments,
}: Pick<Extract<FailoverStep, { kind: 'wait' }>, 'reason' | 'deployments'>): string {
  const ids = deployments.join(', ');
  return reason === 'no-clean-answer'
    ? `no complete copy answers; waiting for ${ids}`
    : `etcd is behind what ${ids} know: run "storageos recover"`;
}

interface State {
  readonly condition: Condition;
  readonly text: string;
}

/** Copies of the volume, as the record and their own answers tell. */
interface Copies {
  readonly want: number;
  readonly inSync: readonly Placement[];
  /** Not in sync, there. */
  readonly present: readonly (Placement & { readonly behind: number })[];
  /** Not in sync, their node answers and has no such copy. */
  readonly blank: readonly Placement[];
  /** Not in sync, away. */
  readonly missing: readonly (Placement & { readonly sinceMs: number })[];
}

function planCopies(input: PlanInput, volume: Volume, membership: Membership, primary: DeploymentStatus): VolumePlan {
  const copies = sortCopies(input, volume, membership, primary);
  const remembered: PlanInput = {
    ...input,
    memory: {
      missingSince: Object.fromEntries(copies.missing.map((copy) => [copy.deployment, copy.sinceMs])),
      ...(!primary.serving && input.memory.stalled !== undefined && { stalled: input.memory.stalled }),
    },
  };
  const enough = copies.inSync.length >= copies.want;
  // What another copy has is mended within a moment.
  const damaged = primary.badBlocks > 0;
  const condition = damaged ? 'damaged' : enough ? 'healthy' : 'degraded';
  const text =
    `${condition}: ${copies.inSync.length} of ${copies.want} copies in sync` +
    (damaged ? `, ${primary.badBlocks} blocks of the primary's copy are not readable` : '') +
    (membership.readOnly ? ', read-only by its failure mode' : '');
  const state: State = { condition, text };

  const orphan = membership.inSync.find((id) => !volume.placements.some((placed) => placed.deployment === id));
  if (orphan !== undefined && orphan !== membership.primary.deployment) {
    const reason = 'it is not placed';
    return propose(
      remembered,
      condition,
      { act: 'remove-copy', deployment: orphan, reason, ...acting(membership) },
      text,
    );
  }
  const evicted = volume.placements.find(
    ({ deployment }) => volume.evicting?.includes(deployment) && deployment !== membership.primary.deployment,
  );
  if (evicted !== undefined) {
    const reason = 'its eviction was asked for';
    const { deployment } = evicted;
    return propose(remembered, condition, { act: 'remove-copy', deployment, reason, ...acting(membership) }, text);
  }
  return enough
    ? planSurplus(remembered, volume, membership, copies, state)
    : planShortage(remembered, volume, membership, primary, copies, state);
}

function sortCopies(input: PlanInput, volume: Volume, membership: Membership, primary: DeploymentStatus): Copies {
  const inSync: Placement[] = [];
  const present: (Placement & { behind: number })[] = [];
  const blank: Placement[] = [];
  const missing: (Placement & { sinceMs: number })[] = [];
  for (const placed of volume.placements) {
    const answer = input.answers.get(placed.deployment) ?? 'unreachable';
    if (membership.inSync.includes(placed.deployment)) inSync.push(placed);
    else if (answer === 'absent') blank.push(placed);
    else if (answer === 'unreachable') {
      missing.push({ ...placed, sinceMs: input.memory.missingSince[placed.deployment] ?? input.nowMs });
    } else present.push({ ...placed, behind: Math.max(0, primary.last.sequence - answer.last.sequence) });
  }
  present.sort((a, b) => a.behind - b.behind);
  missing.sort((a, b) => a.sinceMs - b.sinceMs);
  return { want: volume.replicas + 1, inSync, present, blank, missing };
}

/** Enough copies are in sync: others go, if their node answers. */
function planSurplus(
  input: PlanInput,
  volume: Volume,
  membership: Membership,
  copies: Copies,
  { condition, text }: State,
): VolumePlan {
  const { settings } = input;
  const spare = copies.present[0] ?? copies.blank[0];
  if (spare !== undefined) {
    const reason = 'enough copies are in sync';
    return propose(
      input,
      condition,
      { act: 'remove-copy', deployment: spare.deployment, reason, ...acting(membership) },
      text,
    );
  }
  if (copies.inSync.length > copies.want) {
    const surplus = leastWanted(input, volume, membership, copies);
    if (surplus !== undefined) {
      const reason = `the volume wants ${copies.want - 1} replicas`;
      return propose(
        input,
        condition,
        { act: 'remove-copy', deployment: surplus.deployment, reason, ...acting(membership) },
        text,
      );
    }
  }
  const forgotten = copies.missing.find((copy) => !input.nodes.has(copy.node)) ?? overflow(copies);
  if (forgotten !== undefined) {
    const reason = 'its node is gone and enough copies are in sync';
    return propose(
      input,
      condition,
      { act: 'remove-copy', deployment: forgotten.deployment, reason, ...acting(membership) },
      text,
    );
  }
  return wait(input, condition, text, settings.idleMs);
}

/** Of copies that are away, so many are remembered beside those that are wanted; then the one longest away goes. */
function overflow(copies: Copies): Placement | undefined {
  return copies.missing.length > copies.want ? copies.missing[0] : undefined;
}

/**
 * Never the primary; rather one that does not answer, then one that was named for it, then one on a node that is
 * to be emptied, and not where the volume is used.
 */
function leastWanted(input: PlanInput, volume: Volume, membership: Membership, copies: Copies): Placement | undefined {
  const score = (placed: Placement): number => {
    const node = input.nodes.get(placed.node);
    const answer = input.answers.get(placed.deployment);
    let value = 0;
    if (answer === undefined || answer === 'unreachable' || answer === 'absent') value += 8;
    if (volume.evictionCandidates?.includes(placed.deployment) === true) value += 4;
    if (node === undefined || node.cordoned || node.computeOnly) value += 2;
    if (placed.node === input.attachedTo) value -= 1;
    return value;
  };
  return copies.inSync
    .filter((placed) => placed.deployment !== membership.primary.deployment)
    .reduce<Placement | undefined>((worst, placed) => {
      return worst === undefined || score(placed) >= score(worst) ? placed : worst;
    }, undefined);
}

/** Copies are lacking: bring one up to date, make one, or wait for one that may come back. */
function planShortage(
  input: PlanInput,
  volume: Volume,
  membership: Membership,
  primary: DeploymentStatus,
  copies: Copies,
  state: State,
): VolumePlan {
  const { running, settings, nowMs } = input;
  const { condition, text } = state;
  // A sync that the run of this workflow before has started is known by the primary only.
  if (running !== undefined || primary.sync !== undefined) {
    return planBesideRunning(input, membership, primary, copies, state);
  }

  const need = copies.want - copies.inSync.length;
  const ways: Act[] = [
    ...copies.present.map(
      (copy): Act => ({
        act: 'sync',
        deployment: copy.deployment,
        ...acting(membership),
      }),
    ),
    ...copies.blank.map(
      (copy): Act => ({
        act: 'rebuild',
        placed: copy,
        reason: 'its node has no such copy',
        ...acting(membership),
      }),
    ),
  ];
  const ready = ways.find((act) => !isDeferred(input, act));
  if (ready !== undefined) return propose(input, condition, ready, text);

  const hopeful = ways.filter((act) => (input.failures[actKey(act)]?.count ?? 0) < HOPELESS_AFTER).length;
  const awaited = copies.missing.filter(
    (copy) => input.nodes.has(copy.node) && copy.sinceMs + settings.graceMs > nowMs,
  );
  // What fails with so many copies does not fail because of them.
  const hopeless = ways.length - hopeful;
  if (hopeful + awaited.length < need && hopeless < copies.want) {
    const longest = copies.missing[0];
    if (copies.missing.length > copies.want && longest !== undefined) {
      const reason = 'away for longest of too many';
      return propose(
        input,
        condition,
        { act: 'remove-copy', deployment: longest.deployment, reason, ...acting(membership) },
        text,
      );
    }
    const reason =
      volume.placements.length < copies.want
        ? `the volume wants ${copies.want - 1} replicas`
        : 'a copy is away for longer than the grace period';
    return propose(input, condition, { act: 'rebuild', reason, ...acting(membership) }, text);
  }
  const first = awaited[0];
  if (first === undefined) return wait(input, condition, `${text}; trying again soon`, settings.busyMs);
  const remaining = Math.max(1, first.sinceMs + settings.graceMs - nowMs);
  const summary = `${text}; waiting for ${nodeName(input, first)} to come back before a new copy is placed`;
  return wait(input, condition, summary, Math.min(remaining, settings.idleMs));
}

/** A copy is being filled. Only the return of one that has less to copy changes that. */
function planBesideRunning(
  input: PlanInput,
  membership: Membership,
  primary: DeploymentStatus,
  copies: Copies,
  { condition, text }: State,
): VolumePlan {
  const { settings } = input;
  const { sync } = primary;
  const doing = input.running === 'rebuild' ? 'a new copy is being made' : 'a copy is being synced';
  if (sync === undefined) return wait(input, condition, `${text}; ${doing}`, settings.runningMs);
  const remaining = Math.max(0, sync.blocksTotal - sync.blocksDone);
  const returned = copies.present.find((copy) => copy.deployment !== sync.target);
  const oneIsEnough = copies.want - copies.inSync.length === 1;
  if (sync.kind === 'full' && returned !== undefined && oneIsEnough && returned.behind < remaining) {
    const reason = `the copy on ${nodeName(input, returned)} is back and has fewer blocks to copy`;
    return propose(
      input,
      condition,
      { act: 'remove-copy', deployment: sync.target, reason, ...acting(membership) },
      text,
    );
  }
  const percent = sync.blocksTotal === 0 ? 100 : Math.floor((sync.blocksDone / sync.blocksTotal) * 100);
  return wait(input, condition, `${text}; ${doing}, ${percent} %`, settings.runningMs);
}

function acting({ primary, epoch }: Membership): ActingPrimary {
  return { primary: { deployment: primary.deployment, node: primary.node }, epoch };
}

function isDeferred(input: PlanInput, act: Act): boolean {
  return (input.failures[actKey(act)]?.notBeforeMs ?? 0) > input.nowMs;
}

/** The act, or a pause if it failed a moment ago. */
function propose(input: PlanInput, condition: Condition, act: Act, summary: string): VolumePlan {
  const notBeforeMs = input.failures[actKey(act)]?.notBeforeMs ?? 0;
  if (notBeforeMs > input.nowMs) {
    return wait(input, condition, `${summary}; trying again soon`, notBeforeMs - input.nowMs);
  }
  return plan(input, condition, act, summary, input.settings.busyMs);
}

function wait(input: PlanInput, condition: Condition, summary: string, lookAgainMs: number): VolumePlan {
  return plan(input, condition, { act: 'wait' }, summary, lookAgainMs);
}

function plan(input: PlanInput, condition: Condition, step: Step, summary: string, lookAgainMs: number): VolumePlan {
  const primaryNode = input.membership?.primary.node;
  return {
    step,
    condition,
    ...(primaryNode !== undefined && { primaryNode }),
    summary,
    lookAgainMs,
    memory: input.memory,
  };
}

function nodeName(input: PlanInput, placed: { readonly node: NodeId }): string {
  return input.nodes.get(placed.node)?.name ?? `node ${placed.node}`;
}
