/** One mistake in a copy of the compiled code, and the search for a seed that notices it. */

import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Mutation } from './mutations.js';

const METHODS = ['walk', 'simulation'] as const;
type Method = (typeof METHODS)[number];

export interface Found {
  readonly by: Method;
  readonly seed: number;
  /** How it showed, the beginning of it. */
  readonly problem: string;
}

type Known = Pick<Found, 'by' | 'seed'>;

const SCRIPTS: Record<Method, string> = { walk: 'test/sim/steps/main.js', simulation: 'test/sim/main.js' };
const PROBLEM_CHARACTERS = 100;

/** Beside the compiled tree. */
function seedsFile(compiled: string): string {
  return join(compiled, '..', 'test', 'sim', 'mutation-seeds.json');
}

export function knownSeeds(compiled: string): Record<string, Known> {
  return JSON.parse(readFileSync(seedsFile(compiled), 'utf8')) as Record<string, Known>;
}

/** Adds what was found; what was not tried stays. */
export function rememberSeeds(compiled: string, found: ReadonlyMap<string, Found>): void {
  const seeds = knownSeeds(compiled);
  for (const [name, { by, seed }] of found) seeds[name] = { by, seed };
  const sorted = Object.fromEntries(Object.entries(seeds).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(seedsFile(compiled), `${JSON.stringify(sorted, null, 2)}\n`);
}

export interface Search {
  readonly compiled: string;
  readonly mutation: Mutation;
  /** Tried first. */
  readonly known: Known | undefined;
  /** Seeds, from 1 on, for each method. */
  readonly limits: Readonly<Record<Method, number>>;
}

/** The first seed that notices it; undefined if none does. Error: the mutation does not apply. */
export async function findMutation({ compiled, mutation, known, limits }: Search): Promise<Found | undefined> {
  const tree = await mkdtemp(join(tmpdir(), 'mutation-'));
  try {
    for (const folder of ['core', 'node-agent', 'test/sim', 'test/setup']) {
      await cp(join(compiled, folder), join(tree, folder), { recursive: true });
    }
    await writeFile(join(tree, 'package.json'), '{"type":"module"}');
    await symlink(join(compiled, '..', 'node_modules'), join(tree, 'node_modules'));
    await apply(tree, mutation);
    const again = known === undefined ? undefined : await search(tree, known.by, known.seed, 1);
    if (again !== undefined) return again;
    for (const method of METHODS) {
      const found = limits[method] > 0 ? await search(tree, method, 1, limits[method]) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

async function apply(tree: string, { name, edits }: Mutation): Promise<void> {
  for (const { file, find, replace } of edits) {
    const path = join(tree, file);
    const source = await readFile(path, 'utf8');
    if (source.split(find).length !== 2) throw new Error(`'${name}' does not apply to ${file}: ${find}`);
    await writeFile(
      path,
      source.replace(find, () => replace),
    );
  }
}

async function search(tree: string, by: Method, from: number, seeds: number): Promise<Found | undefined> {
  const args = ['--from', String(from), '--seeds', String(seeds), '--failures', '1', '--jobs', '1'];
  const output = await run(join(tree, SCRIPTS[by]), args);
  const failed = /^seed (\d+) FAILED[^\n]*\n {2}([^\n]*)/m.exec(output);
  if (failed !== null) return { by, seed: Number(failed[1]), problem: failed[2]!.slice(0, PROBLEM_CHARACTERS) };
  if (/ seeds from /.test(output)) return undefined;
  // It may show as a crash of the whole simulation as well.
  return { by, seed: from, problem: (output.trim().split('\n').at(-1) ?? '').slice(0, PROBLEM_CHARACTERS) };
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
