/**
 * `npm run sim:orders`: every order of the messages of two writes with faults in every order with them (scope.ts); the
 * executions of each set of faults, up to a limit.
 */

import { availableParallelism } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { type CommandLine, type CommandShape, runCommand, UsageError } from '../../setup/options.js';
import { appendRun, stopwatch } from '../../setup/run-record.js';
import { Turns } from '../turns.js';
import { answerTasks, onThreads } from '../workers.js';
import { explore, type OrdersResult } from './orders.js';
import { type Fault, Scope } from './scope.js';

interface Task {
  readonly attached: string;
  readonly faults: readonly Fault[];
  readonly limit: number;
}

const SHAPE: CommandShape = {
  usage: `Usage: npm run sim:orders -- [--only TEXT] [--limit N] [--from K] [--minutes M] [--jobs J] [--json FILE]
Runs two writes in every order of their messages, with every set of up to three faults, small sets first: each set up
to --limit orders (all), from the K-th set on (0), those whose title has the text, until the time is over. A set that
is under way then is run to its end; so it is after Ctrl-C. Says where to go on. --json appends the table to the file.`,
  words: ['only', 'limit', 'from', 'minutes', 'jobs', 'json'],
};

const NODES = ['a', 'b'] as const;
const CRASHES = NODES.flatMap((node): Fault[] => [`kill ${node}`, `power ${node}`, `power ${node}, all lost`]);
const CUTS = NODES.flatMap((node): Fault[] => [`cut ${node}`, `cut ${node}, all lost`]);

/** None, one, two and three of a crash, a partition and a promotion. */
function faultSets(): Fault[][] {
  const sets: Fault[][] = [[], ['promotion'], ...CRASHES.map((crash) => [crash]), ...CUTS.map((cut) => [cut])];
  for (const crash of CRASHES) sets.push([crash, 'promotion']);
  for (const cut of CUTS) sets.push([cut, 'promotion']);
  for (const crash of CRASHES) for (const cut of CUTS) sets.push([crash, cut]);
  for (const crash of CRASHES) for (const cut of CUTS) sets.push([crash, cut, 'promotion']);
  return sets;
}

const title = ({ attached, faults }: Task): string =>
  `used on ${attached}: ${faults.length === 0 ? 'no fault' : faults.join(' + ')}`;

async function run(line: CommandLine): Promise<number> {
  const limit = line.count('limit', Number.MAX_SAFE_INTEGER, 1);
  const only = line.word('only') ?? '';
  const all = faultSets().flatMap((faults) => NODES.map((attached): Task => ({ attached, faults, limit })));
  const tasks = all.filter((task) => title(task).includes(only));
  if (tasks.length === 0) throw new UsageError(`--only ${only}: there is no such set of faults`);
  const rows: [string, number, string][] = [];
  let [executions, steps, complete, failures] = [0, 0, 0, 0];
  const done = (result: OrdersResult, task: Task): void => {
    executions += result.executions;
    steps += result.steps;
    failures += result.failures.length;
    if (result.complete) complete++;
    rows.push([title(task), result.executions, result.complete ? 'all' : 'the first']);
    console.log(`${title(task)}: ${result.executions} orders (${result.complete ? 'all' : 'not all'})`);
    for (const { choices, problems } of result.failures) {
      console.log(`  FAILED: ${problems.slice(0, 3).join('\n  ')}\n  ${choices.join(', ')}`);
    }
  };
  const turns = new Turns(tasks, line.count('from', 0), line.amount('minutes', undefined));
  const measure = stopwatch();
  const threads = line.count('jobs', availableParallelism(), 1);
  await onThreads({ module: import.meta.url, threads, take: turns.take, done });
  const time = measure();
  console.log(
    `${rows.length} sets of faults, ${complete} of them completely: ${executions} orders, ${steps} steps, ${failures} failed, ${time.seconds.toFixed(1)} s`,
  );
  if (turns.rest !== undefined) console.log(`not all of them: --from ${turns.rest} goes on`);
  const json = line.word('json');
  if (json !== undefined) {
    appendRun(json, {
      kind: 'interleavings',
      command: `npm run sim:orders -- ${line.again}`.trimEnd(),
      ...time,
      counts: { orders: executions, steps, faultSets: rows.length, completeSets: complete },
      failures,
      table: {
        title: 'Orders of messages',
        columns: ['scope', 'orders run', 'of'],
        rows: rows.sort(),
        merge: ['newest', 'newest'],
      },
    });
  }
  return failures > 0 ? 1 : 0;
}

if (isMainThread) await runCommand(SHAPE, run);
else answerTasks(({ attached, faults, limit }: Task) => explore({ open: () => Scope.open(attached, faults), limit }));
