/**
 * `npm run model -- [NAME…] [--seconds N] [--walk] [--traces]`: checks the specification of the replication protocol.
 * Without names: every rule switched off in turn, which must give a counterexample, and all rules on, which must not.
 */

import { join } from 'node:path';
import { packageRoot } from '../../node-agent/package-root.js';
import { FLAWS, type ModelRun, RULES_ON, WALKS } from './runs.js';
import { check, type ModelResult, obtainTlc, trace } from './tlc.js';

const DEFAULT_SECONDS = 60;

const words = process.argv.slice(2);
const at = words.indexOf('--seconds');
const seconds = at < 0 ? DEFAULT_SECONDS : Number(words.splice(at, 2)[1]);
const traces = words.includes('--traces');
const walk = words.includes('--walk');
const names = words.filter((word) => !word.startsWith('--'));
if (!(seconds > 0)) throw new RangeError('--seconds: a number above 0');

const all = [...FLAWS.map((run) => ({ ...run, name: `without ${run.name}` })), ...RULES_ON, ...WALKS];
const chosen =
  names.length > 0
    ? all.filter((run) => names.some((name) => run.name.includes(name)))
    : walk
      ? WALKS
      : all.filter((run) => run.walk === undefined);
if (chosen.length === 0) throw new RangeError(`no run is called ${names.join(' or ')}`);

/** A rule that is on may be unfinished: then no counterexample was found in that time. */
function isAsExpected(run: ModelRun, { outcome }: ModelResult): boolean {
  if (run.expect === 'counterexample') return outcome === 'counterexample';
  return outcome === 'complete' || outcome === 'unfinished';
}

const jar = await obtainTlc();
const specification = join(packageRoot(), 'docs/model/VolumeReplication.tla');
let unexpected = 0;
for (const run of chosen) {
  const result = await check(jar, specification, run, seconds);
  const expected = isAsExpected(run, result);
  const states = result.states.toLocaleString('en-US');
  console.log(
    `${expected ? 'ok    ' : 'WRONG '} ${run.name.padEnd(34)} ${result.outcome.padEnd(15)} ${states.padStart(12)} states ${result.seconds.toFixed(0).padStart(5)} s`,
  );
  if (!expected) unexpected++;
  if (result.outcome === 'error') console.log(result.output.split('\n').slice(-30).join('\n'));
  if (result.outcome === 'counterexample' && (traces || !expected)) console.log(trace(result.output).join('\n'));
}
console.log(`${chosen.length} runs, ${unexpected} not as expected`);
process.exitCode = unexpected > 0 ? 1 : 0;
