/** How set-up scripts show what they do: one line a step, with its time. Plain Node: runs before anything is installed. */

import { spawn } from 'node:child_process';

const MAX_TAIL_BYTES = 16 * 1024;

/** An error whose message is all that the user needs: printed without a stack. */
export class SetupError extends Error {}

/**
 * Runs one step: its name is printed when it begins, its time when it ends; on a terminal both on one line.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(name, work) {
  const started = performance.now();
  const live = process.stderr.isTTY === true;
  process.stderr.write(`  … ${name}${live ? '' : '\n'}`);
  const finish = (mark) => {
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stderr.write(`${live ? '\r\x1b[K' : ''}  ${mark} ${name} (${seconds} s)\n`);
  };
  try {
    const result = await work();
    finish('✓');
    return result;
  } catch (error) {
    finish('✗');
    throw error;
  }
}

/**
 * Runs a program to its end and keeps the last of its output for the error message.
 * Rejects with SetupError if it can't be started or ends with another code than 0.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, timeoutMs?: number }} [options]
 * @returns {Promise<string>} the last 16 KiB of standard output and standard error
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs,
    });
    let tail = '';
    const keep = (chunk) => {
      tail = (tail + chunk.toString('utf8')).slice(-MAX_TAIL_BYTES);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => reject(new SetupError(`${command}: ${error.message}`, { cause: error })));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(tail);
      else {
        const how = signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
        reject(new SetupError(`${[command, ...args].join(' ')} ${how}\n${tail.trimEnd()}`));
      }
    });
  });
}

/**
 * Runs a script's main function; a SetupError is printed as its message alone, any error ends with code 1.
 * @param {() => Promise<void>} main
 */
export async function runMain(main) {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`${error instanceof SetupError ? error.message : (error?.stack ?? String(error))}\n`);
    process.exitCode = 1;
  }
}
