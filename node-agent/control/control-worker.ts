/**
 * The process that runs the workflows: a child of the agent, so that their start-up and garbage never stop an
 * I/O. It ends when its parent does, whose death closes the channel between the two.
 */

import { createLog } from '../log.js';
import { createTracer } from '../tracing/tracer.js';
import { workflowBundlePath } from './bundle.js';
import { readControlEnvironment } from './control-environment.js';
import type { AgentMessage, ControlMessage } from './control-messages.js';
import { recordSpan } from './spans.js';
import { SupervisedWorker } from './supervised-worker.js';
import { installTemporalRuntime } from './temporal-runtime.js';
import { observerSinks, WORKFLOW_WORKER } from './workflow-worker.js';

const { address, namespace, node, log: logSettings } = readControlEnvironment(process.env);
const log = createLog({ ...logSettings, node });
const logger = log.logger.child({ process: 'control' });
const tracer = await createTracer(process.env, { node });
// Both ends are of one version.
process.on('message', ({ settings }: AgentMessage) => log.configure(settings));
installTemporalRuntime(logger);

const tellAgent = (message: ControlMessage): void => {
  // Its death ends this process a moment later.
  if (process.connected) process.send?.(message, () => {});
};

const worker = new SupervisedWorker({
  name: 'workflows',
  address,
  namespace,
  logger,
  worker: {
    ...WORKFLOW_WORKER,
    sinks: observerSinks((end) => {
      tellAgent({ type: 'workflow-ended', end });
      recordSpan(tracer, end);
    }),
    workflowBundle: { codePath: workflowBundlePath() },
    identity: `${node}/workflows`,
  },
});

/** A worker that does not stop within this time is ended: its tasks are given to another one. */
const STOP_TIMEOUT_MS = 10_000;

const stop = () => {
  setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref();
  worker.stop().then(
    () => tracer.close().then(() => process.exit(0)),
    (err: unknown) => {
      logger.error({ err }, 'workflow worker did not stop cleanly');
      process.exit(1);
    },
  );
};
process.once('disconnect', stop);
process.once('SIGTERM', stop);
// Ctrl-C goes to the whole group of processes; the agent stops first, and then this one.
process.on('SIGINT', () => {});
// The agent was gone before anybody listened for its end.
if (!process.connected) stop();
