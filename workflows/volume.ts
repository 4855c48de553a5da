import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  executeChild,
  isCancellation,
  log,
  patched,
  setCurrentDetails,
  setHandler,
  startChild,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { SyncResult } from '../activities/deployments.js';
import type { VolumeId } from '../core/types.js';
import {
  type Act,
  actKey,
  EMPTY_MEMORY,
  type Failures,
  type PlanMemory,
  type VolumePlan,
} from '../core/volume-plan.js';
import { AttachVolume } from './attach-volume.js';
import { lookAtVolume } from './calls.js';
import { childOptions } from './children.js';
import { DeleteVolume } from './delete-volume.js';
import { DeltaSync } from './delta-sync.js';
import { DetachVolume } from './detach-volume.js';
import { Failover } from './failover.js';
import { rootFailure } from './failures.js';
import type { VolumeWorkflowInput } from './names.js';
import { inPresentContext } from './operation-context.js';
import { ProvisionVolume } from './provision-volume.js';
import { RebuildReplica } from './rebuild-replica.js';
import { RemoveReplica } from './remove-replica.js';
import { NAMESPACE_ATTRIBUTE, NODE_ATTRIBUTE, OPERATION_ATTRIBUTE, PHASE_ATTRIBUTE } from './search-attributes.js';
import {
  attach,
  type Command,
  CommandQueue,
  checkAttach,
  checkRemove,
  detach,
  look,
  provision,
  remove,
} from './volume-commands.js';

/** Looks that signals cause come no faster than this. */
const MIN_LOOK_INTERVAL_MS = 200;
/** A command that starts the workflow together with it is handled before the first look. */
const FIRST_COMMAND_MS = 50;
/** While something else goes on, the primary is looked at so often. */
const GUARD_INTERVAL_MS = 3_000;
/** When even looking failed. */
const BLIND_RETRY_MS = 3_000;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
/** A failover is tried anew sooner than other acts: users wait for it. */
const MAX_FAILOVER_RETRY_MS = 5_000;
/** A failure so long ago says nothing any more. */
const FORGET_FAILURE_MS = 10 * 60_000;
/** An act that runs already, started by the run before this one. */
const ADOPTED_RETRY_MS = 5_000;
const MAX_DETAIL_CHARACTERS = 2_000;
/**
 * Events. A worker that starts goes through the histories of all its volumes within the time of a workflow task each;
 * Temporal's own suggestion comes at some thousands.
 */
const LONG_HISTORY = 500;

/**
 * A volume's mind. It looks at the volume when something may have changed, and now and then; the plan says what
 * is to be done; a child workflow does it; and it looks again. Commands of users come in between, one at a time.
 * Copying data goes on beside the loop. Nothing is known here that can't be read again from etcd and the nodes.
 */
export async function Volume(input: VolumeWorkflowInput): Promise<void> {
  await new VolumeMind(input).run();
}

class VolumeMind {
  readonly #volume: VolumeId;
  readonly #commands = new CommandQueue();
  #memory: PlanMemory;
  #failures: Failures;
  #awake = true;
  #lastLookMs = Number.NEGATIVE_INFINITY;
  #background:
    | { readonly act: 'sync' | 'rebuild'; readonly scope: CancellationScope; readonly done: Promise<void> }
    | undefined;
  #state = { summary: 'not looked at yet', sinceMs: Date.now() };
  #doing = 'looking';
  #lastAct = '';
  #attributes = '';

  constructor(input: VolumeWorkflowInput) {
    this.#volume = input.volume;
    this.#memory = input.carried?.memory ?? EMPTY_MEMORY;
    this.#failures = input.carried?.failures ?? {};
    this.#handle();
  }

