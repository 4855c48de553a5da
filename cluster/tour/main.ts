/**
 * `npm run tour`: what the product is for, on a cluster of its own. A database on a replicated, encrypted volume
 * outlives the node that holds the primary; the node comes back and gets exactly what it missed. Ends with code 0
 * only if every promise held.
 */

import { rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Cluster } from '../cluster.js';
import { DataDir } from '../data-dir.js';
import { ClusterError } from '../errors.js';
import { runCommand, showStep } from '../progress.js';
import { freeNetwork, temporaryDirectory } from '../site.js';
import { noDeviceReason, unmountAll } from '../volumes.js';
import { Report } from './report.js';
import { Story } from './story.js';

const NODES = 3;
/** Shorter than the default, so that nobody waits for the story to go on. */
const SETTINGS = { REPLACEMENT_GRACE: '5s' };

const USAGE = `npm run tour -- [options]

  --data-dir DIR   where its cluster is kept (a new directory in /var/tmp, removed at the end)
  --keep           leaves the data directory in place
  --help`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { 'data-dir': { type: 'string' }, keep: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    process.stdout.write(`${USAGE}\n`);
    return;
  }
  const obstacle = noDeviceReason();
  if (obstacle !== undefined) throw new ClusterError('invalid', `The tour mounts a volume, but ${obstacle}.`);

  const directory = values['data-dir'] ?? temporaryDirectory('tour');
  const dataDir = new DataDir(directory);
  if (dataDir.exists)
    throw new ClusterError('data-dir', `${directory} holds a cluster already; the tour needs its own.`);
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => interrupted.abort(new ClusterError('not-running', 'The tour was interrupted.')));
  }

  const report = new Report();
  report.chapter('A cluster of three nodes');
  const cluster = await Cluster.start({
    dataDir,
    nodes: NODES,
    network: await freeNetwork(NODES),
    step: showStep,
    notice: (message) => report.say(message),
    agentSettings: SETTINGS,
  });
  const story = new Story(cluster, report, interrupted.signal);
  try {
    await Promise.race([story.tell(), aborted(interrupted.signal)]);
    process.stdout.write(`\n${report.summary()}\n`);
  } finally {
    await story.end();
    await unmountAll(dataDir.mountDir).catch((error: Error) => report.say(error.message));
    await cluster.stop();
    const keep = values.keep === true || !report.passed || values['data-dir'] !== undefined;
    if (keep) process.stdout.write(`Data, logs and the database's log are in ${directory}.\n`);
    else rmSync(directory, { recursive: true, force: true });
  }
  if (!report.passed) process.exitCode = 1;
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

await runCommand(main);
