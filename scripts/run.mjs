/**
 * `node scripts/run.mjs <module below dist> [arguments]`: sets up, then runs the module in this very process, so
 * that signals reach it without a shell between.
 */

import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { runMain } from './progress.mjs';
import { setup } from './setup.mjs';

const [module, ...args] = process.argv.slice(2);
const path = join(fileURLToPath(new URL('..', import.meta.url)), 'dist', module ?? '');

await runMain(async () => {
  await setup();
  process.argv = [process.argv[0], path, ...args];
  await import(pathToFileURL(path).href);
});
