/** On a real Temporal server: what runs is listed with its progress, and with what it waits for. */

import { Context } from '@temporalio/activity';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker, type WorkerOptions } from '@temporalio/worker';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { NodeId, VolumeId } from '../../../core/types.js';
import { bundleWorkflows } from '../../../node-agent/control/bundle-workflows.js';
import { listOperations, pending } from '../../../node-agent/control/operations.js';
import { WORKFLOW_WORKER } from '../../../node-agent/control/workflow-worker.js';
import { nodeTaskQueue, SHARED_TASK_QUEUE, volumeChildId, volumeWorkflowId } from '../../../workflows/names.js';
import { NODE_ATTRIBUTE } from '../../../workflows/search-attributes.js';
import { startTestTemporal } from '../../setup/temporal.js';

const NODE = '11111111-1111-4111-8111-111111111111' as NodeId;
const AWAY = '22222222-2222-4222-8222-222222222222' as NodeId;
const SYNCED = '33333333-3333-4333-8333-333333333333' as VolumeId;
const HEALTHY = '44444444-4444-4444-8444-444444444444' as VolumeId;
const DEGRADED = '55555555-5555-4555-8555-555555555555' as VolumeId;
const WAITING = '66666666-6666-4666-8666-666666666666' as VolumeId;
const HEARTBEAT = {
  kind: 'full',
  percent: 37.5,
  blocksDone: 3,
  blocksTotal: 8,
  bytesCopied: 12_288,
  bytesPerSecond: 4096,
  secondsLeft: 5,
};

let env: TestWorkflowEnvironment;
let release: () => void = () => {};
const running: { readonly worker: Worker; readonly ended: Promise<void> }[] = [];

async function work(options: WorkerOptions): Promise<void> {
  const worker = await Worker.create({ connection: env.nativeConnection, ...options });
  running.push({ worker, ended: worker.run() });
}

beforeAll(async () => {
  const [started, code] = await Promise.all([startTestTemporal(), bundleWorkflows()]);
  env = started;
  const finished = new Promise<void>((resolve) => {
    release = resolve;
  });
  await work({ ...WORKFLOW_WORKER, workflowBundle: { code } });
  await work({
    taskQueue: SHARED_TASK_QUEUE,
    activities: {
      lookAtVolume: async ({ volume, memory }: { volume: VolumeId; memory: unknown }) => ({
        plan: {
          step: { act: 'wait' },
          condition: volume === HEALTHY ? 'healthy' : 'degraded',
          summary: `as volume ${volume} is`,
          lookAgainMs: 60_000,
          memory,
        },
      }),
    },
  });
  await work({
    taskQueue: nodeTaskQueue(NODE),
    maxHeartbeatThrottleInterval: 10,
    activities: {
      syncReplica: async () => {
        const beat = setInterval(() => Context.current().heartbeat(HEARTBEAT), 50);
        await finished;
        clearInterval(beat);
        return { kind: 'full', blocksCopied: 8, bytesCopied: 32_768 };
      },
    },
  });
});

afterAll(async () => {
  release();
  for (const { worker } of running) worker.shutdown();
  await Promise.allSettled(running.map(({ ended }) => ended));
  await env?.teardown();
});

const startSync = (volume: VolumeId, node: NodeId) =>
  env.client.workflow.start('DeltaSync', {
    workflowId: volumeChildId(volume, 'sync'),
    taskQueue: SHARED_TASK_QUEUE,
    staticSummary: `Bring a copy of ${volume} up to date`,
    typedSearchAttributes: [{ key: NODE_ATTRIBUTE, value: node }],
    args: [{ volume, primary: { deployment: 'a', node }, target: 'b', epoch: 1 }],
  });

it('lists syncs with their progress, volumes that are not well, and what nobody has begun', async () => {
  await startSync(SYNCED, NODE);
  await startSync(WAITING, AWAY);
  for (const volume of [HEALTHY, DEGRADED]) {
    await env.client.workflow.start('Volume', {
      workflowId: volumeWorkflowId(volume),
      taskQueue: SHARED_TASK_QUEUE,
      args: [{ volume }],
    });
  }
  await expect
    .poll(() => listOperations(env.client, Date.now), { timeout: 20_000, interval: 250 })
    .toEqual(
      expect.arrayContaining([
        {
          id: volumeChildId(SYNCED, 'sync'),
          kind: 'DeltaSync',
          volume: SYNCED,
          node: NODE,
          startedAt: expect.stringMatching(/^\d{4}-/),
          summary: `Bring a copy of ${SYNCED} up to date`,
          progress: {
            percent: 37.5,
            blocksDone: 3,
            blocksTotal: 8,
            bytesCopied: 12_288,
            bytesPerSecond: 4096,
            secondsLeft: 5,
          },
        },
        expect.objectContaining({
          volume: WAITING,
          node: AWAY,
          waitsFor: expect.stringMatching(/^no node has begun syncReplica yet$|scheduleToStart|timeout/i),
        }),
        expect.objectContaining({
          id: volumeWorkflowId(DEGRADED),
          kind: 'Volume',
          summary: expect.stringMatching(/^as volume 5{8}.* is; since .*; now: waiting$/),
        }),
      ]),
    );
  const ids = (await listOperations(env.client, Date.now)).map(({ id }) => id);
  expect(ids).not.toContain(volumeWorkflowId(HEALTHY));
});

it('a step that is tried again says why', () => {
  const failure = { message: 'node-2 does not answer' };
  expect(pending([{ activityType: { name: 'promote' }, attempt: 3, lastFailure: failure }], 0)).toEqual({
    waitsFor: 'attempt 3 of promote, as it failed: node-2 does not answer',
  });
  expect(pending([{ activityType: { name: 'promote' }, attempt: 1 }], 0)).toEqual({});
  expect(pending([], 0)).toEqual({});
});
