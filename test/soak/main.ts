/**
 * `npm run soak -- --hours N [--minutes N] [--seed S] [--json FILE]`: a cluster under fio with verification, ext4 and xfs in use,
 * while agents are killed and frozen and servers stopped, for as long as was asked. Prints a line for each round and
 * a summary; ends with 1 and keeps the data directory if anything was lost.
 */

import { parseArgs } from 'node:util';
import { noDeviceReason } from '../../cluster/volumes.js';
import { appendRun } from '../setup/run-record.js';
import { TestCluster } from '../setup/test-cluster.js';
import { Soak } from './soak.js';

const USAGE = 'Usage: npm run soak -- [--hours N] [--minutes N] [--seed S] [--json FILE]\n';
const DEFAULT_MINUTES = 10;

function numberOf(text: string | undefined): number {
  return text === undefined ? 0 : Number(text);
}

async function main(): Promise<number> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ options: { hours: text, minutes: text, seed: text, json: text } });
  const minutes = numberOf(values.hours) * 60 + numberOf(values.minutes) || DEFAULT_MINUTES;
  const seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed);
  if (!Number.isFinite(minutes) || minutes < 0 || !Number.isInteger(seed)) {
    process.stderr.write(USAGE);
    return 2;
  }
  const reason = noDeviceReason();
  if (reason !== undefined) process.stdout.write(`Without filesystems: ${reason}.\n`);
  const test = await TestCluster.start();
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
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
  if (values.json !== undefined)
    appendRun(values.json, soak.run(`npm run soak -- --minutes ${minutes} --seed ${seed}`));
  if (soak.problems.length === 0) {
    await test.destroy();
    return 0;
  }
  say(`The data is kept in ${test.cluster.dataDir.root}.`);
  await soak.leave();
  await test.cluster.stop();
  return 1;
}

process.exitCode = await main();
