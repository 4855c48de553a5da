/** One mistake in a copy of the compiled code, and the search for a seed that notices it. */

import { fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Mutation } from './mutations.js';

export const METHODS = ['walk', 'simulation'] as const;
export type Method = (typeof METHODS)[number];

/** What seek.ts answers. */
export interface Sought {
  /** The seed that noticed, and how it showed; absent: none did. */
  readonly found?: { readonly seed: number; readonly problem: string };
  /** Seeds that ended in an error that no check has thrown: they say nothing of the mistake. */
  readonly broken: number;
  /** The first of these errors. */
  readonly error?: string;
}

export interface Found {
  readonly by: Method;
  readonly seed: number;
  /** How it showed, the beginning of it. */
  readonly problem: string;
}

/** As `Sought`, of all methods together. */
export type NotFound = Omit<Sought, 'found'>;

type Known = Pick<Found, 'by' | 'seed'>;

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
  readonly mutation: Pick<Mutation, 'name' | 'edits'>;
  /** Tried first. */
  readonly known: Known | undefined;
  /** Seeds, from 1 on, for each method. */
  readonly limits: Readonly<Record<Method, number>>;
}

/**
 * The first seed one of whose checks notices it. Error: the mutation does not apply, or the code cannot be run with it.
 * What is temporary is below TMPDIR (test/setup/scratch.ts).
 */
export async function findMutation({ compiled, mutation, known, limits }: Search): Promise<Found | NotFound> {
  const tree = await mkdtemp(join(tmpdir(), 'mutation-'));
  try {
    for (const folder of ['core', 'node-agent', 'test/sim', 'test/setup']) {
      await cp(join(compiled, folder), join(tree, folder), { recursive: true });
    }
    await writeFile(join(tree, 'package.json'), '{"type":"module"}');
    await symlink(join(compiled, '..', 'node_modules'), join(tree, 'node_modules'));
    await apply(tree, mutation);
    const ranges = METHODS.map((by) => ({ by, from: 1, seeds: limits[by] }));
    if (known !== undefined) ranges.unshift({ by: known.by, from: known.seed, seeds: 1 });
    let broken = 0;
    let error: string | undefined;
    for (const { by, from, seeds } of ranges) {
      if (seeds === 0) continue;
      const sought = await seek(tree, by, from, seeds);
      if (sought.found !== undefined) {
        return { by, seed: sought.found.seed, problem: beginningOf(sought.found.problem) };
      }
      broken += sought.broken;
      error ??= sought.error;
    }
    return { broken, ...(error !== undefined && { error: beginningOf(error) }) };
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

function beginningOf(text: string): string {
  return text.split('\n')[0]!.slice(0, PROBLEM_CHARACTERS);
}

async function apply(tree: string, { name, edits }: Search['mutation']): Promise<void> {
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

function seek(tree: string, by: Method, from: number, seeds: number): Promise<Sought> {
  return new Promise((resolve, reject) => {
    const child = fork(join(tree, 'test/sim/seek.js'), [by, String(from), String(seeds)], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let said = '';
    child.stderr?.on('data', (chunk) => {
      said = (said + chunk).slice(-2_000);
    });
    let sought: Sought | undefined;
    child.on('message', (message) => {
      sought = message as Sought;
    });
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (sought !== undefined) resolve(sought);
      else reject(new Error(`it ended with ${signal ?? code}: ${said.trim().split('\n').at(-1)}`));
    });
  });
}
