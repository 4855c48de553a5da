/** `npm run crash`: the store's crash tests for longer than CI has time for. */

import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runMain, SetupError } from './progress.mjs';
import { setup } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
/** With fewer states, what the test wants to have met – cleaning, full disks – does not come up. */
const MIN_STATES = 10_000;
const DEFAULTS = { kills: '200', states: '200000', damages: '20000', seed: '1' };

const USAGE = `Usage: npm run crash -- [--kills N] [--states N] [--damages N] [--seed S] [--json DIR]
Kills N processes that write (${DEFAULTS.kills}), recovers N states of a disk that crashed (${DEFAULTS.states}), and damages something in the files
of a store N times (${DEFAULTS.damages}), each from the seed on (${DEFAULTS.seed}); 0 leaves that out. What was run is appended to files in the
directory (docs/reliability).
`;

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
  const names = [...Object.keys(DEFAULTS), 'json'];
  const words = Object.fromEntries(names.map((name) => [name, { type: 'string' }]));
  const { values } = parseArgs({ options: { ...words, help: { type: 'boolean' } } });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const [kills, states, damages, seed] = Object.keys(DEFAULTS).map((name) =>
    count(name, values[name] ?? DEFAULTS[name]),
  );
  if (states > 0 && states < MIN_STATES) throw new SetupError(`--states ${states}: at least ${MIN_STATES}, or 0`);
  await setup();
  const common = { CRASH_SEED: String(seed), ...(values.json && { CRASH_JSON: resolve(values.json) }) };
  let passed = true;
  const run = async (file, env) => {
    passed = (await runTest(file, { ...common, ...env })) && passed;
  };
  if (kills > 0) await run('test/crash/kill-9.test.ts', { KILL_ROUNDS: String(kills) });
  if (damages > 0) await run('test/crash/corruption.test.ts', { CRASH_DAMAGES: String(damages) });
  if (states > 0) await run('test/crash/crash-points.test.ts', { CRASH_STATES: String(states) });
  process.exitCode = passed ? 0 : 1;
});
