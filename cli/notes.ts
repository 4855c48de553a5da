/** What help and completion know of a command beyond its name and flags. */

import type { Command } from 'commander';

/** Where the names of an argument come from. */
export type Completable =
  | 'volume'
  | 'node'
  | 'namespace'
  | 'user'
  | 'policy-group'
  | 'file'
  | { readonly values: readonly string[] };

export interface Example {
  /** What it is for. */
  readonly purpose: string;
  /** Without the program's name. */
  readonly line: string;
}

export interface Notes {
  /** Paragraphs that say more than the summary. */
  readonly details?: readonly string[];
  readonly examples?: readonly Example[];
  /** For each argument in turn; the last one counts for all that follow. */
  readonly completes?: readonly Completable[];
}

const notes = new WeakMap<Command, Notes>();

export function note(command: Command, about: Notes): void {
  notes.set(command, about);
}

export function notesOf(command: Command): Notes {
  return notes.get(command) ?? {};
}

/** Values of flags that are not free text, by the flag's long name. */
export const FLAG_VALUES: Readonly<Record<string, Completable>> = {
  '--output': { values: ['text', 'wide', 'json', 'yaml'] },
  '--namespace': 'namespace',
  '--fs-type': { values: ['ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'block'] },
  '--target': 'node',
  '--config': 'file',
  '--cache-dir': 'file',
  '--from-file': 'file',
  '--output-file': 'file',
  '--log-level': { values: ['debug', 'info', 'warn', 'error'] },
  '--log-format': { values: ['default', 'json'] },
};
