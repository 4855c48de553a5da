/** `npm start`: an embedded cluster in the foreground, by default with a volume in use. */

import type { Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Step } from './binaries.js';
import { Cluster } from './cluster.js';
import { type ControlRequest, serveControl } from './control.js';
import { type Demo, remountDemo, startDemo } from './demo.js';
import { describeCluster } from './description.js';
import { ClusterError } from './errors.js';
import { readStartOptions } from './options.js';
import { runCommand, showStep } from './progress.js';
import { surveyVolumes, unmountAll } from './volumes.js';

const SURVEY_INTERVAL_MS = 10_000;
const DEMO_END_MS = 10_000;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

interface Running {
  readonly cluster: Cluster;
  readonly demo: () => Promise<Demo | undefined>;
  readonly stop: () => void;
}

async function handle({ cluster, demo, stop }: Running, request: ControlRequest): Promise<unknown> {
  switch (request.command) {
    case 'status':
      await survey(cluster);
      return cluster.facts;
    case 'stop':
      stop();
      return undefined;
    case 'stop-server':
      return await cluster.servers.stop(request.server);
    case 'start-server':
      return await cluster.servers.start(request.server);
    case 'kill-node':
      return await cluster.killNode(request.node);
    case 'stop-node':
      return await cluster.stopNode(request.node);
    case 'start-node':
      await cluster.startNode(request.node);
      await remount(cluster, demo, request.node);
      return undefined;
  }
}

/** The node runs in any case. */
async function remount(cluster: Cluster, demo: Running['demo'], node: string): Promise<void> {
  try {
    const shown = await demo();
    const mountPoint = shown && (await remountDemo(cluster, shown, node));
    if (mountPoint !== undefined) say(`\nMounted again: ${mountPoint}.`);
  } catch (error) {
    say(`\nThe demo volume is not mounted again: ${(error as Error).message}`);
  }
}

/** Keeps the facts about volumes; without an answer from the API they stay as they were. */
async function survey(cluster: Cluster): Promise<void> {
  try {
    cluster.volumes = await surveyVolumes(cluster);
  } catch {
    cluster.writeFacts();
  }
}

function nextSteps(cluster: Cluster, demo: Demo | undefined): string {
  const login =
    `STORAGEOS_ENDPOINTS=${cluster.nodes[0]?.apiEndpoint} STORAGEOS_USERNAME=${cluster.credentials.username} ` +
    `STORAGEOS_PASSWORD="$(node -p 'require("${cluster.dataDir.credentialsFile}").password')"`;
  // A node with a copy, but not the one that mounts the volume.
  const holders = [demo?.volume.master, ...(demo?.volume.replicas ?? [])].map((copy) => copy?.nodeID);
  const victim = cluster.nodes.slice(1).find(({ id }) => holders.includes(id)) ?? cluster.nodes.at(-1);
  return [
    'Try next, in another terminal:',
    `  ${login} npm run -s storageos -- get volumes`,
    `  npm run cluster -- kill-node ${victim?.name} --data-dir ${cluster.dataDir.root}`,
    '  npm run tour',
  ].join('\n');
}

interface Stop {
  /** Resolves at the first SIGINT, SIGTERM or SIGHUP, or when `stop` is called. */
  readonly stopped: Promise<undefined>;
  readonly stop: () => void;
  /** Shows progress; what has not begun when the wish to stop comes does not begin: ClusterError('stopped'). */
  readonly step: Step;
}

function untilStopped(): Stop {
  let wished = false;
  let stop = (): void => undefined;
  const stopped = new Promise<undefined>((resolve) => {
    stop = () => {
      if (!wished) say('\nStopping …');
      wished = true;
      resolve(undefined);
    };
  });
  const step: Step = async (name, work) => {
    if (wished) throw new ClusterError('stopped', 'Stopped before it was up.');
    return await showStep(name, work);
  };
  // npm passes a signal on that the terminal has already sent: more than one of them is one wish.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  return { stopped, stop, step };
}

async function main(): Promise<void> {
  const options = readStartOptions(process.argv.slice(2));
  if (options === undefined) return;
  const started = performance.now();
  // Until something runs, a signal simply ends this process.
  await Cluster.prepare({ step: showStep });
  const { stopped, stop, step } = untilStopped();
  const cluster = await Cluster.start({
    ...options,
    step,
    notice: (message) => say(`\n${message}`),
  });
  let control: Server | undefined;
  let surveys: NodeJS.Timeout | undefined;
  let demo: Promise<Demo | undefined> = Promise.resolve(undefined);
  try {
    control = await serveControl(cluster.facts.controlSocket, (request) =>
      handle({ cluster, demo: () => demo, stop }, request),
    );
    demo = options.bare ? Promise.resolve(undefined) : startDemo(cluster, step);
    const shown = await Promise.race([demo.then((found) => ({ demo: found })), stopped]);
    if (shown !== undefined) {
      await survey(cluster);
      surveys = setInterval(() => void survey(cluster), SURVEY_INTERVAL_MS);
      say(`\nThe cluster is up, after ${((performance.now() - started) / 1000).toFixed(1)} s.\n`);
      say(describeCluster(cluster.facts));
      const reason = shown.demo?.noMountReason;
      if (reason !== undefined) say(`\nThe demo volume is not mounted, it is there over NBD: ${reason}.`);
      say(`\n${nextSteps(cluster, shown.demo)}\n\nCtrl-C stops everything; the next start has it all again.`);
    }
    await stopped;
  } finally {
    stop();
    clearInterval(surveys);
    control?.close();
    // Stopped in the middle of it: what it mounts now would be mounted for good.
    await Promise.race([demo.catch(() => undefined), sleep(DEMO_END_MS, undefined, { ref: false })]);
    await unmountAll(cluster.dataDir.mountDir).catch((error: Error) => say(error.message));
    await cluster.stop();
    say('Stopped.');
  }
}

await runCommand(main);
