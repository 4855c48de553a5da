/** What runs in Temporal, in the words of those who wait for it. */

import type { Client, WorkflowExecutionDescription, WorkflowExecutionInfo } from '@temporalio/client';
import { arrayFromPayloads, defaultPayloadConverter } from '@temporalio/common';
import type { SyncHeartbeat } from '../../activities/deployments.js';
import { MAX_OPERATIONS, type Operation, type OperationProgress } from '../../core/operation.js';
import type { NodeId } from '../../core/types.js';
import { SHARED_TASK_QUEUE, VOLUME_WORKFLOW, volumeOfWorkflow } from '../../workflows/names.js';
import { NODE_ATTRIBUTE, PHASE_ATTRIBUTE } from '../../workflows/search-attributes.js';
import { toDomainError } from './temporal-errors.js';

/** Answers to one question of Temporal, ms. */
const LIST_TIMEOUT_MS = 4_000;
/** A workflow that does not say in this time what it does is shown without it: perhaps no worker is there, ms. */
const DETAIL_TIMEOUT_MS = 1_500;
const MAX_PARALLEL_DETAILS = 16;
const MAX_SUMMARY_CHARS = 500;
/** An activity that nobody has taken for so long waits for its node. */
const UNTAKEN_MS = 2_000;

/** Volumes that are as they are wanted do nothing. */
const QUERY = [
  `TaskQueue = '${SHARED_TASK_QUEUE}'`,
  `ExecutionStatus = 'Running'`,
  `(WorkflowType != '${VOLUME_WORKFLOW}' OR ${PHASE_ATTRIBUTE.name} != 'healthy')`,
].join(' AND ');

type Details = Pick<Operation, 'summary' | 'waitsFor' | 'progress'>;
type PendingActivity = NonNullable<WorkflowExecutionDescription['raw']['pendingActivities']>[number];

/** At most MAX_OPERATIONS, in no order. Errors: 'controller-unavailable'. */
export async function listOperations(client: Client, nowMs: () => number): Promise<Operation[]> {
  const found = await list(client);
  const operations: Operation[] = [];
  for (let first = 0; first < found.length; first += MAX_PARALLEL_DETAILS) {
    const some = found.slice(first, first + MAX_PARALLEL_DETAILS);
    operations.push(...(await Promise.all(some.map((info) => describe(client, info, nowMs())))));
  }
  return operations;
}

async function list(client: Client): Promise<WorkflowExecutionInfo[]> {
  try {
    return await client.withDeadline(Date.now() + LIST_TIMEOUT_MS, async () => {
      const found: WorkflowExecutionInfo[] = [];
      for await (const info of client.workflow.list({ query: QUERY, pageSize: MAX_OPERATIONS })) {
        if (found.push(info) === MAX_OPERATIONS) break;
      }
      return found;
    });
  } catch (error) {
    throw toDomainError(error, 'listing operations');
  }
}

async function describe(client: Client, info: WorkflowExecutionInfo, nowMs: number): Promise<Operation> {
  const details = await client
    .withDeadline(Date.now() + DETAIL_TIMEOUT_MS, () => ask(client, info, nowMs))
    // It has ended meanwhile, or nobody is there who could say more.
    .catch((): Details => ({ summary: '' }));
  const volume = volumeOfWorkflow(info.workflowId);
  const node = info.typedSearchAttributes.get(NODE_ATTRIBUTE);
  return {
    id: info.workflowId,
    kind: info.type,
    ...(volume !== undefined && { volume }),
    ...(node !== undefined && { node: node as NodeId }),
    startedAt: info.startTime.toISOString(),
    ...details,
  };
}

async function ask(
  client: Client,
  { type, workflowId, runId }: WorkflowExecutionInfo,
  nowMs: number,
): Promise<Details> {
  const handle = client.workflow.getHandle(workflowId, runId);
  if (type === VOLUME_WORKFLOW) {
    const { currentDetails = '' } = await handle.query<{ currentDetails?: string }>('__temporal_workflow_metadata');
    return { summary: plainText(currentDetails) };
  }
  const description = await handle.describe();
  return {
    summary: plainText((await description.staticSummary()) ?? ''),
    ...pending(description.raw.pendingActivities ?? [], nowMs),
  };
}

/** Of text for Temporal's pages: one line. */
function plainText(markdown: string): string {
  return markdown
    .replaceAll('**', '')
    .replaceAll(/\s*\n+\s*/g, '; ')
    .slice(0, MAX_SUMMARY_CHARS);
}

/** What the activities of an operation tell. Most have one at a time. */
export function pending(activities: readonly PendingActivity[], nowMs: number): Omit<Details, 'summary'> {
  const progress = activities.map(progressOf).find((found) => found !== undefined);
  const waitsFor = activities.map((activity) => obstacle(activity, nowMs)).find((found) => found !== undefined);
  return { ...(progress !== undefined && { progress }), ...(waitsFor !== undefined && { waitsFor }) };
}

/** What a sync has told with its last heartbeat. */
function progressOf({ heartbeatDetails }: PendingActivity): OperationProgress | undefined {
  const [beat] = arrayFromPayloads(defaultPayloadConverter, heartbeatDetails?.payloads) as [SyncHeartbeat?];
  if (beat?.percent === undefined) return undefined;
  const { percent, blocksDone, blocksTotal, bytesCopied, bytesPerSecond = 0, secondsLeft } = beat;
  const left = secondsLeft === undefined ? {} : { secondsLeft };
  return { percent, blocksDone, blocksTotal, bytesCopied, bytesPerSecond, ...left };
}

function obstacle(activity: PendingActivity, nowMs: number): string | undefined {
  const { activityType, attempt, lastFailure, lastStartedTime, scheduledTime } = activity;
  const name = activityType?.name ?? 'a step';
  if (lastFailure?.message) return `attempt ${attempt ?? 1} of ${name}, as it failed: ${lastFailure.message}`;
  const scheduledMs = Number(scheduledTime?.seconds ?? 0) * 1000;
  if (lastStartedTime == null && scheduledMs > 0 && nowMs - scheduledMs > UNTAKEN_MS) {
    return `no node has begun ${name} yet`;
  }
  return undefined;
}
