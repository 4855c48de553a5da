/** Boolean flags in the way of Go's programs: `--flag`, `--flag=true` and `--flag=false` are all understood. */

import { CliError, EXIT } from './errors.js';
import { KUBERNETES_FLAG } from './program.js';

/** Flags that are on unless they are turned off by `--no-…`. */
const ON_BY_DEFAULT: ReadonlySet<string> = new Set(['cache', 'compress']);
const FLAGS: ReadonlySet<string> = new Set([
  ...ON_BY_DEFAULT,
  'all-namespaces',
  'async',
  'delete',
  'no-auth-cache',
  'offline-delete',
  'throttle',
  'upsert',
  'use-ids',
  'with-admin',
]);

/** The arguments with `--flag=true` and `--flag=false` rewritten. Errors: CliError for another value. */
export function rewriteGoFlags(args: readonly string[]): string[] {
  const end = args.indexOf('--');
  return args.flatMap((arg, i) => {
    const match = end >= 0 && i >= end ? null : /^--([a-z-]+)=(.*)$/.exec(arg);
    const [, name = '', value = ''] = match ?? [];
    // Its presence is what counts.
    if (name === KUBERNETES_FLAG) return [`--${name}`];
    if (!FLAGS.has(name)) return [arg];
    if (/^(1|t|T|TRUE|true|True)$/.test(value)) return [`--${name}`];
    if (/^(0|f|F|FALSE|false|False)$/.test(value)) return ON_BY_DEFAULT.has(name) ? [`--no-${name}`] : [];
    throw new CliError(EXIT.invalidInput, `--${name}: "${value}" is not a boolean`);
  });
}
