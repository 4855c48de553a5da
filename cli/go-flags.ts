/** Boolean flags in the way of Go's programs: `--flag`, `--flag=true` and `--flag=false` are all understood. */

import type { Command } from 'commander';
import { CliError, EXIT } from './errors.js';
import { KUBERNETES_FLAG } from './kit.js';

const PREFIX = '--';
const NEGATION = '--no-';

function longFlags(command: Command): string[] {
  const own = command.options
    .filter((option) => !option.required && !option.optional)
    .flatMap(({ long }) => (long === undefined ? [] : [long]));
  return [...own, ...command.commands.flatMap(longFlags)];
}

/** The arguments with `--flag=true` and `--flag=false` rewritten. Errors: CliError for another value. */
export function rewriteGoFlags(args: readonly string[], program: Command): string[] {
  const flags = new Set(longFlags(program));
  const end = args.indexOf(PREFIX);
  return args.flatMap((arg, i) => {
    const match = end >= 0 && i >= end ? null : /^(--[a-z-]+)=(.*)$/.exec(arg);
    const [, flag = '', value = ''] = match ?? [];
    // Its presence is what counts.
    if (flag === `${PREFIX}${KUBERNETES_FLAG}`) return [flag];
    if (!flags.has(flag)) return [arg];
    if (/^(1|t|T|TRUE|true|True)$/.test(value)) return [flag];
    if (/^(0|f|F|FALSE|false|False)$/.test(value)) {
      const opposite = `${NEGATION}${flag.slice(PREFIX.length)}`;
      return flags.has(opposite) ? [opposite] : [];
    }
    throw new CliError(EXIT.invalidInput, `${flag}: "${value}" is not a boolean`);
  });
}
