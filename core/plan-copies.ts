/** What a volume with a serving primary needs: rules 2 to 4 of volume-plan.ts. */

import type { Membership, Placement, Volume } from './domain.js';
import type { DeploymentStatus } from './messages.js';
import {
  type Act,
  acting,
  type Condition,
  isDeferred,
  isHopeless,
  nodeName,
  type PlanInput,
  propose,
  type VolumePlan,
  wait,
} from './plan-steps.js';
import { percentDone } from './replication/sync-meter.js';

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
  /** Not in sync, and never to be again; none while they may be of use yet. */
  readonly damaged: readonly Placement[];
  /** Not in sync, away. */
  readonly missing: readonly (Placement & { readonly sinceMs: number })[];
}

export function planCopies(
  input: PlanInput,
  volume: Volume,
  membership: Membership,
  primary: DeploymentStatus,
): VolumePlan {
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
  const damaged: Placement[] = [];
  const missing: (Placement & { sinceMs: number })[] = [];
  // Somebody may still get out of them what the primary can't read.
  const expendable = primary.serving && primary.badBlocks === 0;
  for (const placed of volume.placements) {
    const answer = input.answers.get(placed.deployment) ?? 'unreachable';
    if (membership.inSync.includes(placed.deployment)) inSync.push(placed);
    else if (answer === 'absent') blank.push(placed);
    else if (answer === 'damaged') {
      if (expendable) damaged.push(placed);
    } else if (answer === 'unreachable') {
      missing.push({ ...placed, sinceMs: input.memory.missingSince[placed.deployment] ?? input.nowMs });
    } else present.push({ ...placed, behind: Math.max(0, primary.last.sequence - answer.last.sequence) });
  }
  present.sort((a, b) => a.behind - b.behind);
  missing.sort((a, b) => a.sinceMs - b.sinceMs);
  return { want: volume.replicas + 1, inSync, present, blank, damaged, missing };
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
  const spare = copies.present[0] ?? copies.blank[0] ?? copies.damaged[0];
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
    if (typeof answer !== 'object') value += 8;
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

  // Its node may be the only one with room for another. One at a time: the next one goes when the last one's place is
  // taken, or can't be. What damages all of them, or takes them for damaged, may be a mistake of the program.
  const damaged = copies.damaged[0];
  const another: Act = {
    act: 'rebuild',
    reason: `the volume wants ${copies.want - 1} replicas`,
    ...acting(membership),
  };
  const placeable = !isHopeless(input, another);
  if (damaged !== undefined && (volume.placements.length >= copies.want || !placeable)) {
    const reason = 'it is damaged and cannot be opened';
    return propose(
      input,
      condition,
      { act: 'remove-copy', deployment: damaged.deployment, reason, ...acting(membership) },
      text,
    );
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

  const hopeful = ways.filter((act) => !isHopeless(input, act)).length;
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

/** A copy is being filled. Only the return of one that has less to copy, and can be synced, changes that. */
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
  const returned = copies.present.find(
    ({ deployment }) =>
      deployment !== sync.target && !isHopeless(input, { act: 'sync', deployment, ...acting(membership) }),
  );
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
  const percent = percentDone(sync);
  const far = percent === undefined ? 'what it lacks is being counted' : `${percent} %`;
  return wait(input, condition, `${text}; ${doing}, ${far}`, settings.runningMs);
}
