/**
 * `npm run sim:states`: every state that two writes come to in any order of their messages, with faults in any order
 * with them (scope.ts), for each set of faults up to a limit.
 */

import { register } from 'node:module';
import { availableParallelism } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { type CommandLine, type CommandShape, runCommand, UsageError } from '../../setup/options.js';
import { appendRun, stopwatch } from '../../setup/run-record.js';
import { Turns } from '../turns.js';
import { answerTasks, onThreads } from '../workers.js';
import type { Fault } from './scope.js';
import { exploreStates, type StatesResult } from './states.js';

interface Task {
  readonly attached: string;
  readonly faults: readonly Fault[];
  readonly limit: number;
  /** Undefined: any order. */
  readonly deviations: number | undefined;
}

const SHAPE: CommandShape = {
  usage: `Usage: npm run sim:states -- [--only TEXT] [--deviations D] [--limit N] [--from K] [--minutes M] [--jobs J]
  [--json FILE]
Runs two writes in every order of their messages that leads to another state, with every set of up to three faults,
those without a promotion first: each set up to --limit states (all), from the K-th set on (0), the one whose title is
the text or those that have it, until the time is over. A set that is under way then is run to its end; so it is after
Ctrl-C. Says where to go on. --deviations: only in orders in which messages come as they were sent but for so many, each
of which may overtake all others; faults at any moment all the same. --json appends the table to the file.`,
  words: ['only', 'deviations', 'limit', 'from', 'minutes', 'jobs', 'json'],
};

const NODES = ['a', 'b'] as const;
const CRASHES = NODES.flatMap((node): Fault[] => [`kill ${node}`, `power ${node}`, `power ${node}, all lost`]);
const CUTS = NODES.flatMap((node): Fault[] => [`cut ${node}`, `cut ${node}, all lost`]);

/** Runs in any order behind a complete exploration, in which no state may be new. */
const PROBES = 50;
const PROBE_SEED = 1;

/** None, one, two and three of a crash, a partition and a promotion; behind a promotion there is much more to happen. */
function faultSets(): Fault[][] {
  const sets: Fault[][] = [[], ...CRASHES.map((crash) => [crash]), ...CUTS.map((cut) => [cut])];
  for (const crash of CRASHES) for (const cut of CUTS) sets.push([crash, cut]);
  return [...sets, ...sets.map((set): Fault[] => [...set, 'promotion'])];
}

const title = ({ attached, faults }: Task): string =>
  `used on ${attached}: ${faults.length === 0 ? 'no fault' : faults.join(' + ')}`;

async function run(line: CommandLine): Promise<number> {
  const limit = line.count('limit', Number.MAX_SAFE_INTEGER, 1);
  const only = line.word('only') ?? '';
  const deviations = line.word('deviations') === undefined ? undefined : line.count('deviations', 0, 0);
  const all = faultSets().flatMap((faults) => NODES.map((attached): Task => ({ attached, faults, limit, deviations })));
  const exact = all.filter((task) => title(task) === only);
  const tasks = exact.length > 0 ? exact : all.filter((task) => title(task).includes(only));
  if (tasks.length === 0) throw new UsageError(`--only ${only}: there is no such set of faults`);
  const rows: [string, number, string][] = [];
  let [states, transitions, complete, failures] = [0, 0, 0, 0];
  const done = (result: StatesResult, task: Task): void => {
    states += result.states;
    transitions += result.transitions;
    failures += result.failures.length;
    if (result.complete) complete++;
    rows.push([title(task), result.states, result.complete ? 'all' : 'the first']);
    console.log(`${title(task)}: ${result.states} states (${result.complete ? 'all' : 'not all'})`);
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
    `${rows.length} sets of faults, ${complete} of them completely: ${states} states, ${transitions} transitions, ${failures} failed, ${time.seconds.toFixed(1)} s`,
  );
  if (turns.rest !== undefined) console.log(`not all of them: --from ${turns.rest} goes on`);
  const json = line.word('json');
  if (json !== undefined) {
    appendRun(json, {
      kind: 'states',
      command: `npm run sim:states -- ${line.again}`.trimEnd(),
      ...time,
      counts:
        deviations === undefined
          ? { states, transitions, faultSets: rows.length, completeSets: complete }
          : { statesInOrder: states, boundedSets: rows.length, completeBoundedSets: complete },
      failures,
      table: {
        title: deviations === undefined ? 'States' : `States, messages out of their turn: at most ${deviations}`,
        columns: ['scope', deviations === undefined ? 'states met' : 'states met, with the order of what waits', 'of'],
        rows: rows.sort(),
        merge: ['newest', 'newest'],
      },
    });
  }
  return failures > 0 ? 1 : 0;
}

async function explore({ attached, faults, limit, deviations }: Task): Promise<StatesResult> {
  const [{ Scope }, { SeededRandom }] = await Promise.all([import('./scope.js'), import('../scheduler.js')]);
  const random = new SeededRandom(PROBE_SEED);
  const choose = (count: number): number => random.int(0, count - 1);
  const bound = deviations === undefined ? {} : { deviations };
  return exploreStates({ open: () => Scope.open(attached, faults), limit, probes: PROBES, choose, ...bound });
}

if (isMainThread) await runCommand(SHAPE, run);
else {
  register('./visible-fields.js', import.meta.url);
  answerTasks(explore);
}
