/**
 * The versions of Node that the tests run on beside the one that runs this: from the package registry, pinned with
 * their checksums in test/node-versions, kept in the cache, so that only the first run needs the network. Plain Node
 * without dependencies.
 */

import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { run, runMain, SetupError, step } from './progress.mjs';

const MANIFESTS = fileURLToPath(new URL('../test/node-versions', import.meta.url));
const FILES = ['package.json', 'package-lock.json'];
const TRIES = 3;
const INSTALL_TIMEOUT_MS = 5 * 60_000;

function cacheRoot() {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'storageos');
}

/** Where a version is kept: named by its lock file, so that another version is another place. */
function placeOf(major) {
  const lock = readFileSync(join(MANIFESTS, major, 'package-lock.json'));
  const hash = createHash('sha256').update(lock).digest('hex').slice(0, 12);
  return join(cacheRoot(), `node-${major}-${hash}`);
}

function programIn(place) {
  return join(place, 'node_modules', `node-${process.arch}`, 'bin', 'node');
}

/**
 * The major versions that are not this process's own, and where their programs are, or will be after
 * `ensureNodeVersions`.
 * @returns {{ major: string, program: string, installed: boolean }[]}
 */
export function otherNodeVersions() {
  const own = process.versions.node.split('.')[0];
  return readdirSync(MANIFESTS)
    .filter((major) => major !== own)
    .map((major) => {
      const program = programIn(placeOf(major));
      return { major, program, installed: existsSync(program) };
    });
}

/** Obtains those that are missing. Errors: SetupError, also where there are no packages for this machine. */
export async function ensureNodeVersions() {
  for (const { major, program, installed } of otherNodeVersions()) {
    if (installed) continue;
    await step(`Node ${major}, to test on`, () => install(major));
    if (!existsSync(program)) throw new SetupError(`there is no package with Node ${major} for ${process.arch}`);
  }
}

async function install(major) {
  const place = placeOf(major);
  mkdirSync(cacheRoot(), { recursive: true });
  const making = mkdtempSync(join(cacheRoot(), 'making-'));
  try {
    for (const file of FILES) copyFileSync(join(MANIFESTS, major, file), join(making, file));
    for (let attempt = 1; ; attempt++) {
      try {
        await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
          cwd: making,
          timeoutMs: INSTALL_TIMEOUT_MS,
        });
        break;
      } catch (error) {
        if (attempt === TRIES) throw error;
        await sleep(2000 * attempt);
      }
    }
    rmSync(place, { recursive: true, force: true });
    renameSync(making, place);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await runMain(ensureNodeVersions);
