/** The volumes' workflows, as API and agent speak to them. */

import { Client, Connection, WithStartWorkflowOperation, type WorkflowStartOptions } from '@temporalio/client';
import type { RetryPolicy } from '@temporalio/common';
import { encodeSearchAttributeIndexedValueType } from '@temporalio/common/lib/search-attributes.js';
import type { LostVolumeReport, RecoveryReport, VerifyReport, VolumeController } from '../../core/controller.js';
import { DomainError } from '../../core/errors.js';
import type { LostVolumeWishes } from '../../core/lost-volumes.js';
import type { NamespaceId, NodeId, VolumeId } from '../../core/types.js';
import {
  ATTACH_UPDATE,
  type AttachCommand,
  DETACH_UPDATE,
  FENCE_NODE_WORKFLOW,
  type FenceNodeInput,
  fenceNodeWorkflowId,
  LOOK_SIGNAL,
  PROVISION_UPDATE,
  RECOVER_VOLUME_WORKFLOW,
  REMOVE_UPDATE,
  type RecoverVolumeInput,
  type RemoveCommand,
  SHARED_TASK_QUEUE,
  VERIFY_VOLUME_WORKFLOW,
  VOLUME_WORKFLOW,
  volumeChildId,
  volumeWorkflowId,
} from '../../workflows/names.js';
import {
  NAMESPACE_ATTRIBUTE,
  NODE_ATTRIBUTE,
  OPERATION_ATTRIBUTE,
  SEARCH_ATTRIBUTES,
  VOLUME_ATTRIBUTE,
} from '../../workflows/search-attributes.js';
import { contextClientInterceptor } from './context-interceptors.js';
import type { WorkflowRuns } from './rescue.js';
import { isWorkflowGone, toDomainError } from './temporal-errors.js';

/** Temporal accepts a command within this time, or it counts as away. */
const ACCEPT_TIMEOUT_MS = 4_000;
/** A comparison of copies takes as long as reading their indexes. */
const VERIFY_TIMEOUT_MS = 30 * 60_000;
/** Asking the nodes and writing take seconds; a primary of a volume that waits for its copies may take longer. */
const RECOVER_TIMEOUT_MS = 2 * 60_000;

/**
 * A worker that took a volume's task and vanished holds it up for so long: often it is the node that failed whose
 * volumes wait to be failed over. A worker that has just started goes through many histories within this time.
 */
const WORKFLOW_TASK_TIMEOUT_MS = 6_000;

/**
 * A run that failed, because the code of a new version could not go on with it, is begun anew by Temporal with what
 * it was begun with; if that is the reason, by the sweeper with nothing.
 */
const RETRY: RetryPolicy = { initialInterval: 500, backoffCoefficient: 2, maximumInterval: 5_000, maximumAttempts: 3 };

export interface ControllerOptions {
  readonly address: string;
  readonly namespace: string;
  /** For titles in Temporal's UI. */
  readonly describe?: (volume: VolumeId) => { readonly name: string; readonly namespace: NamespaceId } | undefined;
  /** Who signals and commands, for the histories of the workflows. */
  readonly identity: string;
  /** How long Temporal may take to accept a command; 4 s. */
  readonly acceptTimeoutMs?: number;
}

type VolumeStart = Omit<WorkflowStartOptions, 'args'>;

export class TemporalVolumeController implements VolumeController, WorkflowRuns {
  readonly #options: ControllerOptions;
  readonly #connection: Connection;
  readonly #client: Client;

