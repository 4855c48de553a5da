/** On a real Temporal server: runs that the present code cannot go on with. */

import { fileURLToPath } from 'node:url';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker, type WorkerOptions } from '@temporalio/worker';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { SharedActivities } from '../../../activities/index.js';
import type { VolumeId } from '../../../core/types.js';
import { systemClock } from '../../../node-agent/clock.js';
import { bundleWorkflows } from '../../../node-agent/control/bundle-workflows.js';
import { TemporalVolumeController } from '../../../node-agent/control/client.js';
import { Rescuer, STUCK_ATTEMPTS } from '../../../node-agent/control/rescue.js';
import { installTemporalRuntime } from '../../../node-agent/control/temporal-runtime.js';
import { WORKFLOW_WORKER } from '../../../node-agent/control/workflow-worker.js';
import { SHARED_TASK_QUEUE, volumeWorkflowId } from '../../../workflows/names.js';
import { startTestTemporal } from '../../setup/temporal.js';
import { until } from './harness.js';

const OLDER = fileURLToPath(new URL('./older/index.ts', import.meta.url));
/** As workers were before they ended such runs. */
const TRYING_FOR_EVER = { taskQueue: SHARED_TASK_QUEUE };
/** A control node that vanishes holds up a task for 5 s. */
const LONGER_THAN_A_TASK_MS = 6_000;

const ERROR = 50;
interface Line {
  readonly level: number;
  readonly failure?: string;
  readonly temporal?: { readonly workflowId?: string; readonly runId?: string };
}
const lines: Line[] = [];
const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });

let env: TestWorkflowEnvironment;
let controller: TemporalVolumeController;
let present: string;
let older: string;
const looked = new Set<VolumeId>();
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  installTemporalRuntime(logger);
  [env, present, older] = await Promise.all([startTestTemporal(), bundleWorkflows(), bundleWorkflows(OLDER)]);
  const namespace = env.namespace ?? 'default';
  controller = new TemporalVolumeController({
    address: env.address,
    namespace,
    identity: 'test',
    acceptTimeoutMs: 25_000,
  });
});

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
  looked.clear();
  lines.length = 0;
});

afterAll(async () => {
  await controller?.close();
  await env?.teardown();
});

async function start(options: Partial<WorkerOptions> & { taskQueue: string }): Promise<() => Promise<void>> {
  const worker = await Worker.create({ connection: env.nativeConnection, ...options });
  const running = worker.run();
  let stopped: Promise<void> | undefined;
  const stop = () => {
    if (stopped === undefined) worker.shutdown();
    stopped ??= running;
    return stopped;
  };
  stops.push(stop);
  return stop;
}

const workflows = (code: string, options: Partial<WorkerOptions> & { taskQueue: string } = WORKFLOW_WORKER) =>
  start({ ...options, workflowBundle: { code } });

/** Volumes are looked at, and have nothing to do. */
async function activities(): Promise<void> {
  const lookAtVolume: SharedActivities['lookAtVolume'] = async ({ volume, memory }) => {
    looked.add(volume);
    const plan = { step: { act: 'wait' }, condition: 'healthy', summary: 'healthy', lookAgainMs: 60_000, memory };
    return { plan } as Awaited<ReturnType<SharedActivities['lookAtVolume']>>;
  };
  await start({ taskQueue: SHARED_TASK_QUEUE, activities: { lookAtVolume } });
}

async function run(volume: VolumeId): Promise<{ runId: string; attempts: number; status: string }> {
  const { runId, status, raw } = await env.client.workflow.getHandle(volumeWorkflowId(volume)).describe();
  return { runId, status: status.name, attempts: raw.pendingWorkflowTask?.attempt ?? 0 };
}

/** A run that was begun by another version, and whose workers have ended. */
async function startOlder(volume: VolumeId): Promise<string> {
  const stop = await workflows(older);
  await controller.look(volume, 'begun');
  const handle = env.client.workflow.getHandle(volumeWorkflowId(volume));
  await until('two timers', async () => {
    const { events } = await handle.fetchHistory();
    return (events ?? []).filter((event) => event.timerFiredEventAttributes != null).length === 2;
  });
  await stop();
  return (await run(volume)).runId;
}

function rescuer(): Rescuer {
  const look = (volume: VolumeId, reason: string) => void controller.look(volume, reason);
  return new Rescuer({ runs: controller, look, clock: systemClock, logger });
}

async function listed(volume: VolumeId, runId: string): Promise<ReadonlyMap<string, string>> {
  let running: ReadonlyMap<string, string> = new Map();
  await until('it is listed', async () => {
    running = await controller.running();
    return running.get(volumeWorkflowId(volume)) === runId;
  });
  return running;
}

describe('a run of which the present code cannot replay the history', () => {
  it('fails, is begun anew, and acts; that is told as an error', async () => {
    const volume = '00000000-0000-4000-8000-000000000001' as VolumeId;
    const before = await startOlder(volume);
    await activities();
    await workflows(present);
    await controller.look(volume, 'the node that does the workflows has started');
    await until('it has looked', () => looked.has(volume));
    const after = await run(volume);
    expect(after).toMatchObject({ status: 'RUNNING' });
    expect(after.runId).not.toBe(before);
    const failed = await env.client.workflow.getHandle(volumeWorkflowId(volume), before).describe();
    expect(failed.status.name).toBe('FAILED');
    const told = () => lines.filter(({ level }) => level === ERROR);
    await until('it is told', () => told().length === 2);
    expect(told()[0]!.failure).toContain('TMPRL1100');
    expect(told()[1]!.temporal).toMatchObject({ workflowId: volumeWorkflowId(volume), runId: after.runId });
  });

  it('and whose task is tried again and again is ended, begun anew, and acts', async () => {
    const volume = '00000000-0000-4000-8000-000000000002' as VolumeId;
    const before = await startOlder(volume);
    const stop = await workflows(present, TRYING_FOR_EVER);
    await controller.look(volume, 'wake');
    await until('a second attempt', async () => (await run(volume)).attempts > 1);
    await stop();
    expect(lines.find(({ level }) => level === ERROR)?.temporal).toMatchObject({ runId: before });
    await activities();
    await workflows(present);
    const under = rescuer();
    const running = await listed(volume, before);
    await under.sweep(running);
    await until('many attempts', async () => (await run(volume)).attempts >= STUCK_ATTEMPTS, 45_000);
    expect(await run(volume)).toMatchObject({ runId: before, status: 'RUNNING' });
    expect(looked.has(volume)).toBe(false);
    await under.sweep(running);
    await until('it has looked', () => looked.has(volume));
    const after = await run(volume);
    expect(after).toMatchObject({ status: 'RUNNING' });
    expect(after.runId).not.toBe(before);
    // What is known of the run before says nothing about this one.
    await rescuer().sweep(running);
    expect(await run(volume)).toMatchObject({ runId: after.runId, status: 'RUNNING' });
  }, 90_000);

  it('is left alone while no worker is there', async () => {
    const volume = '00000000-0000-4000-8000-000000000003' as VolumeId;
    const before = await startOlder(volume);
    await controller.look(volume, 'nobody hears it');
    await new Promise((resolve) => setTimeout(resolve, LONGER_THAN_A_TASK_MS));
    await rescuer().sweep(await listed(volume, before));
    const after = await run(volume);
    expect(after).toMatchObject({ runId: before, status: 'RUNNING' });
    expect(after.attempts).toBe(1);
  });
});
