/** What a volume's plan is made from, what it says, and the steps that it consists of. */

import type { Answer } from './candidate.js';
import type { Membership, Placement, Volume } from './domain.js';
import { DEFAULT_PATIENCE, type FailoverPatience } from './failover.js';
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

/** The node answers, and has no such deployment, or one that it cannot open because what was durable is damaged. */
export type CopyAnswer = Answer | 'absent' | 'damaged';

/** To whoever asks what the copy has, one that is not open says as much as one that is away. */
export function asAnswer<T extends CopyAnswer | undefined>(told: T): Exclude<T, 'absent' | 'damaged'> | 'unreachable' {
  return told === 'absent' || told === 'damaged' ? 'unreachable' : (told as Exclude<T, 'absent' | 'damaged'>);
}

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

export function acting({ primary, epoch }: Membership): ActingPrimary {
  return { primary: { deployment: primary.deployment, node: primary.node }, epoch };
}

/** It has failed so often in a row that it does not count as a way to another copy. */
export function isHopeless(input: PlanInput, act: Act): boolean {
  return (input.failures[actKey(act)]?.count ?? 0) >= HOPELESS_AFTER;
}

export function isDeferred(input: PlanInput, act: Act): boolean {
  return (input.failures[actKey(act)]?.notBeforeMs ?? 0) > input.nowMs;
}

/** The act, or a pause if it failed a moment ago. */
export function propose(input: PlanInput, condition: Condition, act: Act, summary: string): VolumePlan {
  const notBeforeMs = input.failures[actKey(act)]?.notBeforeMs ?? 0;
  if (notBeforeMs > input.nowMs) {
    return wait(input, condition, `${summary}; trying again soon`, notBeforeMs - input.nowMs);
  }
  return plan(input, condition, act, summary, input.settings.busyMs);
}

export function wait(input: PlanInput, condition: Condition, summary: string, lookAgainMs: number): VolumePlan {
  return plan(input, condition, { act: 'wait' }, summary, lookAgainMs);
}

export function plan(
  input: PlanInput,
  condition: Condition,
  step: Step,
  summary: string,
  lookAgainMs: number,
): VolumePlan {
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

export function nodeName(input: PlanInput, placed: { readonly node: NodeId }): string {
  return input.nodes.get(placed.node)?.name ?? `node ${placed.node}`;
}
