/** `npm run faults`: one schedule of faults after the other on real processes, each from a seed, with everything in use. */

import { cpSync, mkdtempSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type CommandLine, type CommandShape, runCommand, UsageError } from '../setup/options.js';
import { appendRun } from '../setup/run-record.js';
import { provideScratch } from '../setup/scratch.js';
import { Arena } from './arena.js';
import { names, type RoundResult, runRound } from './round.js';
import { Tally } from './tally.js';

const SHAPE: CommandShape = {
  usage: `Usage: npm run faults -- [--minutes N] [--rounds N] [--from S] [--only NAME] [--json FILE]
Breaks real agents by one schedule of faults after the other, for 10 minutes or for so many rounds, from seed 1 or S on;
as many rounds as there are schedules have each of them once. Prints a line for each round and a summary, which --json
appends to the file; ends with 1 if a round failed, whose logs and history are kept below /var/tmp. The schedules:
  ${names().join('\n  ')}`,
  words: ['minutes', 'rounds', 'from', 'only', 'json'],
};
const DEFAULT_MINUTES = 10;
/** Not below what is removed at the end. */
const KEEP_ROOT = '/var/tmp';

function command({ seed, schedule }: RoundResult, only: string | undefined): string {
  return `npm run faults -- --rounds 1 --from ${seed}${only === undefined ? '' : ` --only ${schedule}`}`;
}

/** Logs, and everything that clients did. */
function keep(arena: Arena, result: RoundResult): string {
  const directory = mkdtempSync(join(KEEP_ROOT, `faults-${result.seed}-`));
  for (const log of arena.logs) cpSync(log, join(directory, `${basename(dirname(log))}.log`));
  for (const [{ volume }, { history }] of result.workload.registers) {
    const lines = history.operations.map((operation) => JSON.stringify(operation));
    writeFileSync(join(directory, `${volume.name}.history`), `${lines.join('\n')}\n`);
  }
  writeFileSync(join(directory, 'problems'), `${result.problems.join('\n')}\n`);
  return directory;
}

async function run(line: CommandLine): Promise<number> {
  const forever = Number.POSITIVE_INFINITY;
  const rounds = line.count('rounds', forever, 1);
  const minutes = line.amount('minutes', rounds === forever ? DEFAULT_MINUTES : forever);
  const from = line.count('from', 1);
  const only = line.word('only');
  if (only !== undefined && !names().includes(only)) throw new UsageError(`There is no "${only}".`);
  provideScratch();
  const say = (text: string): void => void process.stdout.write(`${text}\n`);
  let stopped = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (!stopped) say('Stopping after this round …');
      stopped = true;
    });
  }
  const tally = new Tally();
  const until = performance.now() + minutes * 60_000;
  let arena: Arena | undefined;
  try {
    for (let seed = from; seed < from + rounds && performance.now() < until && !stopped; seed++) {
      arena ??= await Arena.start();
      const result = await runRound(arena, seed, only);
      tally.add(result);
      say(Tally.line(result));
      if (result.problems.length === 0) continue;
      say(result.problems.map((problem) => `    ${problem}`).join('\n'));
      say(`    again: ${command(result, only)}; logs and history: ${keep(arena, result)}`);
      await arena.destroy();
      arena = undefined;
    }
  } finally {
    await arena?.destroy();
  }
  say(tally.summary());
  const json = line.word('json');
  if (json !== undefined) {
    const schedule = only === undefined ? '' : ` --only ${only}`;
    appendRun(json, tally.run(`npm run faults -- --rounds ${tally.rounds} --from ${from}${schedule}`));
  }
  return tally.failures === 0 ? 0 : 1;
}

await runCommand(SHAPE, run);
