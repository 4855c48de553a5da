/** `npm run fuzz`: hostile and random input for the codec, for a while. */

import { type CommandLine, type CommandShape, runCommand } from '../../setup/options.js';
import { appendRun, stopwatch } from '../../setup/run-record.js';
import { CodecFuzzer } from './fuzzer.js';

const SHAPE: CommandShape = {
  usage: `Usage: npm run fuzz -- [--minutes N | --seed S] [--json FILE]
Gives the codec random and hostile input for 10 minutes. With --seed, exactly that round and nothing else: the way to
look at a failure. --json appends what was run to the file.`,
  words: ['minutes', 'seed', 'json'],
};
const DEFAULT_MINUTES = 10;
const PROGRESS_MS = 10_000;

async function run(line: CommandLine): Promise<number> {
  const minutes = line.amount('minutes', DEFAULT_MINUTES);
  const seed = line.count('seed', undefined);
  const fuzzer = await CodecFuzzer.create();
  if (seed !== undefined) {
    fuzzer.round(seed);
    console.log(`Seed ${seed}: nothing found.`);
    return 0;
  }
  const from = Date.now() % 2 ** 31;
  const measure = stopwatch();
  const end = performance.now() + minutes * 60_000;
  let rounds = 0;
  let failure: unknown;
  for (let report = 0; performance.now() < end && failure === undefined; rounds++) {
    try {
      fuzzer.round(from + rounds);
    } catch (error) {
      failure = error;
    }
    if (performance.now() > report) {
      report = performance.now() + PROGRESS_MS;
      console.log(`${rounds} rounds, now seed ${from + rounds}`);
    }
  }
  const json = line.word('json');
  if (json !== undefined) {
    const command = `npm run fuzz -- --minutes ${minutes}`;
    const failures = failure === undefined ? 0 : 1;
    appendRun(json, { kind: 'fuzz', command, ...measure(), counts: { rounds }, failures });
  }
  if (failure !== undefined) throw failure;
  console.log(`${rounds} rounds: nothing found.`);
  return 0;
}

await runCommand(SHAPE, run);
