/** `npm run sim -- --seeds N --from S [--trace]`: runs seeds, prints what happened, and how to replay a failure. */

import { simulate } from './simulation.js';
import { StoreDisk } from './store-disk.js';

function option(name: string, fallback: number): number {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? fallback : Number(process.argv[i + 1]);
}

const from = option('from', 1);
const seeds = option('seeds', 100);
const trace = process.argv.includes('--trace');
const totals: Record<string, number> = {};
const failed: number[] = [];
const startedAt = performance.now();
for (let seed = from; seed < from + seeds; seed++) {
  const result = await simulate({
    seed,
    disk: (options) => new StoreDisk(options),
    ...(trace ? { trace: (line: string) => console.log(line) } : {}),
  });
  for (const [what, count] of Object.entries(result.counts)) totals[what] = (totals[what] ?? 0) + count;
  if (result.problems.length > 0) {
    failed.push(seed);
    console.log(`seed ${seed} FAILED after ${Math.round(result.virtualMs)} ms:`);
    for (const problem of result.problems.slice(0, 5)) console.log(`  ${problem}`);
    console.log(`  replay: npm run sim -- --from ${seed} --seeds 1 --trace`);
    if (failed.length >= option('failures', 5)) break;
  }
}
const seconds = (performance.now() - startedAt) / 1000;
console.table(totals);
console.log(`${seeds} seeds from ${from}, ${failed.length} failed, ${seconds.toFixed(1)} s`);
process.exitCode = failed.length > 0 ? 1 : 0;