  async run(): Promise<void> {
    const { attempt, lastFailure } = workflowInfo();
    if (attempt > 1) log.error('the run before this one failed: begun anew', { failure: lastFailure?.message });
    // Asked once, as its answer may change within a run that older code has begun.
    const keepsShort = patched('short-histories');
    await condition(() => this.#commands.size > 0, FIRST_COMMAND_MS);
    for (;;) {
      const command = this.#commands.shift();
      if (command !== undefined) {
        await this.#runCommand(command);
        continue;
      }
      if (this.#isLong(keepsShort) && allHandlersFinished()) {
        await continueAsNew<typeof Volume>({
          volume: this.#volume,
          carried: { memory: this.#memory, failures: this.#failures },
        });
      }
      const pauseMs = this.#lastLookMs + MIN_LOOK_INTERVAL_MS - Date.now();
      if (pauseMs > 0 && (await condition(() => this.#commands.size > 0, pauseMs))) continue;

      const plan = await this.#look();
      if (plan?.step.act === 'end') break;
      if (plan !== undefined && plan.step.act !== 'wait') {
        await this.#perform(plan.step);
        continue;
      }
      this.#describe(plan === undefined ? 'waiting to look again' : 'waiting');
      const patienceMs = Math.max(1, plan?.lookAgainMs ?? BLIND_RETRY_MS);
      await condition(() => this.#awake || this.#commands.size > 0, patienceMs);
    }
    this.#describe('ended');
    this.#commands.close(`volume ${this.#volume} is deleted`);
    for (let command = this.#commands.shift(); command !== undefined; command = this.#commands.shift()) {
      await this.#runCommand(command);
    }
    await condition(allHandlersFinished);
  }

  /** Whether the next run should take over; it would have to wait for what goes on beside this one. */
  #isLong(keepsShort: boolean): boolean {
    const { continueAsNewSuggested, historyLength } = workflowInfo();
    return continueAsNewSuggested || (keepsShort && historyLength >= LONG_HISTORY && this.#background === undefined);
  }

  #handle(): void {
    const volume = this.#volume;
    const child = (type: string, operation: string, summary: string) =>
      childOptions({ volume, type, operation, summary });
    const free = () => this.#commands.refuseIfFull();
    setHandler(look, () => {
      this.#awake = true;
    });
    setHandler(
      provision,
      () =>
        this.#submit('provision', () =>
          executeChild(ProvisionVolume, {
            ...child('ProvisionVolume', 'provision', 'Make the copies of a new volume'),
            args: [{ volume }],
          }),
        ),
      { validator: free },
    );
    setHandler(
      attach,
      ({ node }) =>
        this.#submit(`attach to node ${node}`, () =>
          executeChild(AttachVolume, {
            ...childOptions({
              volume,
              type: 'AttachVolume',
              operation: 'attach',
              node,
              summary: `Attach to node ${node}`,
            }),
            args: [{ volume, node }],
          }),
        ),
      {
        validator: (command) => {
          checkAttach(command);
          free();
        },
      },
    );
    setHandler(
      detach,
      () =>
        this.#submit('detach', () =>
          executeChild(DetachVolume, { ...child('DetachVolume', 'detach', 'Detach'), args: [{ volume }] }),
        ),
      { validator: free },
    );
    setHandler(remove, ({ offline }) => this.#submit('delete', () => this.#delete(offline)), {
      validator: (command) => {
        checkRemove(command);
        free();
      },
    });
  }

  /** Resolves when the command was run; fails as it failed. */
  async #submit(what: string, run: () => Promise<void>): Promise<void> {
    const command: Command = { what, run: inPresentContext(run) };
    this.#commands.push(command);
    await condition(() => command.outcome !== undefined);
    if (command.outcome?.error !== undefined) throw command.outcome.error;
  }

