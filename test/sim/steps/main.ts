/**
 * `npm run sim:walks -- [--seeds N] [--from S] [--failures F] [--jobs J] [--trace] [--json FILE]`: random walks through
 * the single steps of a volume with three copies.
 */

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { CommandLine } from '../../setup/options.js';
import { appendRun } from '../../setup/run-record.js';
import { type WalkResult, walk } from './walk.js';

interface Done extends WalkResult {
  readonly seed: number;
}

const line = new CommandLine(['seeds', 'from', 'failures', 'jobs', 'json'], ['trace']);

async function main(): Promise<void> {
  const from = line.count('from', 1);
  const seeds = line.count('seeds', 1000, 1);
  const failures = line.count('failures', 5, 1);
  const trace = line.has('trace');
  const jobs = trace ? 1 : Math.min(seeds, line.count('jobs', availableParallelism(), 1));
  const counts: Record<string, number> = {};
  let failed = 0;
  let next = from;
  const take = (): number | undefined => (next < from + seeds && failed < failures ? next++ : undefined);
  const done = ({ seed, problems, counts: found }: Done): void => {
    for (const [what, count] of Object.entries(found)) counts[what] = (counts[what] ?? 0) + count;
    if (problems.length === 0) return;
    failed++;
    console.log(`seed ${seed} FAILED:`);
    for (const problem of problems.slice(0, 5)) console.log(`  ${problem}`);
    console.log(`  replay: npm run sim:walks -- --from ${seed} --seeds 1 --trace`);
  };
  const startedAt = performance.now();
  if (jobs < 2) {
    for (let seed = take(); seed !== undefined; seed = take()) {
      done({ seed, ...(await walk({ seed, ...(trace && { trace: (told: string) => console.log(told) }) })) });
    }
  } else {
    await Promise.all(Array.from({ length: jobs }, () => runWorker(take, done)));
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const told = Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1));
  console.log(told.map(([what, count]) => `${what} ${count.toLocaleString('en-US')}`).join(', '));
  console.log(`${next - from} seeds from ${from}, ${failed} failed, ${seconds.toFixed(1)} s`);
  const json = line.word('json');
  if (json !== undefined) {
    const { user, system } = process.cpuUsage();
    appendRun(json, {
      kind: 'walks',
      command: `npm run sim:walks -- ${process.argv.slice(2).join(' ')}`,
      seconds,
      cpuSeconds: (user + system) / 1e6,
      counts: { walks: next - from, ...counts },
      failures: failed,
    });
  }
  process.exitCode = failed > 0 ? 1 : 0;
}

function runWorker(take: () => number | undefined, done: (result: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url));
    const give = (): void => {
      const seed = take();
      if (seed === undefined) void worker.terminate().then(() => resolve());
      else worker.postMessage(seed);
    };
    worker.on('message', (result: Done) => {
      done(result);
      give();
    });
    worker.once('error', reject);
    give();
  });
}

function work(port: NonNullable<typeof parentPort>): void {
  port.on('message', (seed: number) => {
    void walk({ seed }).then((result) => port.postMessage({ seed, ...result }));
  });
}

if (isMainThread) await main();
else if (parentPort !== null) work(parentPort);
