import { spawn } from 'node:child_process';

/** Output of a command that is kept, bytes; more is read and dropped. */
const MAX_OUTPUT_BYTES = 64 << 10;

/** System tools are there even if the agent was started with a user's PATH. */
export const TOOL_PATH = [process.env.PATH, '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin']
  .filter((part) => part !== undefined && part !== '')
  .join(':');

export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; injected, so that sequences of commands can be tested. */
export type Run = (
  command: string,
  args: readonly string[],
  options: { readonly timeoutMs: number },
) => Promise<CommandResult>;

/** `missing`: no such program. `failed`: it ended with `exitCode`, or by a signal. `timeout`: it was killed. */
export type CommandProblem = 'missing' | 'failed' | 'timeout';

export class CommandError extends Error {
  readonly command: string;
  readonly problem: CommandProblem;
  readonly exitCode: number | undefined;
  readonly stderr: string;
  constructor(command: string, problem: CommandProblem, detail: string, exitCode?: number, stderr = '') {
    super(`${command}: ${detail}${stderr === '' ? '' : `: ${stderr.trim()}`}`);
    this.name = 'CommandError';
    this.command = command;
    this.problem = problem;
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

/** Runs a program without a shell, in the C locale. Errors: CommandError. */
export const run: Run = (command, args, { timeoutMs }) =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: '/',
      env: { PATH: TOOL_PATH, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const kept = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8');
      child[name].on('data', (text: string) => {
        if (kept[name].length < MAX_OUTPUT_BYTES) kept[name] += text.slice(0, MAX_OUTPUT_BYTES - kept[name].length);
      });
    }
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
      // A process that the kernel holds in I/O dies later; nobody waits for it.
      child.unref();
      reject(new CommandError(command, 'timeout', `no end within ${timeoutMs} ms`, undefined, kept.stderr));
    }, timeoutMs);
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      const problem = error.code === 'ENOENT' ? 'missing' : 'failed';
      reject(new CommandError(command, problem, problem === 'missing' ? 'not installed' : error.message));
    });
    child.on('close', (exitCode, signal) => {
      clearTimeout(timer);
      if (timedOut) return;
      if (exitCode === 0) resolve(kept);
      else {
        const how = exitCode === null ? `ended by ${signal}` : `exit code ${exitCode}`;
        reject(new CommandError(command, 'failed', how, exitCode ?? undefined, kept.stderr));
      }
    });
  });
