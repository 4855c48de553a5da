/** `npm run sim:walks`: random walks through the single steps of a volume with three copies. */

import { availableParallelism } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { type CommandLine, type CommandShape, runCommand } from '../../setup/options.js';
import { appendRun, stopwatch } from '../../setup/run-record.js';
import { answerTasks, onThreads } from '../workers.js';
import { type WalkResult, walk } from './walk.js';

const SHAPE: CommandShape = {
  usage: `Usage: npm run sim:walks -- [--seeds N] [--from S] [--jobs J] [--failures F] [--json FILE] [--trace]
Walks through the single steps of a volume with three copies in an order that each seed draws: 1000 seeds from 1 on,
on all processors, until 5 have failed. --json appends the totals to the file; --trace tells every step.`,
  words: ['seeds', 'from', 'failures', 'jobs', 'json'],
  flags: ['trace'],
};

/** For docs/reliability.md. */
const RECORDED = ['steps', 'operations', 'operationsDone', 'promotions', 'syncs', 'losses'];

async function run(line: CommandLine): Promise<number> {
  const from = line.count('from', 1);
  const seeds = line.count('seeds', 1000, 1);
  const failures = line.count('failures', 5, 1);
  const trace = line.has('trace');
  const jobs = trace ? 1 : Math.min(seeds, line.count('jobs', availableParallelism(), 1));
  const counts: Record<string, number> = {};
  let failed = 0;
  let next = from;
  const take = (): number | undefined => (next < from + seeds && failed < failures ? next++ : undefined);
  const done = ({ problems, counts: found }: WalkResult, seed: number): void => {
    for (const [what, count] of Object.entries(found)) counts[what] = (counts[what] ?? 0) + count;
    if (problems.length === 0) return;
    failed++;
    console.log(`seed ${seed} FAILED:`);
    for (const problem of problems.slice(0, 5)) console.log(`  ${problem}`);
    console.log(`  replay: npm run sim:walks -- --from ${seed} --seeds 1 --trace`);
  };
  const measure = stopwatch();
  if (jobs < 2) {
    for (let seed = take(); seed !== undefined; seed = take()) {
      done(await walk({ seed, ...(trace && { trace: (told: string) => console.log(told) }) }), seed);
    }
  } else {
    await onThreads({ module: import.meta.url, threads: jobs, take, done });
  }
  const time = measure();
  const told = Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1));
  console.log(told.map(([what, count]) => `${what} ${count.toLocaleString('en-US')}`).join(', '));
  console.log(`${next - from} seeds from ${from}, ${failed} failed, ${time.seconds.toFixed(1)} s`);
  const json = line.word('json');
  if (json !== undefined) {
    const command = `npm run sim:walks -- --from ${from} --seeds ${next - from}`;
    const recorded = Object.fromEntries(RECORDED.map((what) => [what, counts[what] ?? 0]));
    appendRun(json, { kind: 'walks', command, ...time, counts: { walks: next - from, ...recorded }, failures: failed });
  }
  return failed > 0 ? 1 : 0;
}

if (isMainThread) await runCommand(SHAPE, run);
else answerTasks((seed: number) => walk({ seed }));
