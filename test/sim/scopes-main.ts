/** `npm run sim:scopes`: every small scope (scopes.ts), on all processors. */

import { availableParallelism } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { type CommandLine, type CommandShape, runCommand } from '../setup/options.js';
import { appendRun, stopwatch } from '../setup/run-record.js';
import type { Scope } from './scope.js';
import { allScopes, runScope, undisturbed } from './scopes.js';
import { Turns } from './turns.js';
import { answerTasks, onThreads } from './workers.js';

const SHAPE: CommandShape = {
  usage: `Usage: npm run sim:scopes -- [--from K] [--stride N] [--minutes M] [--failures F] [--jobs J] [--json FILE]
Runs two writes with every pair of a crash, a partition and a promotion, each at every moment of them: all of these
scopes, or every N-th, from the K-th on (0), until the time is over, 5 have failed, or Ctrl-C. Says where to go on.
--json appends the table to the file.`,
  words: ['from', 'stride', 'minutes', 'failures', 'jobs', 'json'],
};

interface Row {
  scopes: number;
  failed: number;
}

/** What happens in it, without where and when. */
function pairOf({ crash, cut, promotion }: Scope): string {
  const parts = [
    crash && (crash.power ? 'power cut' : 'kill -9'),
    cut && 'partition',
    promotion && 'promotion of another copy',
  ];
  return parts.filter((part) => part !== undefined).join(' and ');
}

function* everyNth<T>(all: Iterable<T>, stride: number): Generator<T> {
  let number = 0;
  for (const one of all) if (number++ % stride === 0) yield one;
}

async function run(line: CommandLine): Promise<number> {
  const stride = line.count('stride', 1, 1);
  const failures = line.count('failures', 5, 1);
  const measure = stopwatch();
  const window = await undisturbed();
  const scopes = everyNth(allScopes(window), stride);
  const turns = new Turns(scopes, line.count('from', 0), line.amount('minutes', undefined));
  const rows = new Map<string, Row>();
  let [ran, failed] = [0, 0];
  const done = (problems: readonly string[], scope: Scope): void => {
    const pair = pairOf(scope);
    const row = rows.get(pair) ?? { scopes: 0, failed: 0 };
    rows.set(pair, row);
    ran++;
    row.scopes++;
    if (problems.length === 0) return;
    row.failed++;
    if (++failed >= failures) turns.stop();
    console.log(`FAILED ${JSON.stringify(scope)}:\n  ${problems.slice(0, 3).join('\n  ')}`);
  };
  const threads = line.count('jobs', availableParallelism(), 1);
  await onThreads({ module: import.meta.url, threads, take: turns.take, done });
  const time = measure();
  const events = window.join(' and ');
  console.log(`${ran} scopes over ${events} events, ${failed} failed, ${time.seconds.toFixed(1)} s`);
  if (turns.rest !== undefined) console.log(`not all of them: --from ${turns.rest} goes on`);
  const json = line.word('json');
  if (json !== undefined) {
    appendRun(json, {
      kind: 'scopes',
      command: `npm run sim:scopes -- ${line.again}`.trimEnd(),
      ...time,
      counts: { scopes: ran },
      failures: failed,
      table: {
        title: 'Small scopes by what happens in them',
        columns: ['faults', 'scopes', 'failed'],
        rows: [...rows].map(([pair, row]) => [pair, row.scopes, row.failed]),
        merge: ['sum', 'sum'],
      },
    });
  }
  return failed > 0 ? 1 : 0;
}

if (isMainThread) await runCommand(SHAPE, run);
else answerTasks(async (scope: Scope) => (await runScope(scope)).problems);
