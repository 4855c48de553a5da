/**
 * From a clone to something that runs: dependencies, TypeScript, the WebAssembly module, the workflow bundle.
 * Each step is left out if its inputs are what they were at the last success, so that a second run takes a
 * moment and needs no network. Plain Node without dependencies.
 */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { run, runMain, SetupError, step } from './progress.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const STAMPS = join(root, 'build', '.stamps');
const LOCK = join(root, 'build', '.setup-lock');
const LOCK_WAIT_MS = 15 * 60_000;
const INSTALL_TRIES = 3;

/** What is built, in order: `inputs` are files and folders, `output` a file that must be there afterwards. */
const BUILDS = [
  {
    name: 'WebAssembly kernels',
    stamp: 'asm',
    inputs: ['asm', 'asconfig.json', 'scripts/build-asm.mjs'],
    output: 'build/codec.wasm',
    build: () => run(process.execPath, ['scripts/build-asm.mjs'], { cwd: root }),
  },
  {
    name: 'TypeScript',
    stamp: 'typescript',
    inputs: [
      ...['core', 'node-agent', 'workflows', 'activities', 'client', 'cli', 'cluster', 'bench', 'test'],
      ...['tsconfig.json', 'vitest.config.ts'],
    ],
    output: 'dist/cluster/start.js',
    build: compile,
  },
  {
    name: 'workflow bundle',
    stamp: 'workflows',
    inputs: ['workflows', 'core', 'scripts/build-workflows.mjs', 'tsconfig.json'],
    output: 'build/workflows.cjs',
    build: () => run(process.execPath, ['scripts/build-workflows.mjs'], { cwd: root }),
  },
];

async function compile() {
  // Output of sources that are gone must not live on, and an incremental build writes nothing that it thinks is there.
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  rmSync(join(root, 'node_modules', '.cache', 'tsbuildinfo'), { force: true });
  await run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'], { cwd: root });
}

function checkNode() {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fits = engines.node.split('||').some((range) => {
    const [wantMajor = 0, wantMinor = 0] = range.trim().replace('^', '').split('.').map(Number);
    return major === wantMajor && minor >= wantMinor;
  });
  if (!fits) throw new SetupError(`Node ${process.versions.node} is not supported; install one of ${engines.node}.`);
}

/** Whether node_modules holds what package-lock.json says; npm keeps its own record of what it installed. */
function dependenciesInstalled() {
  const recordPath = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(recordPath)) return false;
  let installed;
  try {
    installed = JSON.parse(readFileSync(recordPath, 'utf8')).packages ?? {};
  } catch {
    return false;
  }
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    const there = installed[path];
    // Packages for other systems are left out by npm.
    if (there === undefined) return entry.optional === true || entry.devOptional === true || entry.peer === true;
    return there.version === entry.version && there.integrity === entry.integrity;
  });
}

async function installDependencies() {
  for (let attempt = 1; ; attempt++) {
    try {
      await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: root });
      return;
    } catch (error) {
      if (attempt === INSTALL_TRIES) throw error;
      await sleep(2000 * attempt);
    }
  }
}

function hashInto(hash, path) {
  const absolute = join(root, path);
  if (!existsSync(absolute)) return;
  if (statSync(absolute).isDirectory()) {
    for (const name of readdirSync(absolute).sort()) hashInto(hash, join(path, name));
    return;
  }
  hash.update(`${path}\0`);
  hash.update(readFileSync(absolute));
  hash.update('\0');
}

function inputHash(inputs) {
  const hash = createHash('sha256');
  for (const input of ['package-lock.json', ...inputs]) hashInto(hash, input);
  return hash.digest('hex');
}

/** Two set-ups in one tree would remove each other's output. */
async function withLock(work) {
  mkdirSync(join(root, 'build'), { recursive: true });
  const deadline = Date.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = Number(readFileSync(LOCK, { encoding: 'utf8', flag: 'a+' }));
    if (!(holder > 0) || !existsSync(`/proc/${holder}`)) rmSync(LOCK, { force: true });
    else if (Date.now() > deadline) throw new SetupError(`another set-up (process ${holder}) has not ended`);
    else await sleep(250);
  }
  try {
    return await work();
  } finally {
    rmSync(LOCK, { force: true });
  }
}

/** Brings the tree into a state in which `dist/` and `build/` can be used. Errors: SetupError. */
export async function setup() {
  checkNode();
  await withLock(async () => {
    if (!dependenciesInstalled()) await step('dependencies: npm ci', installDependencies);
    mkdirSync(STAMPS, { recursive: true });
    for (const { name, stamp, inputs, output, build } of BUILDS) {
      const stampFile = join(STAMPS, stamp);
      const wanted = inputHash(inputs);
      const current = existsSync(stampFile) ? readFileSync(stampFile, 'utf8') : '';
      if (current === wanted && existsSync(join(root, output))) continue;
      rmSync(stampFile, { force: true });
      await step(`build: ${name}`, build);
      if (!existsSync(join(root, output))) throw new SetupError(`building ${name} did not make ${output}`);
      writeFileSync(stampFile, wanted);
    }
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await runMain(setup);
