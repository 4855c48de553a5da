/**
 * `npm run crash -- [--kills N] [--states N] [--seed S]`: the store's crash tests for longer than CI has time for.
 * N processes that write are killed, N states of a disk that crashed are recovered; each goes on from the seed.
 */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runMain, SetupError } from './progress.mjs';
import { setup } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
/** With fewer states, what the test wants to have met – cleaning, full disks – does not come up. */
const MIN_STATES = 10_000;
const DEFAULTS = { kills: '200', states: '200000', seed: '1' };

function count(name, text) {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0) throw new SetupError(`--${name} ${text}: not a whole number`);
  return number;
}

/** Resolves to whether the test passed. */
function runTest(file, env) {
  const vitest = spawn(process.execPath, [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', file], {
    cwd: root,
    stdio: 'inherit',
    // However long it takes.
    env: { ...process.env, ...env, CRASH_TEST_TIMEOUT_MS: '0' },
  });
  return new Promise((resolve, reject) => {
    vitest.once('error', reject);
    vitest.once('exit', (code) => resolve(code === 0));
  });
}

await runMain(async () => {
  const options = Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, { type: 'string' }]));
  const { values } = parseArgs({ options });
  const [kills, states, seed] = Object.keys(DEFAULTS).map((name) => count(name, values[name] ?? DEFAULTS[name]));
  if (states > 0 && states < MIN_STATES) throw new SetupError(`--states ${states}: at least ${MIN_STATES}, or 0`);
  await setup();
  let passed = true;
  if (kills > 0) passed = await runTest('test/crash/kill-9.test.ts', { KILL_ROUNDS: String(kills) });
  if (states > 0) {
    const env = { CRASH_STATES: String(states), CRASH_SEED: String(seed) };
    passed = (await runTest('test/crash/crash-points.test.ts', env)) && passed;
  }
  process.exitCode = passed ? 0 : 1;
});
