/** Command lines of long runs. What is mistyped is refused: a run of no seeds would look like one that found nothing. */

import { parseArgs } from 'node:util';

export class CommandLine {
  readonly #words: Readonly<Record<string, string | boolean | undefined>>;

  /** `words`: options with a value, `flags`: those without. Error: TypeError, for anything else. */
  constructor(words: readonly string[], flags: readonly string[] = [], args = process.argv.slice(2)) {
    const option = (type: 'string' | 'boolean') => (name: string) => [name, { type }] as const;
    const options = Object.fromEntries([...words.map(option('string')), ...flags.map(option('boolean'))]);
    this.#words = parseArgs({ args, options }).values as Record<string, string | boolean | undefined>;
  }

  has(flag: string): boolean {
    return this.#words[flag] === true;
  }

  word(name: string): string | undefined {
    const word = this.#words[name];
    return typeof word === 'string' ? word : undefined;
  }

  /** A whole number from `least` on; `fallback` if it is not given. Error: RangeError. */
  count<T>(name: string, fallback: T, least = 0): number | T {
    const text = this.word(name);
    if (text === undefined) return fallback;
    const number = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(number) || number < least) {
      throw new RangeError(`--${name} ${text}: not a whole number from ${least} on`);
    }
    return number;
  }
}
