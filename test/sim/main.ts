/**
 * `npm run sim -- [--seeds N] [--from S] [--jobs J] [--failures F] [--json FILE]`: runs seeds on all processors, prints
 * what happened, and how to replay a failure; with `--json`, appends the totals to a file. With `--trace` the seeds run
 * one after the other and everything is told; `--messages` tells of every message too, `--volume N` and `--block N` only
 * of what concerns these.
 */

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { appendRun } from '../setup/run-record.js';
import { type SimulationOptions, type SimulationResult, simulate } from './simulation.js';
import { Summary } from './summary.js';
import { formatLine, matches } from './trace.js';

function option<T>(name: string, fallback: T): number | T {
  const text = word(name);
  return text === undefined ? fallback : Number(text);
}

function word(name: string): string | undefined {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? undefined : process.argv[i + 1];
}

/** How to tell of a run; nothing, if it is not wanted. */
function tracing(): Pick<SimulationOptions, 'trace' | 'traceMessages'> {
  if (!process.argv.includes('--trace')) return {};
  const [volume, block] = [option('volume', undefined), option('block', undefined)];
  const filter = { ...(volume !== undefined && { volume }), ...(block !== undefined && { block }) };
  return {
    traceMessages: process.argv.includes('--messages'),
    trace: (line) => {
      if (matches(line, filter)) console.log(formatLine(line));
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
  const from = option('from', 1);
  const seeds = option('seeds', 100);
  const failures = option('failures', 5);
  const traced = tracing();
  const jobs = traced.trace === undefined ? Math.min(seeds, option('jobs', availableParallelism())) : 0;
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
  const json = word('json');
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
