/**
 * A child process of the supervisor: its output goes to a file, its identity is recorded so that the next
 * supervisor can end it if this one dies without doing so. It has a session of its own: Ctrl-C in the terminal
 * reaches the supervisor alone, which stops its children in the right order.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { endProcess, identifyProcess, type ProcessIdentity, processIdentitySchema } from './process-identity.js';

const MAX_LOG_BYTES = 64 << 20;
const TAIL_BYTES = 2_000;
const ORPHAN_GRACE_MS = 10_000;

export interface ChildOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** Folder of the records. */
  readonly runDir: string;
  /** Opens an IPC channel, whose closing tells the child that its supervisor is gone. */
  readonly ipc?: boolean;
  /** For programs that don't look after that themselves: SIGTERM when this process ends, however it ends. */
  readonly endsWithParent?: boolean;
}

/** util-linux's setpriv asks the kernel for a signal at the parent's death (prctl PR_SET_PDEATHSIG) and becomes the program. */
const WITH_PARENT = ['setpriv', '--pdeathsig', 'TERM', '--'] as const;

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class SupervisedChild {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<ChildExit>;
  readonly #child: ChildProcess;
  readonly #logFile: string;
  /** Where its own lines begin in it. */
  readonly #logStart: number;
  #exit: ChildExit | undefined;

  private constructor(options: ChildOptions, child: ChildProcess, pid: number, logStart: number) {
    this.name = options.name;
    this.pid = pid;
    this.#child = child;
    this.#logFile = options.logFile;
    this.#logStart = logStart;
    const record = join(options.runDir, `${options.name}.json`);
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#exit = { code, signal };
        rmSync(record, { force: true });
        resolve(this.#exit);
      });
    });
  }

  /** Rejects if the program can't be started. */
  static async start(options: ChildOptions): Promise<SupervisedChild> {
    mkdirSync(dirname(options.logFile), { recursive: true });
    mkdirSync(options.runDir, { recursive: true });
    rotate(options.logFile);
    const log = openSync(options.logFile, 'a', 0o600);
    try {
      const logStart = fstatSync(log).size;
      const line = [...(options.endsWithParent === true ? WITH_PARENT : []), options.command, ...options.args];
      const child = spawn(line[0]!, line.slice(1), {
        env: options.env,
        stdio: options.ipc === true ? ['ignore', log, log, 'ipc'] : ['ignore', log, log],
        detached: true,
      });
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
      const pid = child.pid!;
      const started = new SupervisedChild(options, child, pid, logStart);
      const identity = identifyProcess(pid);
      if (identity !== undefined) {
        writeFileSync(join(options.runDir, `${options.name}.json`), JSON.stringify(identity), { mode: 0o600 });
      }
      return started;
    } finally {
      closeSync(log);
    }
  }

  get exit(): ChildExit | undefined {
    return this.#exit;
  }

  /** SIGTERM, SIGKILL after the grace; resolves when it has ended. */
  async stop(graceMs: number): Promise<ChildExit> {
    if (this.#exit !== undefined) return this.#exit;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), graceMs);
    const exit = await this.exited;
    clearTimeout(timer);
    return exit;
  }

  async kill(): Promise<ChildExit> {
    if (this.#exit === undefined) this.#child.kill('SIGKILL');
    return await this.exited;
  }

  /** The last lines of its output, for an error message. */
  logTail(): string {
    const log = openSync(this.#logFile, 'r');
    try {
      const size = fstatSync(log).size;
      // Somebody else may have cut it.
      const start = Math.min(this.#logStart, size);
      const buffer = Buffer.alloc(Math.min(size - start, TAIL_BYTES));
      readSync(log, buffer, 0, buffer.length, size - buffer.length);
      return buffer.toString('utf8');
    } finally {
      closeSync(log);
    }
  }
}

function rotate(logFile: string): void {
  if (existsSync(logFile) && statSync(logFile).size > MAX_LOG_BYTES) renameSync(logFile, `${logFile}.1`);
}

/** Ends children that an earlier supervisor left behind. Resolves to their names. */
export async function endOrphans(runDir: string): Promise<string[]> {
  const records = existsSync(runDir) ? readdirSync(runDir).filter((name) => name.endsWith('.json')) : [];
  const ended = await Promise.all(
    records.map(async (record): Promise<string | undefined> => {
      const path = join(runDir, record);
      let identity: ProcessIdentity | undefined;
      try {
        identity = processIdentitySchema.parse(JSON.parse(readFileSync(path, 'utf8')));
      } catch {
        // A record torn by a crash names nobody.
      }
      const running = identity !== undefined && identifyProcess(identity.pid)?.startTime === identity.startTime;
      if (identity !== undefined && !(await endProcess(identity, ORPHAN_GRACE_MS))) {
        throw new Error(`process ${identity.pid} (${record}) of an earlier run can't be ended`);
      }
      rmSync(path, { force: true });
      return running ? record.replace(/\.json$/, '') : undefined;
    }),
  );
  return ended.filter((name) => name !== undefined);
}
