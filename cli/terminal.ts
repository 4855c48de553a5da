/** The terminal of the process, if it has one. */

import { ReadStream } from 'node:tty';
import { CliError, EXIT } from './errors.js';
import type { Runtime } from './kit.js';

const ENTER = /[\r\n]/;
const INTERRUPT = '\u0003';
const END = '\u0004';
const BACKSPACE = /^[\u007f\b]$/;
const MAX_SECRET_CHARS = 1024;

function coloursWanted(env: NodeJS.ProcessEnv): boolean {
  const { NO_COLOR, TERM } = env;
  return process.stdout.isTTY === true && (NO_COLOR === undefined || NO_COLOR === '') && TERM !== 'dumb';
}

/** Reads a line without showing it. Errors: CliError when the user interrupts. */
async function askSecretly(prompt: string): Promise<string> {
  const input = new ReadStream(0);
  process.stderr.write(prompt);
  input.setRawMode(true);
  input.setEncoding('utf8');
  try {
    let typed = '';
    for await (const chunk of input) {
      for (const character of String(chunk)) {
        if (ENTER.test(character)) return typed;
        if (character === INTERRUPT || character === END || typed.length >= MAX_SECRET_CHARS) {
          throw new CliError(EXIT.invalidInput, 'no password was given');
        }
        typed = BACKSPACE.test(character) ? typed.slice(0, -1) : typed + character;
      }
    }
    return typed;
  } finally {
    input.setRawMode(false);
    input.destroy();
    process.stderr.write('\n');
  }
}

export function processRuntime(): Runtime {
  return {
    env: process.env,
    streams: {
      out: (text) => process.stdout.write(text),
      err: (text) => process.stderr.write(text),
      colours: coloursWanted(process.env),
      interactive: process.stderr.isTTY === true,
    },
    ...(process.stdin.isTTY === true && { askSecretly }),
  };
}
