/** Prints what a command has found, in the form that the user asked for. */

import type { OutputFormat } from './settings.js';

/** Where a command prints; a test gives its own. */
export interface Streams {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether what is printed may have colours: on terminals, unless NO_COLOR is set. */
  readonly colours?: boolean;
  /** Whether `err` is a terminal, on which a line may be written over. */
  readonly interactive?: boolean;
}

/** What a command shows: text for people, or data whose keys are StorageOS's for programs. */
export interface Output {
  readonly text: () => string;
  /** With `-o wide`; by default the text. */
  readonly wide?: () => string;
  readonly json: unknown;
  /** Where the keys of YAML differ from those of JSON. */
  readonly yaml?: unknown;
}

export async function print(streams: Streams, format: OutputFormat, output: Output): Promise<void> {
  if (format === 'json') {
    streams.out(`${JSON.stringify(output.json, undefined, '\t')}\n`);
    return;
  }
  if (format === 'yaml') {
    const { stringify } = await import('yaml');
    streams.out(stringify(output.yaml ?? output.json));
    return;
  }
  const text = format === 'wide' && output.wide !== undefined ? output.wide() : output.text();
  streams.out(text === '' ? '' : `${text}\n`);
}
