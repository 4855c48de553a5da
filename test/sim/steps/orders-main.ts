/**
 * `npm run sim:orders -- [--only TEXT] [--limit N] [--jobs J] [--json FILE]`: every order of the messages of two writes
 * with faults in every order with them (scope.ts); the executions of each set of faults, up to the limit.
 */

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { appendRun } from '../../setup/run-record.js';
import { explore, type OrdersResult } from './orders.js';
import { type Fault, Scope } from './scope.js';

interface Task {
  readonly attached: string;
  readonly faults: readonly Fault[];
  readonly limit: number;
}

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

function option(name: string, fallback: string): string {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? fallback : (process.argv[i + 1] ?? fallback);
}

const title = ({ attached, faults }: Task): string =>
  `used on ${attached}: ${faults.length === 0 ? 'no fault' : faults.join(' + ')}`;

async function main(): Promise<void> {
  const limit = Number(option('limit', String(Number.MAX_SAFE_INTEGER)));
  const all = NODES.flatMap((attached) => faultSets().map((faults): Task => ({ attached, faults, limit })));
  const tasks = all.filter((task) => title(task).includes(option('only', '')));
  const rows: [string, number, string][] = [];
  let [executions, steps, complete, failures] = [0, 0, 0, 0];
  const startedAt = performance.now();
  const done = (task: Task, result: OrdersResult): void => {
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
  const queue = [...tasks];
  const jobs = Math.min(tasks.length, Number(option('jobs', String(availableParallelism()))));
  await Promise.all(Array.from({ length: jobs }, () => runWorker(() => queue.shift(), done)));
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(
    `${tasks.length} sets of faults, ${complete} of them completely: ${executions} orders, ${steps} steps, ${failures} failed, ${seconds.toFixed(1)} s`,
  );
  const json = option('json', '');
  if (json !== '') {
    appendRun(json, {
      kind: 'interleavings',
      command: `npm run sim:orders -- ${process.argv.slice(2).join(' ')}`,
      seconds,
      counts: { orders: executions, steps, faultSets: tasks.length, completeSets: complete },
      failures,
      table: { title: 'Orders of messages', columns: ['scope', 'orders run', 'of'], rows: rows.sort() },
    });
  }
  process.exitCode = failures > 0 ? 1 : 0;
}

function runWorker(take: () => Task | undefined, done: (task: Task, result: OrdersResult) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url));
    const give = (): void => {
      const task = take();
      if (task === undefined) void worker.terminate().then(() => resolve());
      else worker.postMessage(task);
    };
    worker.on('message', ({ task, result }: { task: Task; result: OrdersResult }) => {
      done(task, result);
      give();
    });
    worker.once('error', reject);
    give();
  });
}

function work(port: NonNullable<typeof parentPort>): void {
  port.on('message', (task: Task) => {
    const { attached, faults, limit } = task;
    void explore({ open: () => Scope.open(attached, faults), limit }).then((result) =>
      port.postMessage({ task, result }),
    );
  });
}

if (isMainThread) await main();
else if (parentPort !== null) work(parentPort);
