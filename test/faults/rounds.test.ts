/** A round of each kind that has no test of its own, on one cluster; `npm run faults` goes on with all of them. */

import { afterAll, expect, it } from 'vitest';
import { Arena } from './arena.js';
import { runRound } from './round.js';
import { Tally } from './tally.js';

const SEED = 1;

let arena: Arena | undefined;

afterAll(async () => {
  await arena?.destroy();
});

it.each([
  'primary-isolated',
  'primary-and-replica-apart',
  'primary-and-frontend-isolated-together',
  'slow-links',
  'primary-killed',
  'all-agents-killed',
  'killed-in-some-order',
  'primary-and-frontend-frozen-together',
  'replica-disk-full-and-primary-killed',
])('nothing acknowledged is lost or stale, and all copies are the same afterwards: %s', async (name) => {
  arena ??= await Arena.start();
  const result = await runRound(arena, SEED, name);
  process.stderr.write(`  ${Tally.line(result)}\n`);
  if (result.problems.length > 0) {
    // It may be in any state; the other rounds are to say something of themselves.
    await arena.destroy();
    arena = undefined;
  }
  expect(result.problems).toEqual([]);
  expect(result.writes).toBeGreaterThan(100);
  expect(result.reads).toBeGreaterThan(100);
});
