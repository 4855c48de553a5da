/** Real workflows and activities on a real Temporal server, over a cluster in memory. */

import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { pino } from 'pino';
import type { NodeId, VolumeId } from '../../../core/types.js';
import { startActivityWorkers } from '../../../node-agent/control/activity-workers.js';
import { bundleWorkflows } from '../../../node-agent/control/bundle-workflows.js';
import { TemporalVolumeController } from '../../../node-agent/control/client.js';
import { ControlTallies } from '../../../node-agent/control/observation.js';
import { installTemporalRuntime } from '../../../node-agent/control/temporal-runtime.js';
import { WORKFLOW_WORKER } from '../../../node-agent/control/workflow-worker.js';
import { NO_TRACER } from '../../../node-agent/tracing/tracer.js';
import { volumeWorkflowId } from '../../../workflows/names.js';
import { startTestTemporal, type TestTemporalOptions } from '../../setup/temporal.js';
import { FakeCluster } from './fake-cluster.js';

/** Other tests run beside these: nothing here counts as away, or as failed, because the machine is busy. */
const PATIENCE_MS = 25_000;

const logger = pino({ level: process.env.LOG_LEVEL ?? 'silent' });

export class Harness {
  readonly env: TestWorkflowEnvironment;
  readonly cluster: FakeCluster;
  readonly controller: TemporalVolumeController;
  readonly #workers = new Map<NodeId, { stop(): Promise<void> }>();
  readonly #workflows: Worker;
  readonly #running: Promise<void>;

  static async start(options: TestTemporalOptions & { readonly nodes: number }): Promise<Harness> {
    installTemporalRuntime(logger);
    const [env, code] = await Promise.all([startTestTemporal(options), bundleWorkflows()]);
    const workflows = await Worker.create({
      connection: env.nativeConnection,
      ...WORKFLOW_WORKER,
      workflowBundle: { code },
      identity: 'workflows',
    });
    const harness = new Harness(env, new FakeCluster(options.nodes), workflows);
    for (const node of harness.cluster.nodes.values.keys()) harness.#startWorkers(node);
    return harness;
  }

  private constructor(env: TestWorkflowEnvironment, cluster: FakeCluster, workflows: Worker) {
    this.env = env;
    this.cluster = cluster;
    this.controller = new TemporalVolumeController({
      address: env.address,
      namespace: env.namespace ?? 'default',
      identity: 'agent',
      acceptTimeoutMs: PATIENCE_MS,
      describe: (id) => cluster.volumes.value(id),
    });
    this.#workflows = workflows;
    this.#running = workflows.run();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop()));
    this.#workflows.shutdown();
    await this.#running;
    await this.controller.close();
    await this.env.teardown();
  }

  /** A provisioned volume. */
  async volume(patch: Parameters<FakeCluster['createVolume']>[0] = {}): Promise<VolumeId> {
    const id = this.cluster.createVolume(patch);
    await this.controller.provision(id, { waitMs: 20_000 });
    return id;
  }

  async kill(node: NodeId): Promise<void> {
    this.cluster.kill(node);
    await this.#workers.get(node)?.stop();
    this.#workers.delete(node);
  }

  start(node: NodeId): void {
    this.cluster.start(node);
    this.#startWorkers(node);
  }

  async runId(volume: VolumeId): Promise<string> {
    return (await this.env.client.workflow.getHandle(volumeWorkflowId(volume)).describe()).runId;
  }

  #startWorkers(node: NodeId): void {
    const look = (volume: VolumeId, reason: string) => this.controller.look(volume, reason);
    const worker = startActivityWorkers({
      tallies: new ControlTallies(),
      tracer: NO_TRACER,
      address: this.env.address,
      namespace: this.env.namespace ?? 'default',
      deps: this.cluster.deps(node, look),
      logger,
    });
    this.#workers.set(node, worker);
  }
}

/** Resolves when it holds. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = PATIENCE_MS,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
