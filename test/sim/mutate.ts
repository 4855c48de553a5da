/**
 * `npm run sim:mutations [-- --only TEXT,… --walks N --seeds N --jobs J --again --json FILE]`: for each deliberate mistake
 * the seed that finds it, of random walks (`npm run sim:walks`) first, of the simulator (`npm run sim`) then. Seeds that
 * were found earlier are in mutation-seeds.json: they are tried first, and with `--again` they are forgotten. Exit code 1
 * if a mistake is not found, or does not apply to the code any more.
 */

import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { appendRun } from '../setup/run-record.js';
import { type Found, findMutation, knownSeeds, rememberSeeds } from './mutant.js';
import { MUTATIONS } from './mutations.js';

/** The compiled tree that this file is in. */
const compiled = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

function option(name: string, fallback: string): string {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? fallback : (process.argv[i + 1] ?? fallback);
}

const startedAt = performance.now();
const known = process.argv.includes('--again') ? {} : knownSeeds(compiled);
const limits = { walk: Number(option('walks', '3000')), simulation: Number(option('seeds', '300')) };
const only = option('only', '').split(',');
const wanted = MUTATIONS.filter(({ rule, name }) => only.some((text) => `${rule} ${name}`.includes(text)));
const sound = { rule: '', name: 'no mistake', edits: [] };
const flaw = await findMutation({ compiled, mutation: sound, known: undefined, limits: { walk: 1, simulation: 1 } });
if (flaw !== undefined) throw new Error(`the code without a mistake fails: ${flaw.problem}`);
const queue = [...wanted];
const found = new Map<string, Found>();

async function work(): Promise<void> {
  for (let mutation = queue.shift(); mutation !== undefined; mutation = queue.shift()) {
    const { rule, name } = mutation;
    const outcome = await findMutation({ compiled, mutation, known: known[name], limits }).catch(String);
    if (outcome === undefined || typeof outcome === 'string') {
      console.log(`NOT FOUND: ${rule} ${name}${outcome === undefined ? '' : `: ${outcome}`}`);
      continue;
    }
    found.set(name, outcome);
    console.log(`${outcome.by} ${outcome.seed}: ${rule} ${name}: ${outcome.problem}`);
  }
}

await Promise.all(Array.from({ length: Number(option('jobs', String(availableParallelism()))) }, work));
const missed = wanted.filter(({ name }) => !found.has(name));
console.log(`${wanted.length} mistakes, ${missed.length} not found`);
rememberSeeds(compiled, found);
const json = option('json', '');
if (json !== '') {
  appendRun(json, {
    kind: 'mutations',
    command: `npm run sim:mutations -- ${process.argv.slice(2).join(' ')}`,
    seconds: (performance.now() - startedAt) / 1000,
    counts: { mistakes: wanted.length, found: found.size },
    failures: missed.length,
    table: {
      title: 'Deliberate mistakes',
      columns: ['rule', 'mistake', 'found by', 'seed', 'as'],
      rows: wanted.map(({ rule, name }) => {
        const { by, seed, problem } = found.get(name) ?? { by: 'nothing', seed: 0, problem: '' };
        return [rule, name, by, seed, problem];
      }),
    },
  });
}
process.exitCode = missed.length > 0 ? 1 : 0;
