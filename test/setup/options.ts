/** Command lines of long runs. What is mistyped is refused: a run of no seeds would look like one that found nothing. */

import { parseArgs } from 'node:util';

export interface CommandShape {
  /** The command and its options, then what they mean; without a newline at the end. */
  readonly usage: string;
  /** Options with a value. */
  readonly words?: readonly string[];
  /** Options without one. */
  readonly flags?: readonly string[];
  /** Whether words that are no options may be given; they are in `names` then. */
  readonly names?: boolean;
}

/** The command line cannot be what was meant. */
export class UsageError extends Error {}

export class CommandLine {
  readonly names: readonly string[];
  readonly #words: Readonly<Record<string, string | boolean | undefined>>;

  /** Error: UsageError, for what the shape does not have. */
  constructor({ words = [], flags = [], names = false }: CommandShape, args = process.argv.slice(2)) {
    const option = (type: 'string' | 'boolean') => (name: string) => [name, { type }] as const;
    const options = Object.fromEntries([...words.map(option('string')), ...flags.map(option('boolean'))]);
    try {
      const { values, positionals } = parseArgs({ args, options, allowPositionals: names });
      this.#words = values as Record<string, string | boolean | undefined>;
      this.names = positionals;
    } catch (error) {
      throw new UsageError((error as Error).message, { cause: error });
    }
  }

  /** What was said, to be typed again, but for `--json`: where a run is recorded makes it no other run. */
  get again(): string {
    const quoted = (text: string): string => (/^[\w./,=-]+$/.test(text) ? text : JSON.stringify(text));
    const options = Object.entries(this.#words).flatMap(([name, value]) => {
      if (name === 'json') return [];
      return typeof value === 'string' ? [`--${name}`, quoted(value)] : [`--${name}`];
    });
    return [...this.names.map(quoted), ...options].join(' ');
  }

  has(flag: string): boolean {
    return this.#words[flag] === true;
  }

  word(name: string): string | undefined {
    const word = this.#words[name];
    return typeof word === 'string' ? word : undefined;
  }

  /** A whole number from `least` on; `fallback` if it is not given. Error: UsageError. */
  count<T>(name: string, fallback: T, least = 0): number | T {
    const text = this.word(name);
    if (text === undefined) return fallback;
    const number = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(number) || number < least) {
      throw new UsageError(`--${name} ${text}: not a whole number from ${least} on`);
    }
    return number;
  }

  /** A number above 0, such as of minutes; `fallback` if it is not given. Error: UsageError. */
  amount<T>(name: string, fallback: T): number | T {
    const text = this.word(name);
    if (text === undefined) return fallback;
    const number = Number(text);
    if (!/^\d+(\.\d+)?$/.test(text) || !(number > 0)) throw new UsageError(`--${name} ${text}: not a number above 0`);
    return number;
  }
}

/**
 * Runs a command to its exit code. `--help` prints its usage instead, and ends with 0; what is mistyped is told
 * together with the usage, and ends with 2.
 */
export async function runCommand(shape: CommandShape, run: (line: CommandLine) => Promise<number>): Promise<void> {
  const withHelp = { ...shape, flags: [...(shape.flags ?? []), 'help'] };
  try {
    const line = new CommandLine(withHelp);
    if (line.has('help')) process.stdout.write(`${shape.usage}\n`);
    else process.exitCode = await run(line);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n${shape.usage}\n`);
    process.exitCode = 2;
  }
}
