import { CommanderError } from 'commander';
import { ApiError } from '../client/errors.js';
import { CliError, EXIT, type ExitCode, exitCodeOf } from './errors.js';
import { rewriteGoFlags } from './go-flags.js';
import type { Runtime } from './kit.js';
import { createProgram } from './program.js';

/** Runs one command; `args` without the program's name. Prints errors; resolves to the exit code. */
export async function run(args: readonly string[], runtime: Runtime): Promise<ExitCode> {
  try {
    const program = createProgram(runtime);
    await program.parseAsync(rewriteGoFlags(args, program), { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    // Commander has printed its own errors already; help and version are no errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.invalidInput;
    if (error instanceof CliError) {
      runtime.streams.err(`Error: ${error.message}\n`);
      return error.exitCode;
    }
    if (error instanceof ApiError) {
      runtime.streams.err(`Error: ${error.reason}\n`);
      return exitCodeOf(error);
    }
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    runtime.streams.err(`Error: ${message}\n`);
    return EXIT.other;
  }
}
