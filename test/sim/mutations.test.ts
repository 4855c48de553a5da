import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../node-agent/package-root.js';
import { findMutation, knownSeeds } from './mutant.js';
import { MUTATIONS } from './mutations.js';

/** `npm test` has built it. */
const compiled = join(packageRoot(), 'dist');
/** A change of the protocol makes other walks of the seeds: then the next one that notices is looked for. */
const LIMITS = { walk: 200, simulation: 0 };
/** One for each way in which a mistake shows: an invariant, a copy in sync that lacks something, copies that differ, a read. */
const CHEAP = [
  'an activation keeps members that did not confirm',
  'a primary that was restarted goes on in its epoch',
  'backfill does not overwrite dead orders',
  'a trim leaves no order in the index',
];

describe('deliberate mistakes', () => {
  it('apply to the code as it is', () => {
    for (const { name, edits } of MUTATIONS) {
      for (const { file, find } of edits) {
        expect(readFileSync(join(compiled, file), 'utf8').split(find), `${name}: ${file}`).toHaveLength(2);
      }
    }
  });

  it('are there for every rule of the specification', () => {
    const findings = readFileSync(join(packageRoot(), 'docs/model/findings.md'), 'utf8');
    const rules = [...findings.matchAll(/^\| \*\*(R\d+)\*\*/gm)].map(([, rule]) => rule);
    const covered = new Set(MUTATIONS.map(({ rule }) => rule));
    expect(rules.filter((rule) => rule === undefined || !covered.has(rule))).toEqual([]);
  });

  it('are what is noticed: without one, nothing is', async () => {
    const mutation = { name: 'no mistake', edits: [] };
    const limits = { walk: 5, simulation: 1 };
    expect(await findMutation({ compiled, mutation, known: undefined, limits })).toEqual({ broken: 0 });
  });

  it.each(CHEAP)('%s: is noticed (all: npm run sim:mutations)', async (name) => {
    const mutation = MUTATIONS.find((candidate) => candidate.name === name)!;
    const found = await findMutation({ compiled, mutation, known: knownSeeds(compiled)[name], limits: LIMITS });
    expect(found).toMatchObject({ problem: expect.any(String) });
  });

  it('that only break the code are not noticed by anything', async () => {
    const edits = [
      { file: 'core/replication/primary.js', find: 'get established() {', replace: 'get established() { null.x;' },
    ];
    const limits = { walk: 3, simulation: 1 };
    const found = await findMutation({ compiled, mutation: { name: 'a crash', edits }, known: undefined, limits });
    expect(found).toEqual({ broken: 4, error: expect.stringContaining('TypeError') });
  });
});
