/** `npm run sim:mutations`: for each deliberate mistake (mutations.ts) the seed that notices it. */

import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CommandLine, type CommandShape, runCommand, UsageError } from '../setup/options.js';
import { appendRun, stopwatch } from '../setup/run-record.js';
import { provideScratch } from '../setup/scratch.js';
import { type Found, findMutation, knownSeeds, rememberSeeds } from './mutant.js';
import { MUTATIONS, type Mutation } from './mutations.js';

const SHAPE: CommandShape = {
  usage: `Usage: npm run sim:mutations -- [--only TEXT,…] [--walks N] [--seeds N] [--jobs J] [--again] [--json FILE]
Puts one mistake at a time into a copy of the compiled code, those whose rule and name have one of the texts, and looks
for the seed that notices: of 3000 random walks (npm run sim:walks), then of 300 simulated clusters (npm run sim).
Seeds that noticed earlier are in test/sim/mutation-seeds.json; they are tried first, with --again not at all. --json
appends the table to the file. Ends with 1 if a mistake is not noticed, does not apply to the code any more, or is
noticed though it is said to do no harm.`,
  words: ['only', 'walks', 'seeds', 'jobs', 'json'],
  flags: ['again'],
};

/** The compiled tree that this file is in. */
const compiled = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

async function run(line: CommandLine): Promise<number> {
  const limits = { walk: line.count('walks', 3_000), simulation: line.count('seeds', 300) };
  const only = (line.word('only') ?? '').split(',');
  const wanted = MUTATIONS.filter(({ rule, name }) => only.some((text) => `${rule} ${name}`.includes(text)));
  if (wanted.length === 0) throw new UsageError(`--only ${only}: there is no such mistake`);
  const known = line.has('again') ? {} : knownSeeds(compiled);
  const measure = stopwatch();
  provideScratch();
  const sound = { name: 'no mistake', edits: [] };
  const flaw = await findMutation({ compiled, mutation: sound, known: undefined, limits: { walk: 5, simulation: 1 } });
  if ('problem' in flaw) throw new Error(`the code without a mistake fails: ${flaw.problem}`);
  if (flaw.error !== undefined) throw new Error(`the code without a mistake fails: ${flaw.error}`);

  const queue = [...wanted];
  const found = new Map<string, Found>();
  /** What keeps mistakes from being as they should, by name. */
  const wrong = new Map<string, string>();
  const judge = async (mutation: Mutation): Promise<void> => {
    const { rule, name, harmless } = mutation;
    const title = `${rule} ${name}`;
    try {
      const outcome = await findMutation({ compiled, mutation, known: known[name], limits });
      if ('problem' in outcome) {
        found.set(name, outcome);
        rememberSeeds(compiled, found);
        if (harmless !== undefined) wrong.set(name, 'it is said to do no harm');
        console.log(`${outcome.by} ${outcome.seed}: ${title}: ${outcome.problem}`);
      } else if (harmless !== undefined) {
        console.log(`not noticed, as it does no harm: ${title}`);
      } else {
        const { broken, error } = outcome;
        wrong.set(name, broken === 0 ? 'not noticed' : `not noticed by a check; ${broken} seeds broke: ${error}`);
      }
    } catch (error) {
      wrong.set(name, (error as Error).message);
    }
    if (wrong.has(name)) console.log(`WRONG: ${title}: ${wrong.get(name)}`);
  };
  const work = async (): Promise<void> => {
    for (let mutation = queue.shift(); mutation !== undefined; mutation = queue.shift()) await judge(mutation);
  };
  await Promise.all(Array.from({ length: line.count('jobs', availableParallelism(), 1) }, work));

  console.log(`${wanted.length} mistakes, ${found.size} noticed, ${wrong.size} not as they should be`);
  const json = line.word('json');
  if (json !== undefined) {
    const row = ({ rule, name, harmless }: Mutation): (string | number)[] => {
      const { by, seed, problem } = found.get(name) ?? { by: 'nothing', seed: '–', problem: undefined };
      return [name, rule, by, seed, wrong.get(name) ?? problem ?? `no harm: ${harmless}`];
    };
    appendRun(json, {
      kind: 'mutations',
      command: `npm run sim:mutations -- ${line.again}`.trimEnd(),
      seconds: measure().seconds,
      counts: { mistakesTried: wanted.length, noticed: found.size },
      failures: wrong.size,
      table: {
        title: 'Mistakes',
        columns: ['mistake', 'rule', 'noticed by', 'seed', 'as'],
        rows: wanted.map(row),
        merge: ['newest', 'newest', 'newest', 'newest'],
      },
    });
  }
  return wrong.size > 0 ? 1 : 0;
}

await runCommand(SHAPE, run);
