/** `npm run soak`: a cluster in use and in trouble, for as long as was asked. */

import { noDeviceReason } from '../../cluster/volumes.js';
import { type CommandLine, type CommandShape, runCommand } from '../setup/options.js';
import { appendRun } from '../setup/run-record.js';
import { TestCluster } from '../setup/test-cluster.js';
import { Soak } from './soak.js';

const SHAPE: CommandShape = {
  usage: `Usage: npm run soak -- [--hours N] [--minutes N] [--seed S] [--json FILE]
Has a cluster under fio with verification, ext4 and xfs in use, while agents are killed and frozen and servers stopped:
for 10 minutes. Prints a line for each round and a summary, which --json appends to the file; ends with 1 and keeps the
data directory if anything was lost.`,
  words: ['hours', 'minutes', 'seed', 'json'],
};
const DEFAULT_MINUTES = 10;

async function run(line: CommandLine): Promise<number> {
  const minutes = line.amount('hours', 0) * 60 + line.amount('minutes', 0) || DEFAULT_MINUTES;
  const seed = line.count('seed', Date.now() % 2 ** 31);
  const reason = noDeviceReason();
  if (reason !== undefined) process.stdout.write(`Without filesystems: ${reason}.\n`);
  const test = await TestCluster.start();
  const say = (text: string): void => void process.stdout.write(`${text}\n`);
  const soak = new Soak({ test, seed, filesystems: reason === undefined, say });
  let stopped = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (!stopped) say('Stopping after this round …');
      stopped = true;
    });
  }
  say(`Seed ${seed}, ${minutes} minutes, data in ${test.cluster.dataDir.root}.`);
  const until = performance.now() + minutes * 60_000;
  try {
    await soak.begin();
    do await soak.round();
    while (performance.now() < until && !stopped && soak.problems.length === 0);
  } catch (error) {
    soak.problems.push((error as Error).stack ?? String(error));
  }
  say(soak.summary());
  const json = line.word('json');
  if (json !== undefined) appendRun(json, soak.run(`npm run soak -- --minutes ${minutes} --seed ${seed}`));
  if (soak.problems.length === 0) {
    await test.destroy();
    return 0;
  }
  say(`The data is kept in ${test.cluster.dataDir.root}.`);
  await soak.leave();
  await test.cluster.stop();
  return 1;
}

await runCommand(SHAPE, run);
