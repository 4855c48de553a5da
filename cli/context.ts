/** What every command's action works with. */

import type { Client } from './client.js';
import type { View } from './format.js';
import { type Output, print, type Streams } from './output.js';

export interface Context extends View {
  readonly client: Client;
  readonly streams: Streams;
  /** See Runtime. */
  readonly askSecretly?: (prompt: string) => Promise<string>;
}

/** Prints in the form of `--output`. */
export function show({ client, streams }: Context, output: Output): Promise<void> {
  return print(streams, client.settings.output, output);
}

/** One line for people; an object for programs. */
export function confirm(context: Context, line: string, json: unknown): Promise<void> {
  return show(context, { text: () => line, json });
}

export const ACCEPTED = 'The request was accepted and is carried out in the background.';

/** `--cas` and its absence as query parameters of a DELETE. */
export function versionQuery(cas: string | undefined): Record<string, string> {
  return { version: cas ?? '', 'ignore-version': cas === undefined ? 'true' : 'false' };
}

/** `--cas` and its absence in a PUT whose body says all that is to be: without it, whatever is there is replaced. */
export function versionOf(cas: string | undefined): {
  readonly query: Readonly<Record<string, string>>;
  readonly version: { readonly version?: string };
} {
  return {
    query: { 'ignore-version': cas === undefined ? 'true' : 'false' },
    version: cas === undefined ? {} : { version: cas },
  };
}

/** `--async`: the API goes on for as long as the command would have waited. */
export function asyncQuery({ client }: Context, async: boolean | undefined): Record<string, string> {
  return async === true ? { 'async-max': `${Math.ceil(client.settings.timeoutMs)}ms` } : {};
}
