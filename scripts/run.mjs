/**
 * `node scripts/run.mjs [--with GROUP,…] <module below dist> [arguments]`: sets up, installs the distribution's
 * packages of the groups if it can, then runs the module in this very process, so that signals reach it without a
 * shell between. What can't be installed is said; the module knows how to do without, or why it can't.
 */

import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ensurePackages } from './packages.mjs';
import { runMain } from './progress.mjs';
import { setup } from './setup.mjs';

const words = process.argv.slice(2);
const groups = words[0] === '--with' ? words.splice(0, 2)[1].split(',') : [];
const [module, ...args] = words;
const path = join(fileURLToPath(new URL('..', import.meta.url)), 'dist', module ?? '');

await runMain(async () => {
  await setup();
  // Who only wants to know how needs nothing of it.
  const missing = args.includes('--help') ? undefined : await ensurePackages(groups);
  if (missing !== undefined) process.stderr.write(`${missing}\n`);
  process.argv = [process.argv[0], path, ...args];
  await import(pathToFileURL(path).href);
});
