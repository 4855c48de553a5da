/**
 * `npm run sim -- [--seeds N] [--from S] [--jobs J] [--failures F] [--trace]`: runs seeds on all processors, prints what
 * happened, and how to replay a failure. With `--trace` the seeds run one after the other and everything is told.
 */

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { type SimulationResult, simulate } from './simulation.js';
import { StoreDisk } from './store-disk.js';
import { Summary } from './summary.js';

function option(name: string, fallback: number): number {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? fallback : Number(process.argv[i + 1]);
}

function run(seed: number, trace?: (line: string) => void): Promise<SimulationResult> {
  return simulate({ seed, disk: (options) => new StoreDisk(options), ...(trace !== undefined && { trace }) });
}

/** Runs the seeds that the main thread asks for, one at a time. */
function work(port: NonNullable<typeof parentPort>): void {
  port.on('message', (seed: number) => {
    void run(seed).then((result) => port.postMessage(result));
  });
}

async function main(): Promise<void> {
  const from = option('from', 1);
  const seeds = option('seeds', 100);
  const failures = option('failures', 5);
  const trace = process.argv.includes('--trace');
  const jobs = trace ? 0 : Math.min(seeds, option('jobs', availableParallelism()));
  const summary = new Summary();
  let next = from;
  const take = (): number | undefined => (next < from + seeds && summary.failed.length < failures ? next++ : undefined);
  const startedAt = performance.now();
  if (jobs < 2) {
    for (let seed = take(); seed !== undefined; seed = take()) {
      summary.add(await run(seed, trace ? (line) => console.log(line) : undefined));
    }
  } else {
    await Promise.all(Array.from({ length: jobs }, () => runWorker(take, (result) => summary.add(result))));
  }
  summary.print(next - from, from, (performance.now() - startedAt) / 1000);
  process.exitCode = summary.failed.length > 0 ? 1 : 0;
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
