/** A PostgreSQL server on a mounted volume, with its own checks; Debian's packages, run as the user `postgres`. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ClusterError } from '../errors.js';

const BASE = '/usr/lib/postgresql';
const USER = 'postgres';
const COMMAND_TIMEOUT_MS = 10 * 60_000;
const MAX_OUTPUT_BYTES = 16 << 20;

const SETTINGS = [
  "listen_addresses=''",
  'shared_buffers=64MB',
  'max_wal_size=192MB',
  'checkpoint_timeout=30s',
  'fsync=on',
  'synchronous_commit=on',
];

export interface Run {
  readonly stdout: string;
  readonly stderr: string;
}

/** The newest installed version's programs. Errors: ClusterError. */
function programs(): string {
  const versions = existsSync(BASE) ? readdirSync(BASE).filter((name) => /^\d+$/.test(name)) : [];
  const newest = versions.map(Number).sort((a, b) => b - a)[0];
  if (newest === undefined)
    throw new ClusterError('child', 'PostgreSQL is not installed (apt-get install postgresql).');
  return join(BASE, String(newest), 'bin');
}

function account(): { uid: number; gid: number } {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${USER}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) throw new ClusterError('child', `There is no user "${USER}".`);
  return { uid: Number(uid), gid: Number(gid) };
}

export class Postgres {
  readonly #bin = programs();
  readonly #account = account();
  readonly #data: string;
  readonly #socketDir: string;
  readonly #logFile: string;

  /** `mountPoint` holds the database, `scratch` its socket and logs; both must be open to other users. */
  constructor(mountPoint: string, scratch: string) {
    this.#data = join(mountPoint, 'pg');
    this.#socketDir = scratch;
    this.#logFile = join(scratch, 'postgres.log');
    for (const folder of [this.#data, scratch]) this.makeFolder(folder);
  }

  /** A folder that belongs to the database's user alone. */
  makeFolder(path: string): void {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chownSync(path, this.#account.uid, this.#account.gid);
  }

  get logFile(): string {
    return this.#logFile;
  }

  #environment(): NodeJS.ProcessEnv {
    return { PATH: `${this.#bin}:${process.env.PATH}`, PGHOST: this.#socketDir, PGUSER: USER, LC_ALL: 'C.UTF-8' };
  }

  /** Errors: ClusterError('child') with the program's own words. */
  run(program: string, args: readonly string[]): Promise<Run> {
    return new Promise((resolve, reject) => {
      execFile(
        join(this.#bin, program),
        args,
        {
          ...this.#account,
          cwd: this.#socketDir,
          env: this.#environment(),
          timeout: COMMAND_TIMEOUT_MS,
          maxBuffer: MAX_OUTPUT_BYTES,
        },
        (error, stdout, stderr) => {
          if (error === null) resolve({ stdout, stderr });
          else reject(new ClusterError('child', `${program}: ${stderr || error.message}`, { cause: error }));
        },
      );
    });
  }

  spawn(program: string, args: readonly string[], cwd: string): ChildProcess {
    return spawn(join(this.#bin, program), args, {
      ...this.#account,
      cwd,
      env: this.#environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  async initialise(): Promise<void> {
    await this.run('initdb', ['--pgdata', this.#data, '--data-checksums', '--auth', 'trust', '--encoding', 'UTF8']);
  }

  async start(): Promise<void> {
    const options = [...SETTINGS, `unix_socket_directories=${this.#socketDir}`].map((setting) => `-c ${setting}`);
    await this.run('pg_ctl', [
      ...['--pgdata', this.#data, '--log', this.#logFile, '--timeout', '120', '--wait'],
      ...['--options', options.join(' '), 'start'],
    ]);
  }

  async stop(): Promise<void> {
    await this.run('pg_ctl', ['--pgdata', this.#data, '--mode', 'fast', '--timeout', '120', '--wait', 'stop']);
  }

  /** One value. */
  async query(sql: string): Promise<string> {
    const { stdout } = await this.run('psql', ['--no-psqlrc', '-At', '-v', 'ON_ERROR_STOP=1', '-d', USER, '-c', sql]);
    return stdout.trim();
  }

  /** Every table and index, against each other: `amcheck`. Errors: ClusterError with what it found. */
  async checkStructure(): Promise<void> {
    await this.run('pg_amcheck', ['--install-missing', '--heapallindexed', '--parent-check', '--all']);
  }

  /** Checksum of every page; the server must be stopped. Resolves to the number of pages. */
  async checkPages(): Promise<number> {
    const { stdout } = await this.run('pg_checksums', ['--check', '--pgdata', this.#data]);
    const [, pages, bad] = /Blocks scanned:\s+(\d+)[\s\S]*Bad checksums:\s+(\d+)/.exec(stdout) ?? [];
    if (pages === undefined || bad !== '0') throw new ClusterError('child', `pg_checksums: ${stdout}`);
    return Number(pages);
  }
}
