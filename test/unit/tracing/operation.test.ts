/** On a real Temporal server: one request, followed through its workflows to activities, log lines and spans. */

import type { Context } from '@temporalio/activity';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker, type WorkerOptions } from '@temporalio/worker';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { NodeId, VolumeId } from '../../../core/types.js';
import { bundleWorkflows } from '../../../node-agent/control/bundle-workflows.js';
import { TemporalVolumeController } from '../../../node-agent/control/client.js';
import { contextActivityInterceptor } from '../../../node-agent/control/context-interceptors.js';
import { recordSpan } from '../../../node-agent/control/spans.js';
import { installTemporalRuntime } from '../../../node-agent/control/temporal-runtime.js';
import { observerSinks, WORKFLOW_WORKER } from '../../../node-agent/control/workflow-worker.js';
import { RecentLines } from '../../../node-agent/diagnostics/recent-lines.js';
import { createLogger } from '../../../node-agent/log.js';
import { withContext } from '../../../node-agent/operation-context.js';
import { createTracer, type Tracer } from '../../../node-agent/tracing/tracer.js';
import { nodeTaskQueue, SHARED_TASK_QUEUE, volumeWorkflowId } from '../../../workflows/names.js';
import { startTestTemporal } from '../../setup/temporal.js';
import { OtlpReceiver } from './receiver.js';

const NODE = '11111111-1111-4111-8111-111111111111' as NodeId;
const VOLUME = '33333333-3333-4333-8333-333333333333' as VolumeId;

let env: TestWorkflowEnvironment;
let receiver: OtlpReceiver;
let tracer: Tracer;
let controller: TemporalVolumeController;
const recent = new RecentLines();
const running: { readonly worker: Worker; readonly ended: Promise<void> }[] = [];

async function work(options: WorkerOptions): Promise<void> {
  const worker = await Worker.create({ connection: env.nativeConnection, ...options });
  running.push({ worker, ended: worker.run() });
}

beforeAll(async () => {
  installTemporalRuntime(pino({ level: 'silent' }));
  receiver = await OtlpReceiver.start();
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', receiver.endpoint);
  vi.stubEnv('OTEL_SERVICE_NAME', 'storage-of-the-test');
  tracer = await createTracer(process.env, { node: 'node-1' });
  const [started, code] = await Promise.all([startTestTemporal(), bundleWorkflows()]);
  env = started;
  const logger = createLogger({ level: 'info', node: 'node-1', recent }).child({ volume: VOLUME });
  const interceptors = { activity: [(context: Context) => ({ inbound: contextActivityInterceptor(context, tracer) })] };
  const lookAtVolume = async ({ memory }: { memory: unknown }) => {
    logger.info('looked at');
    return { plan: { step: { act: 'wait' }, condition: 'healthy', summary: 'well', lookAgainMs: 60_000, memory } };
  };
  await work({
    ...WORKFLOW_WORKER,
    workflowBundle: { code },
    sinks: observerSinks((end) => recordSpan(tracer, end)),
  });
  await work({
    taskQueue: SHARED_TASK_QUEUE,
    interceptors,
    activities: {
      lookAtVolume,
      readAttachment: async () => ({ node: NODE, generation: 1 }),
      isNodeAlive: async () => true,
      moveAttachment: async () => ({ generation: 2 }),
    },
  });
  await work({
    taskQueue: nodeTaskQueue(NODE),
    interceptors,
    activities: {
      closeAttachment: async () => {
        logger.info('device closed');
      },
    },
  });
  controller = new TemporalVolumeController({
    address: env.address,
    namespace: env.namespace ?? 'default',
    identity: 'test',
  });
});

afterAll(async () => {
  for (const { worker } of running) worker.shutdown();
  await Promise.allSettled(running.map(({ ended }) => ended));
  await controller?.close();
  await env?.teardown();
  await tracer?.close();
  await receiver?.close();
  vi.unstubAllEnvs();
});

it('a request is known to workflows, activities, log lines and spans of what it causes, and of nothing else', async () => {
  await tracer.within({ name: 'DELETE attach', kind: 'server' }, undefined, (traceparent) =>
    withContext({ requestId: 'request-1', ...(traceparent !== undefined && { traceparent }) }, () =>
      controller.detach(VOLUME, { waitMs: 20_000 }),
    ),
  );
  const lines = (message: string) =>
    recent
      .text()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, string>)
      .filter(({ msg }) => msg === message);
  const [closed] = lines('device closed');
  expect(closed).toMatchObject({
    requestId: 'request-1',
    operation: `${volumeWorkflowId(VOLUME)}/detach`,
    volume: VOLUME,
  });
  // Looking at a volume is no request's doing.
  await vi.waitFor(() => expect(lines('looked at').length).toBeGreaterThan(0), { timeout: 10_000 });
  expect(lines('looked at')[0]).not.toHaveProperty('requestId');

  await tracer.close();
  expect(receiver.spans.map(({ name }) => name)).not.toContain('activity lookAtVolume');
  const spans = new Map(receiver.spans.map((span) => [span.name, span]));
  const request = spans.get('DELETE attach');
  const workflow = spans.get('workflow DetachVolume');
  const activity = spans.get('activity closeAttachment');
  expect(request?.parentSpanId ?? '').toBe('');
  expect(workflow).toMatchObject({ traceId: request?.traceId, parentSpanId: request?.spanId });
  expect(activity).toMatchObject({ traceId: request?.traceId, parentSpanId: workflow?.spanId });
  expect(closed?.traceId).toBe(request?.traceId);
  expect(workflow?.attributes).toMatchObject({ result: 'completed', 'temporal.workflow.id': closed?.operation });
  expect(activity?.resource).toMatchObject({ 'service.name': 'storage-of-the-test', 'host.name': 'node-1' });
  expect(BigInt(workflow?.endTimeUnixNano ?? 0)).toBeGreaterThanOrEqual(BigInt(workflow?.startTimeUnixNano ?? 1));
});
