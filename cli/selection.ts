/** Which objects a command is about: all, those with labels, or those that are named. */

import type { ApiLabels } from '../client/types.js';
import type { Client } from './client.js';
import { CliError, EXIT } from './errors.js';
import { matchesSelectors } from './format.js';

export interface SelectionFlags {
  readonly selector?: readonly string[];
  readonly allNamespaces?: boolean;
}

/** In the order of the references where there are any. Errors: CliError. */
export function select<T extends { readonly id: string; readonly labels?: ApiLabels | null }>(
  client: Client,
  noun: string,
  all: readonly T[],
  nameOf: (item: T) => string,
  references: readonly string[],
  flags: SelectionFlags = {},
): T[] {
  const selectors = flags.selector ?? [];
  if (references.length > 0 && selectors.length > 0) {
    throw new CliError(EXIT.invalidInput, 'give either the names of targets or a selector, not both');
  }
  if (references.length > 0) return references.map((reference) => client.find(noun, reference, all, nameOf));
  return all.filter((item) => matchesSelectors(item.labels ?? {}, selectors));
}

/** One object that was named is shown as itself, everything else as a list. */
export function oneOrMany<T>(references: readonly string[], items: readonly T[]): T | readonly T[] {
  const [only] = items;
  return references.length === 1 && only !== undefined ? only : items;
}
