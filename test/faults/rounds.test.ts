/** A round of each kind that has no test of its own, on one cluster; `npm run faults` goes on with all of them. */

import { afterAll, beforeAll, expect, it } from 'vitest';
import { Arena } from './arena.js';
import { runRound } from './round.js';
import { Tally } from './tally.js';

const SEED = 1;

let arena: Arena | undefined;

beforeAll(async () => {
  arena = await Arena.start();
});

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
  const result = await runRound(arena!, SEED, name);
  process.stderr.write(`  ${Tally.line(result)}\n`);
  expect(result.problems).toEqual([]);
  expect(result.writes).toBeGreaterThan(100);
  expect(result.reads).toBeGreaterThan(100);
});
