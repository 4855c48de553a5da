/** `npm test`: set-up, the programs that the tests use, then every test. Arguments go to vitest. */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureNodeVersions } from './node-versions.mjs';
import { ensurePackages } from './packages.mjs';
import { runMain, SetupError } from './progress.mjs';
import { setup } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

await runMain(async () => {
  await setup();
  const missing = await ensurePackages(['device', 'postgres', 'test']);
  if (missing !== undefined) throw new SetupError(missing);
  const { ensureBinaries } = await import('../dist/cluster/binaries.js');
  const { step } = await import('./progress.mjs');
  await ensureBinaries({ names: ['etcd', 'temporal'], step });
  await ensureNodeVersions();
  const vitest = spawn(
    process.execPath,
    [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...process.argv.slice(2)],
    { cwd: root, stdio: 'inherit' },
  );
  process.exitCode = await new Promise((resolve, reject) => {
    vitest.on('error', reject);
    vitest.on('exit', (code) => resolve(code ?? 1));
  });
});
