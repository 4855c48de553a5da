/** `npm run sim`: runs seeds on all processors, prints what happened, and how to replay a failure. */

import { availableParallelism } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { type CommandLine, type CommandShape, runCommand } from '../setup/options.js';
import { appendRun, stopwatch } from '../setup/run-record.js';
import { type SimulationOptions, type SimulationResult, simulate } from './simulation.js';
import { Summary } from './summary.js';
import { formatLine, matches } from './trace.js';
import { answerTasks, onThreads } from './workers.js';

const SHAPE: CommandShape = {
  usage: `Usage: npm run sim -- [--seeds N] [--from S] [--jobs J] [--failures F] [--json FILE]
                      [--trace [--messages] [--volume N] [--block N]]
Simulates whole clusters, one for each seed: 100 of them from 1 on, on all processors, until 5 have failed.
--json appends the totals to the file. With --trace one seed runs after the other, and everything is told;
--messages tells of every message too, --volume and --block only of what concerns these.`,
  words: ['seeds', 'from', 'jobs', 'failures', 'json', 'volume', 'block'],
  flags: ['trace', 'messages'],
};

/** How to tell of a run; nothing, if it is not wanted. */
function tracing(line: CommandLine): Pick<SimulationOptions, 'trace' | 'traceMessages'> {
  if (!line.has('trace')) return {};
  const [volume, block] = [line.count('volume', undefined), line.count('block', undefined)];
  const filter = { ...(volume !== undefined && { volume }), ...(block !== undefined && { block }) };
  return {
    traceMessages: line.has('messages'),
    trace: (told) => {
      if (matches(told, filter)) console.log(formatLine(told));
    },
  };
}

async function run(line: CommandLine): Promise<number> {
  const from = line.count('from', 1);
  const seeds = line.count('seeds', 100, 1);
  const failures = line.count('failures', 5, 1);
  const traced = tracing(line);
  const jobs = traced.trace === undefined ? Math.min(seeds, line.count('jobs', availableParallelism(), 1)) : 0;
  const summary = new Summary();
  let next = from;
  const take = (): number | undefined => (next < from + seeds && summary.failed.length < failures ? next++ : undefined);
  const measure = stopwatch();
  if (jobs < 2) {
    for (let seed = take(); seed !== undefined; seed = take()) summary.add(await simulate({ seed, ...traced }));
  } else {
    const done = (result: SimulationResult): void => summary.add(result);
    await onThreads({ module: import.meta.url, threads: jobs, take, done });
  }
  const time = measure();
  summary.print(next - from, from, time.seconds);
  const json = line.word('json');
  if (json !== undefined) {
    appendRun(json, {
      kind: 'simulation',
      command: `npm run sim -- --from ${from} --seeds ${next - from}`,
      ...time,
      counts: { seeds: next - from, virtualSeconds: summary.virtualSeconds, ...summary.totals },
      failures: summary.failed.length,
    });
  }
  return summary.failed.length > 0 ? 1 : 0;
}

if (isMainThread) await runCommand(SHAPE, run);
else answerTasks((seed: number) => simulate({ seed }));