  async #runCommand(command: Command): Promise<void> {
    this.#describe(command.what);
    try {
      await this.#guardingPrimary(command.run());
      this.#finished(command.what);
      command.outcome = {};
    } catch (error) {
      const failure = rootFailure(error);
      this.#finished(command.what, failure.message);
      command.outcome = { error: failure };
    }
    this.#awake = true;
  }

  async #look(): Promise<VolumePlan | undefined> {
    this.#awake = false;
    this.#lastLookMs = Date.now();
    try {
      const { plan, namespace } = await lookAtVolume({
        volume: this.#volume,
        memory: this.#memory,
        failures: this.#failures,
        ...(this.#background !== undefined && { running: this.#background.act }),
        nowMs: Date.now(),
      });
      this.#memory = plan.memory;
      this.#observe(plan.summary);
      this.#tag(plan, namespace);
      return plan;
    } catch (error) {
      if (isCancellation(error)) throw error;
      this.#observe(`cannot be looked at: ${rootFailure(error).message}`);
      return undefined;
    }
  }

  /** What goes on may hang on a node, even on the primary's: a primary that fails meanwhile is replaced all the same. */
  async #guardingPrimary(work: Promise<void>): Promise<void> {
    let over = false;
    const ended = work.finally(() => {
      over = true;
    });
    ended.catch(() => {
      // Whoever awaits it below is told.
    });
    this.#awake = false;
    for (let pauseMs = GUARD_INTERVAL_MS; !over; ) {
      await condition(() => over || this.#awake, pauseMs);
      await condition(() => over, Math.max(1, this.#lastLookMs + MIN_LOOK_INTERVAL_MS - Date.now()));
      if (over) break;
      const plan = await this.#look();
      if (plan?.step.act === 'failover') await this.#perform(plan.step);
      pauseMs = Math.min(plan?.lookAgainMs ?? BLIND_RETRY_MS, GUARD_INTERVAL_MS);
    }
    await ended;
  }

  async #perform(act: Act): Promise<void> {
    this.#describe(act.act);
    if (act.act === 'sync' || act.act === 'rebuild') {
      await this.#startBackground(act);
      return;
    }
    // What is being copied was planned under other circumstances.
    this.#background?.scope.cancel();
    try {
      await (act.act === 'remove-copy' ? this.#guardingPrimary(this.#runAct(act)) : this.#runAct(act));
      this.#succeeded(act);
    } catch (error) {
      if (isCancellation(error)) throw error;
      this.#failed(act, error);
    }
  }

  async #runAct(act: Exclude<Act, { act: 'sync' | 'rebuild' }>): Promise<void> {
    const volume = this.#volume;
    switch (act.act) {
      case 'failover':
        return executeChild(Failover, {
          ...childOptions({ volume, type: 'Failover', operation: 'failover', summary: `Because ${act.reason}` }),
          args: [{ volume, epoch: act.epoch, reason: act.reason, stalled: act.stalled === true }],
        });
      case 'remove-copy':
        await this.#background?.done;
        return executeChild(RemoveReplica, {
          ...childOptions({
            volume,
            type: 'RemoveReplica',
            operation: 'remove-replica',
            deployment: act.deployment,
            node: act.primary.node,
            summary: `Because ${act.reason}`,
          }),
          args: [{ volume, primary: act.primary, deployment: act.deployment, reason: act.reason }],
        });
      case 'provision':
        return executeChild(ProvisionVolume, {
          ...childOptions({
            volume,
            type: 'ProvisionVolume',
            operation: 'provision',
            summary: 'Go on making a new volume',
          }),
          args: [{ volume }],
        });
      case 'delete':
        return this.#delete(false);
    }
  }

  async #delete(offline: boolean): Promise<void> {
    this.#background?.scope.cancel();
    await this.#background?.done;
    const volume = this.#volume;
    await executeChild(DeleteVolume, {
      ...childOptions({ volume, type: 'DeleteVolume', operation: 'delete', summary: 'Delete the volume and its data' }),
      args: [{ volume, offline }],
    });
  }

  /** The loop goes on while it runs; its end wakes it. */
  async #startBackground(act: Extract<Act, { act: 'sync' | 'rebuild' }>): Promise<void> {
    const scope = new CancellationScope();
    try {
      const { ended } = await scope.run(() => this.#startCopying(act));
      const done = ended.then(
        () => this.#succeeded(act),
        (error: unknown) => this.#failed(act, error),
      );
      this.#background = {
        act: act.act,
        scope,
        done: done.then(() => {
          this.#background = undefined;
          this.#awake = true;
        }),
      };
    } catch (error) {
      if (isCancellation(error)) throw error;
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) this.#failed(act, error);
      else this.#defer(act, this.#failures[actKey(act)]?.count ?? 0, ADOPTED_RETRY_MS);
    }
  }

  /** Resolves when the child has begun, with the promise of its end in an object of its own. */
  async #startCopying(
    act: Extract<Act, { act: 'sync' | 'rebuild' }>,
  ): Promise<{ readonly ended: Promise<SyncResult> }> {
    const volume = this.#volume;
    if (act.act === 'sync') {
      const child = await startChild(DeltaSync, {
        ...childOptions({
          volume,
          type: 'DeltaSync',
          operation: 'sync',
          deployment: act.deployment,
          node: act.primary.node,
          summary: `Bring copy ${act.deployment} up to date`,
        }),
        args: [{ volume, primary: act.primary, target: act.deployment, epoch: act.epoch }],
      });
      return { ended: child.result() };
    }
    const child = await startChild(RebuildReplica, {
      ...childOptions({
        volume,
        type: 'RebuildReplica',
        operation: 'rebuild',
        node: act.primary.node,
        summary: `Because ${act.reason}`,
      }),
      args: [
        {
          volume,
          primary: act.primary,
          epoch: act.epoch,
          reason: act.reason,
          ...(act.placed !== undefined && { placed: act.placed }),
        },
      ],
    });
    return { ended: child.result() };
  }

  #succeeded(act: Act): void {
    const { [actKey(act)]: _, ...others } = this.#failures;
    this.#failures = others;
    this.#finished(act.act);
  }

  #failed(act: Act, error: unknown): void {
    if (isCancellation(error)) {
      this.#finished(act.act, 'cancelled');
      return;
    }
    const count = (this.#failures[actKey(act)]?.count ?? 0) + 1;
    const longestMs = act.act === 'failover' ? MAX_FAILOVER_RETRY_MS : MAX_RETRY_MS;
    this.#defer(act, count, Math.min(FIRST_RETRY_MS * 2 ** Math.min(count - 1, 16), longestMs));
    this.#finished(act.act, rootFailure(error).message);
  }

  #defer(act: Act, count: number, delayMs: number): void {
    const nowMs = Date.now();
    const recent = Object.entries(this.#failures).filter(
      ([, { notBeforeMs }]) => notBeforeMs > nowMs - FORGET_FAILURE_MS,
    );
    this.#failures = { ...Object.fromEntries(recent), [actKey(act)]: { count, notBeforeMs: nowMs + delayMs } };
  }

  /* ---- for people ---- */

  #finished(what: string, problem?: string): void {
    const outcome = problem === undefined ? 'done' : `failed: ${problem}`;
    this.#lastAct = `${what} ${outcome} at ${new Date().toISOString()}`;
  }

  #observe(summary: string): void {
    if (summary !== this.#state.summary) this.#state = { summary, sinceMs: Date.now() };
  }

  #describe(doing: string): void {
    this.#doing = doing;
    const { summary, sinceMs } = this.#state;
    const lines = [
      `**${summary}**`,
      `since ${new Date(sinceMs).toISOString()}`,
      `now: ${this.#doing}`,
      ...(this.#background === undefined ? [] : [`beside it: ${this.#background.act}`]),
      ...(this.#commands.size === 0 ? [] : [`${this.#commands.size} commands wait`]),
      ...(this.#lastAct === '' ? [] : [`last: ${this.#lastAct}`]),
    ];
    setCurrentDetails(lines.join('\n\n').slice(0, MAX_DETAIL_CHARACTERS));
  }

  #tag(plan: VolumePlan, namespace: string | undefined): void {
    const operation = this.#background?.act ?? plan.step.act;
    const attributes = JSON.stringify([plan.condition, operation, plan.primaryNode, namespace]);
    if (attributes === this.#attributes) return;
    this.#attributes = attributes;
    upsertSearchAttributes([
      { key: PHASE_ATTRIBUTE, value: plan.condition },
      { key: OPERATION_ATTRIBUTE, value: operation },
      { key: NODE_ATTRIBUTE, value: plan.primaryNode ?? null },
      ...(namespace === undefined ? [] : [{ key: NAMESPACE_ATTRIBUTE, value: namespace }]),
    ]);
  }
}