  /** Connects with the first call. */
  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#connection = Connection.lazy({ address: options.address, connectTimeout: this.#acceptTimeoutMs });
    const { namespace, identity } = options;
    const interceptors = { workflow: [contextClientInterceptor] };
    this.#client = new Client({ connection: this.#connection, namespace, identity, interceptors });
  }

  get client(): Client {
    return this.#client;
  }

  provision(volume: VolumeId, { waitMs }: { readonly waitMs: number }): Promise<void> {
    return this.#command(volume, PROVISION_UPDATE, [], waitMs);
  }

  attach(volume: VolumeId, node: NodeId, { waitMs }: { readonly waitMs: number }): Promise<void> {
    return this.#command(volume, ATTACH_UPDATE, [{ node } satisfies AttachCommand], waitMs);
  }

  detach(volume: VolumeId, { waitMs }: { readonly waitMs: number }): Promise<void> {
    return this.#command(volume, DETACH_UPDATE, [], waitMs);
  }

  remove(volume: VolumeId, { offline, waitMs }: { readonly offline: boolean; readonly waitMs: number }): Promise<void> {
    return this.#command(volume, REMOVE_UPDATE, [{ offline } satisfies RemoveCommand], waitMs);
  }

  changed(volume: VolumeId): Promise<void> {
    return this.look(volume, 'the desired state has changed');
  }

  /** Wakes the volume's workflow, and starts it if there is none. `reason` is for people. */
  async look(volume: VolumeId, reason: string): Promise<void> {
    await this.#within(`waking volume ${volume}`, () =>
      this.#client.workflow.signalWithStart(VOLUME_WORKFLOW, {
        ...this.#start(volume),
        args: [{ volume }],
        signal: LOOK_SIGNAL,
        signalArgs: [reason],
      }),
    );
  }

  async verify(volume: VolumeId): Promise<VerifyReport> {
    const what = `verifying volume ${volume}`;
    const handle = await this.#within(what, () =>
      this.#client.workflow.start(VERIFY_VOLUME_WORKFLOW, {
        workflowId: volumeChildId(volume, 'verify'),
        taskQueue: SHARED_TASK_QUEUE,
        workflowIdConflictPolicy: 'USE_EXISTING',
        args: [{ volume }],
        staticSummary: `Compare the copies of ${this.#title(volume)}`,
        typedSearchAttributes: this.#attributes(volume, VERIFY_VOLUME_WORKFLOW),
      }),
    );
    const report = await this.#result<VerifyReport>(what, () => handle.result(), VERIFY_TIMEOUT_MS);
    if (report === undefined) throw new DomainError('controller-unavailable', `${what} takes too long; it goes on`);
    return report;
  }

  recover(volume: VolumeId, { acceptLoss }: { readonly acceptLoss: boolean }): Promise<RecoveryReport> {
    return this.#recover(`Recover the membership of ${this.#title(volume)} from its copies`, { volume, acceptLoss });
  }

  recoverLost(
    volume: VolumeId,
    { acceptLoss, ...lost }: LostVolumeWishes & { readonly acceptLoss: boolean },
  ): Promise<LostVolumeReport> {
    return this.#recover(`Recover the records of ${lost.name ?? volume} from its copies`, { volume, acceptLoss, lost });
  }

  async #recover<R extends RecoveryReport>(staticSummary: string, input: RecoverVolumeInput): Promise<R> {
    const { volume } = input;
    const what = `recovering volume ${volume}`;
    const handle = await this.#within(what, () =>
      this.#client.workflow.start(RECOVER_VOLUME_WORKFLOW, {
        workflowId: volumeChildId(volume, 'recover'),
        taskQueue: SHARED_TASK_QUEUE,
        args: [input],
        staticSummary,
        typedSearchAttributes: this.#attributes(volume, RECOVER_VOLUME_WORKFLOW),
      }),
    );
    const report = await this.#result<R>(what, () => handle.result(), RECOVER_TIMEOUT_MS);
    if (report === undefined) throw new DomainError('controller-unavailable', `${what} takes too long; it goes on`);
    return report;
  }

  /** Starts `FenceNode`, or joins the one that runs for the node. Resolves when it has begun. */
  async fenceNode(input: FenceNodeInput): Promise<void> {
    await this.#within(`fencing node ${input.node}`, () =>
      this.#client.workflow.start(FENCE_NODE_WORKFLOW, {
        workflowId: fenceNodeWorkflowId(input.node),
        taskQueue: SHARED_TASK_QUEUE,
        workflowIdConflictPolicy: 'USE_EXISTING',
        args: [input],
        staticSummary: `Node ${input.node}: ${input.reason}`,
        typedSearchAttributes: [
          { key: NODE_ATTRIBUTE, value: input.node },
          { key: OPERATION_ATTRIBUTE, value: FENCE_NODE_WORKFLOW },
        ],
      }),
    );
  }

  /** Ids of the workflows that run, and of their runs. Temporal's index of them is a little late. */
  async running(): Promise<Map<string, string>> {
    return this.#within('listing the workflows of Temporal', async () => {
      const runs = new Map<string, string>();
      const query = `TaskQueue = '${SHARED_TASK_QUEUE}' AND ExecutionStatus = 'Running'`;
      for await (const { workflowId, runId } of this.#client.workflow.list({ query })) runs.set(workflowId, runId);
      return runs;
    });
  }

  /** See `WorkflowRuns`; 0 for a run that Temporal no longer knows. */
  async attempts(workflowId: string, runId: string): Promise<number> {
    return this.#within(`describing ${workflowId}`, async () => {
      try {
        const { raw } = await this.#client.workflow.getHandle(workflowId, runId).describe();
        return raw.pendingWorkflowTask?.attempt ?? 0;
      } catch (error) {
        if (isWorkflowGone(error)) return 0;
        throw error;
      }
    });
  }

  async terminate(workflowId: string, runId: string, reason: string): Promise<void> {
    await this.#within(`ending ${workflowId}`, async () => {
      try {
        await this.#client.workflow.getHandle(workflowId, runId).terminate(reason);
      } catch (error) {
        if (!isWorkflowGone(error)) throw error;
      }
    });
  }

  /** Makes the search attributes known to a server that was not started with them. */
  async registerSearchAttributes(): Promise<void> {
    const { namespace } = this.#options;
    const { operatorService } = this.#connection;
    await this.#within('registering search attributes', async () => {
      const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
      const missing = SEARCH_ATTRIBUTES.filter(({ name }) => customAttributes?.[name] === undefined);
      if (missing.length === 0) return;
      const searchAttributes = Object.fromEntries(
        missing.map(({ name, type }) => [name, encodeSearchAttributeIndexedValueType(type)!]),
      );
      await operatorService.addSearchAttributes({ namespace, searchAttributes });
    });
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }

  get #acceptTimeoutMs(): number {
    return this.#options.acceptTimeoutMs ?? ACCEPT_TIMEOUT_MS;
  }

  /** Starts the workflow if there is none, gives the command, and waits for its end. */
  async #command(volume: VolumeId, update: string, args: unknown[], waitMs: number): Promise<void> {
    const what = `${update} of volume ${volume}`;
    const send = () =>
      this.#client.workflow.startUpdateWithStart(update, {
        args,
        waitForStage: 'ACCEPTED',
        startWorkflowOperation: new WithStartWorkflowOperation(VOLUME_WORKFLOW, {
          ...this.#start(volume),
          args: [{ volume }],
          workflowIdConflictPolicy: 'USE_EXISTING',
        }),
      });
    // A workflow that ends at this moment, its volume being deleted, takes no command: the next one says so.
    const handle = await this.#within(what, () =>
      send().catch((error: unknown) => (isWorkflowGone(error) ? send() : Promise.reject(error))),
    );
    await this.#result(what, () => handle.result(), waitMs);
  }

  #start(volume: VolumeId): VolumeStart {
    return {
      workflowId: volumeWorkflowId(volume),
      taskQueue: SHARED_TASK_QUEUE,
      workflowTaskTimeout: WORKFLOW_TASK_TIMEOUT_MS,
      retry: RETRY,
      staticSummary: `Volume ${this.#title(volume)}`,
      staticDetails:
        'Keeps the copies of the volume as they are wanted. Current details: its state, and what it waits for.',
      typedSearchAttributes: this.#attributes(volume, VOLUME_WORKFLOW),
    };
  }

  #title(volume: VolumeId): string {
    return this.#options.describe?.(volume)?.name ?? volume;
  }

  #attributes(volume: VolumeId, operation: string) {
    const namespace = this.#options.describe?.(volume)?.namespace;
    return [
      { key: VOLUME_ATTRIBUTE, value: volume },
      { key: OPERATION_ATTRIBUTE, value: operation },
      ...(namespace === undefined ? [] : [{ key: NAMESPACE_ATTRIBUTE, value: namespace }]),
    ];
  }

  async #within<T>(what: string, call: () => Promise<T>): Promise<T> {
    try {
      return await this.#connection.withDeadline(Date.now() + this.#acceptTimeoutMs, call);
    } catch (error) {
      throw toDomainError(error, what);
    }
  }

  /** Undefined when the time is over; what was accepted goes on. */
  async #result<T>(what: string, wait: () => Promise<T>, waitMs: number): Promise<T | undefined> {
    const giveUp = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => {
        resolve(undefined);
        giveUp.abort();
      }, waitMs);
    });
    try {
      return await Promise.race([this.#connection.withAbortSignal(giveUp.signal, wait), patience]);
    } catch (error) {
      throw toDomainError(error, what);
    } finally {
      clearTimeout(timer);
    }
  }
}
