/**
 * Programs of the distribution that parts of this project use. Root on Debian or Ubuntu: installed; anybody else
 * is told the line to type. Plain Node without dependencies.
 */

import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { run, runMain, SetupError, step } from './progress.mjs';

const TRIES = 3;
const DPKG_LOCK_TIMEOUT_S = 600;

function onPath(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Debian keeps PostgreSQL's server programs out of PATH. */
function postgresHas(program) {
  const base = '/usr/lib/postgresql';
  return (
    onPath(program) || (existsSync(base) && readdirSync(base).some((v) => existsSync(join(base, v, 'bin', program))))
  );
}

function postgresExtension(name) {
  const base = '/usr/share/postgresql';
  return existsSync(base) && readdirSync(base).some((v) => existsSync(join(base, v, 'extension', `${name}.control`)));
}

/** Debian's own Python, in whatever version. */
function pythonHas(module) {
  const base = '/usr/lib';
  const versions = readdirSync(base).filter((name) => /^python3\.\d+$/.test(name));
  return versions.some((version) => existsSync(join(base, version, module)));
}

/** What each use needs: the package, and how to see that it is there. */
const GROUPS = {
  /** A block device and a filesystem on it. */
  device: [
    { package: 'libnbd-bin', there: () => onPath('nbdfuse') },
    { package: 'fuse3', there: () => onPath('fusermount3') },
    { package: 'e2fsprogs', there: () => onPath('mkfs.ext4') },
  ],
  /** The tour's database. */
  postgres: [
    { package: 'postgresql', there: () => postgresHas('initdb') && postgresHas('pgbench') },
    { package: 'postgresql-contrib', there: () => postgresExtension('amcheck') },
  ],
  /** Real clients, and the means to cut networks. */
  test: [
    { package: 'nbdkit', there: () => onPath('nbdkit') },
    { package: 'python3-libnbd', there: () => onPath('nbdsh') },
    { package: 'fio', there: () => onPath('fio') },
    { package: 'qemu-utils', there: () => onPath('qemu-io') },
    { package: 'iproute2', there: () => onPath('ip') },
    { package: 'nftables', there: () => onPath('nft') },
    { package: 'lz4', there: () => onPath('lz4') },
    { package: 'xfsprogs', there: () => onPath('mkfs.xfs') },
    { package: 'prometheus', there: () => onPath('prometheus') && onPath('promtool') },
    { package: 'python3-venv', there: () => pythonHas('ensurepip') },
  ],
  /** The model checker of the protocol's specification, and what fetches it. */
  model: [
    { package: 'default-jre-headless', there: () => onPath('java') },
    { package: 'python3-pip', there: () => onPath('pip3') || onPath('pip') },
  ],
};

async function aptGet(args) {
  await run('apt-get', ['-y', '-q', '-o', `DPkg::Lock::Timeout=${DPKG_LOCK_TIMEOUT_S}`, ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

/** Installs from the present lists first, and reads new ones only if that fails. Errors: SetupError. */
export async function aptInstall(packages) {
  await step(`packages: ${packages.join(' ')}`, async () => {
    for (let attempt = 1; ; attempt++) {
      try {
        await aptGet(['install', '--no-install-recommends', ...packages]);
        return;
      } catch (error) {
        if (attempt === TRIES) throw error;
        await sleep(1000 * attempt);
        await aptGet(['update']).catch(() => undefined);
      }
    }
  });
}

export function canInstall() {
  return process.getuid?.() === 0 && onPath('apt-get');
}

/**
 * Makes sure of the groups' programs.
 * @param {readonly (keyof typeof GROUPS)[]} groups
 * @returns {Promise<string | undefined>} what is still missing and the line that installs it; undefined: all is there
 */
export async function ensurePackages(groups) {
  const wanted = groups.flatMap((group) => GROUPS[group]);
  const missing = () => wanted.filter(({ there }) => !there()).map((entry) => entry.package);
  const before = missing();
  if (before.length === 0) return undefined;
  const line = `apt-get install ${before.join(' ')}`;
  if (!canInstall()) return `Some programs are missing; install them with\n\n    sudo ${line}\n`;
  try {
    await aptInstall(before);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    return `Some programs could not be installed:\n${error.message}\nTry\n\n    ${line}\n`;
  }
  const after = missing();
  return after.length === 0 ? undefined : `Still missing after their installation: ${after.join(' ')}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await runMain(async () => {
    const groups = process.argv.slice(2);
    const unknown = groups.filter((group) => !(group in GROUPS));
    if (unknown.length > 0)
      throw new SetupError(`unknown: ${unknown.join(' ')}; there are ${Object.keys(GROUPS).join(' ')}`);
    const problem = await ensurePackages(groups.length === 0 ? Object.keys(GROUPS) : groups);
    if (problem !== undefined) throw new SetupError(problem);
  });
}
