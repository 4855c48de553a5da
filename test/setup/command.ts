/** The project's commands as a user starts them: processes of their own, from the compiled modules. */

import { type ChildProcess, spawn } from 'node:child_process';
import { compiled } from '../../cluster/package-root.js';
import { waitFor } from '../../cluster/wait.js';

const MAX_OUTPUT_CHARACTERS = 1 << 20;

export interface CommandOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** What comes before the command line. */
  readonly launcher?: readonly string[];
  readonly uid?: number;
}

export class RunningCommand {
  readonly #child: ChildProcess;
  readonly exited: Promise<number | null>;
  output = '';

  constructor(module: string, args: readonly string[], options: CommandOptions = {}) {
    const line = [...(options.launcher ?? []), process.execPath, compiled(module), ...args];
    this.#child = spawn(line[0]!, line.slice(1), {
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.uid !== undefined && { uid: options.uid, gid: options.uid }),
    });
    const keep = (chunk: Buffer): void => {
      this.output = (this.output + chunk.toString('utf8')).slice(-MAX_OUTPUT_CHARACTERS);
    };
    this.#child.stdout?.on('data', keep);
    this.#child.stderr?.on('data', keep);
    this.exited = new Promise((resolve) => {
      this.#child.once('close', resolve);
      this.#child.once('error', (error) => {
        keep(Buffer.from(error.message));
        resolve(null);
      });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Rejects with all that it said if it ends before. */
  async untilSays(text: string, timeoutMs: number): Promise<void> {
    let ended = false;
    void this.exited.then(() => {
      ended = true;
    });
    await waitFor(
      `"${text}"`,
      () => {
        if (this.output.includes(text)) return true;
        if (ended) return false;
        return undefined;
      },
      { timeoutMs },
    ).catch((error: Error) => {
      throw new Error(`${error.message}; it said:\n${this.output}`);
    });
    if (!this.output.includes(text)) throw new Error(`it ended before it said "${text}":\n${this.output}`);
  }
}

/** Runs a command to its end. */
export async function runCommandLine(
  module: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<{ readonly code: number | null; readonly output: string }> {
  const command = new RunningCommand(module, args, options);
  const code = await command.exited;
  return { code, output: command.output };
}
