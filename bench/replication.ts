/**
 * What replication costs and how long it takes.
 *
 *   npm run bench -- replication [--part NAME]… [--rounds N] [--quick] [--setup TEXT] [--only TEXT] [--json FILE]
 *     [DIRECTORY]
 *
 * --part: only these, of those in replication/parts.ts. --rounds: failovers of each kind, instead of 50, or of gossip's
 * faults, instead of 20. --quick: a few minutes in all, with fewer rounds and smaller volumes, whose results are not
 * kept. --setup, --only: of the part "copies", set-ups and loads whose titles have it. --json: where each kind of
 * failovers leaves a line for docs/reliability.md. DIRECTORY: where the data of all sides is put.
 *
 * Every part replaces its own results in bench/results/replication.json.
 */

import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { PARTS, type PartOptions } from './replication/parts.js';
import { savePart } from './results.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    part: { type: 'string', multiple: true, default: Object.keys(PARTS) },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    setup: { type: 'string', default: '' },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
});
const { quick, setup, only } = values;
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds takes a number');

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

const kept = !quick && setup === '' && only === '';
for (const name of values.part) {
  if (interrupted.signal.aborted) break;
  const part = Object.entries(PARTS).find(([each]) => each === name)?.[1];
  if (part === undefined) throw new Error(`no part ${name}; there are ${Object.keys(PARTS).join(', ')}`);
  console.log(`\n${name}`);
  const began = performance.now();
  const keep = (results: object): void => {
    const seconds = Math.round((performance.now() - began) / 1000);
    if (kept) savePart('replication', name, { seconds }, results);
  };
  const options: PartOptions = {
    place: positionals[0] ?? tmpdir(),
    quick,
    ...(rounds !== undefined && { rounds }),
    ...(values.json !== undefined && { runFile: values.json }),
    setup,
    only,
    signal: interrupted.signal,
    keep,
  };
  keep(await part(options));
  console.log(`${name}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
}
