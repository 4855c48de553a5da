/** `npm run model`: checks the specification of the replication protocol. */

import { join } from 'node:path';
import { packageRoot } from '../../node-agent/package-root.js';
import { type CommandLine, type CommandShape, runCommand, UsageError } from '../setup/options.js';
import { appendRun, stopwatch } from '../setup/run-record.js';
import { FLAWS, type ModelRun, RULES_ON, WALKS } from './runs.js';
import { check, type ModelResult, obtainTlc, trace } from './tlc.js';

const SHAPE: CommandShape = {
  usage: `Usage: npm run model -- [NAME…] [--walk] [--seconds N] [--traces] [--json FILE]
Has TLC check the specification, each run for 60 s at most: every rule switched off in turn, which must give a
counterexample, and all rules on, which must not; or the runs whose names contain one of the given; or, with --walk,
random walks with every fault. --traces prints counterexamples step by step; --json appends the table to the file.`,
  words: ['seconds', 'json'],
  flags: ['walk', 'traces'],
  names: true,
};
const DEFAULT_SECONDS = 60;

function chosen(names: readonly string[], walk: boolean): ModelRun[] {
  const all = [...FLAWS.map((run) => ({ ...run, name: `without ${run.name}` })), ...RULES_ON, ...WALKS];
  if (names.length === 0) return walk ? [...WALKS] : all.filter((run) => run.walk === undefined);
  const found = all.filter((run) => names.some((name) => run.name.includes(name)));
  if (found.length === 0) throw new UsageError(`no run is called ${names.join(' or ')}`);
  return found;
}

/** A rule that is on may be unfinished: then no counterexample was found in that time. */
function isAsExpected(run: ModelRun, { outcome }: ModelResult): boolean {
  if (run.expect === 'counterexample') return outcome === 'counterexample';
  return outcome === 'complete' || outcome === 'unfinished';
}

async function run(line: CommandLine): Promise<number> {
  const seconds = line.amount('seconds', DEFAULT_SECONDS);
  const runs = chosen(line.names, line.has('walk'));
  const jar = await obtainTlc();
  const specification = join(packageRoot(), 'docs/model/VolumeReplication.tla');
  const measure = stopwatch();
  const rows: [string, string, number, number][] = [];
  let unexpected = 0;
  for (const run of runs) {
    const result = await check(jar, specification, run, seconds);
    const expected = isAsExpected(run, result);
    const states = result.states.toLocaleString('en-US');
    console.log(
      `${expected ? 'ok    ' : 'WRONG '} ${run.name.padEnd(34)} ${result.outcome.padEnd(15)} ${states.padStart(12)} states ${result.seconds.toFixed(0).padStart(5)} s`,
    );
    rows.push([
      run.name,
      expected ? result.outcome : `WRONG: ${result.outcome}`,
      result.states,
      Math.round(result.seconds),
    ]);
    if (!expected) unexpected++;
    if (result.outcome === 'error') console.log(result.output.split('\n').slice(-30).join('\n'));
    if (result.outcome === 'counterexample' && (line.has('traces') || !expected)) {
      console.log(trace(result.output).join('\n'));
    }
  }
  console.log(`${runs.length} runs, ${unexpected} not as expected`);
  const json = line.word('json');
  if (json !== undefined) {
    appendRun(json, {
      kind: 'model',
      command: `npm run model -- ${line.again}`.trimEnd(),
      seconds: measure().seconds,
      counts: { runsOfTlc: runs.length, states: rows.reduce((sum, [, , states]) => sum + states, 0) },
      failures: unexpected,
      table: {
        title: 'Rules switched off, and mixtures of faults with all rules on',
        columns: ['run', 'outcome', 'distinct states', 'seconds'],
        rows,
        merge: ['newest', 'newest', 'newest'],
      },
    });
  }
  return unexpected > 0 ? 1 : 0;
}

await runCommand(SHAPE, run);
