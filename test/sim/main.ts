/**
 * `npm run sim -- [--seeds N] [--from S] [--jobs J] [--failures F] [--json FILE]`: runs seeds on all processors, prints
 * what happened, and how to replay a failure; with `--json`, appends the totals to a file. With `--trace` the seeds run
 * one after the other and everything is told; `--messages` tells of every message too, `--volume N` and `--block N` only
 * of what concerns these.
 */

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { CommandLine } from '../setup/options.js';
import { appendRun } from '../setup/run-record.js';
import { type SimulationOptions, type SimulationResult, simulate } from './simulation.js';
import { Summary } from './summary.js';
import { formatLine, matches } from './trace.js';

const line = new CommandLine(['seeds', 'from', 'jobs', 'failures', 'json', 'volume', 'block'], ['trace', 'messages']);

/** How to tell of a run; nothing, if it is not wanted. */
function tracing(): Pick<SimulationOptions, 'trace' | 'traceMessages'> {
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

/** Runs the seeds that the main thread asks for, one at a time. */
function work(port: NonNullable<typeof parentPort>): void {
  port.on('message', (seed: number) => {
    void simulate({ seed }).then((result) => port.postMessage(result));
  });
}

async function main(): Promise<void> {
  const from = line.count('from', 1);
  const seeds = line.count('seeds', 100, 1);
  const failures = line.count('failures', 5, 1);
  const traced = tracing();
  const jobs = traced.trace === undefined ? Math.min(seeds, line.count('jobs', availableParallelism(), 1)) : 0;
  const summary = new Summary();
  let next = from;
  const take = (): number | undefined => (next < from + seeds && summary.failed.length < failures ? next++ : undefined);
  const startedAt = performance.now();
  if (jobs < 2) {
    for (let seed = take(); seed !== undefined; seed = take()) summary.add(await simulate({ seed, ...traced }));
  } else {
    await Promise.all(Array.from({ length: jobs }, () => runWorker(take, (result) => summary.add(result))));
  }
  const seconds = (performance.now() - startedAt) / 1000;
  summary.print(next - from, from, seconds);
  const json = line.word('json');
  if (json !== undefined) record(json, summary, { from, seeds: next - from, seconds });
  process.exitCode = summary.failed.length > 0 ? 1 : 0;
}

function record(file: string, summary: Summary, run: { from: number; seeds: number; seconds: number }): void {
  const { user, system } = process.cpuUsage();
  appendRun(file, {
    kind: 'simulation',
    command: `npm run sim -- --from ${run.from} --seeds ${run.seeds}`,
    seconds: run.seconds,
    cpuSeconds: (user + system) / 1e6,
    counts: { seeds: run.seeds, virtualSeconds: summary.virtualSeconds, ...summary.totals },
    failures: summary.failed.length,
  });
}

function runWorker(take: () => number | undefined, done: (result: SimulationResult) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url));
    const give = (): void => {
      const seed = take();
      if (seed === undefined) void worker.terminate().then(() => resolve());
      else worker.postMessage(seed);
    };
    worker.on('message', (result: SimulationResult) => {
      done(result);
      give();
    });
    worker.once('error', reject);
    give();
  });
}

if (isMainThread) await main();
else if (parentPort !== null) work(parentPort);
