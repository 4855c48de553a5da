/**
 * `npm run sim:mutations [-- --seeds N]`: for each deliberate mistake, how many seeds the simulator needs to
 * find it. Exit code 1 if one is not found within N (default 300).
 */

import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MUTATIONS, type Mutation } from './mutations.js';

/** The compiled tree that this file is in. */
const compiled = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

function option(name: string, fallback: string): string {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? fallback : (process.argv[i + 1] ?? fallback);
}

interface Outcome {
  readonly mutation: string;
  /** Seeds that were needed; undefined: not found. */
  readonly seeds: number | undefined;
  readonly problem: string;
}

async function tryOut(mutation: Mutation, seeds: string): Promise<Outcome> {
  const tree = await mkdtemp(join(tmpdir(), 'mutation-'));
  try {
    for (const folder of ['core', 'node-agent', 'test'])
      await cp(join(compiled, folder), join(tree, folder), { recursive: true });
    await writeFile(join(tree, 'package.json'), '{"type":"module"}');
    await symlink(modules(), join(tree, 'node_modules'));
    for (const edit of mutation.also === undefined ? [mutation] : [mutation, mutation.also]) {
      const path = join(tree, edit.file);
      const source = await readFile(path, 'utf8');
      if (source.split(edit.find).length !== 2) throw new Error(`'${mutation.name}' does not apply to ${edit.file}`);
      await writeFile(
        path,
        source.replace(edit.find, () => edit.replace),
      );
    }
    const output = await run(join(tree, 'test/sim/main.js'), ['--seeds', seeds, '--failures', '1', '--jobs', '1']);
    const found = /^seed (\d+) FAILED[^\n]*\n {2}([^\n]*)/m.exec(output);
    if (found !== null) return { mutation: mutation.name, seeds: Number(found[1]), problem: found[2]!.slice(0, 90) };
    // A mistake may also show as a crash of the whole simulation.
    if (!/ seeds from /.test(output))
      return { mutation: mutation.name, seeds: 1, problem: output.trim().split('\n').at(-1) ?? '' };
    return { mutation: mutation.name, seeds: undefined, problem: '' };
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

function modules(): string {
  return option('modules', join(compiled, '..', 'node_modules'));
}

function run(script: string, args: string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      output += chunk;
    });
    child.on('close', () => resolve(output));
  });
}

const wanted = option('only', '');
const queue = MUTATIONS.filter((mutation) => mutation.name.includes(wanted));
const outcomes: Outcome[] = [];
const workers = Array.from({ length: availableParallelism() }, async () => {
  for (let mutation = queue.shift(); mutation !== undefined; mutation = queue.shift()) {
    const outcome = await tryOut(mutation, option('seeds', '300'));
    outcomes.push(outcome);
    console.log(
      `${outcome.seeds === undefined ? 'NOT FOUND' : `seed ${outcome.seeds}`}: ${outcome.mutation}: ${outcome.problem}`,
    );
  }
});
await Promise.all(workers);
const missed = outcomes.filter((outcome) => outcome.seeds === undefined);
console.log(`${outcomes.length} mistakes, ${missed.length} not found`);
process.exitCode = missed.length > 0 ? 1 : 0;
