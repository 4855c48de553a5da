/**
 * `npm run faults -- [--minutes N | --rounds N] [--from S] [--only NAME] [--json FILE]`: one schedule of
 * faults after the other on real processes, each from a seed, with everything in use. Prints a line for each round and
 * a summary; ends with 1 if a round failed. Such a round's logs and history are kept.
 */

import { cpSync, mkdtempSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { appendRun } from '../setup/run-record.js';
import { provideScratch } from '../setup/scratch.js';
import { Arena } from './arena.js';
import { names, type RoundResult, runRound } from './round.js';
import { Tally } from './tally.js';

const USAGE = 'Usage: npm run faults -- [--minutes N | --rounds N] [--from S] [--only NAME] [--json FILE]\n';
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

async function main(): Promise<number> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ options: { minutes: text, rounds: text, from: text, only: text, json: text } });
  const rounds = values.rounds === undefined ? Number.POSITIVE_INFINITY : Number(values.rounds);
  const minutes = Number(values.minutes ?? (values.rounds === undefined ? DEFAULT_MINUTES : Number.POSITIVE_INFINITY));
  const from = Number(values.from ?? 1);
  if (!(rounds > 0) || !(minutes > 0) || !Number.isSafeInteger(from) || from < 0) {
    process.stderr.write(USAGE);
    return 2;
  }
  if (values.only !== undefined && !names().includes(values.only)) {
    process.stderr.write(`There is no "${values.only}"; there are\n  ${names().join('\n  ')}\n`);
    return 2;
  }
  provideScratch();
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
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
      const result = await runRound(arena, seed, values.only);
      tally.add(result);
      say(Tally.line(result));
      if (result.problems.length === 0) continue;
      say(result.problems.map((problem) => `    ${problem}`).join('\n'));
      say(`    again: ${command(result, values.only)}; logs and history: ${keep(arena, result)}`);
      await arena.destroy();
      arena = undefined;
    }
  } finally {
    await arena?.destroy();
  }
  say(tally.summary());
  if (values.json !== undefined) {
    const only = values.only === undefined ? '' : ` --only ${values.only}`;
    appendRun(values.json, tally.run(`npm run faults -- --rounds ${tally.rounds} --from ${from}${only}`));
  }
  return tally.failures === 0 ? 0 : 1;
}

process.exitCode = await main();
