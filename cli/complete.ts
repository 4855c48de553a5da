/** Candidates for the word that is being typed. */

import type { Command, Option } from 'commander';
import type { Client } from './client.js';
import type { Kit } from './kit.js';
import { type Completable, FLAG_VALUES, notesOf } from './notes.js';

/** A key press does not wait longer for the API. */
const TIMEOUT = '2s';
const MAX_CANDIDATES = 1000;

type Names = (client: Client) => Promise<readonly string[]>;

const NAMES: Readonly<Record<Exclude<Completable, object | 'file'>, Names>> = {
  volume: async (client) => (await client.volumes((await client.namespace()).id)).map(({ name }) => name),
  node: async (client) => (await client.nodes()).map(({ name }) => name),
  namespace: async (client) => (await client.namespaces()).map(({ name }) => name),
  user: async (client) => (await client.users()).map(({ username }) => username),
  'policy-group': async (client) => (await client.policyGroups()).map(({ name }) => name),
};

/** `words`: those behind the program's name, the last one as far as it is typed. Never fails: then there is nothing. */
export async function completions(kit: Kit, words: readonly string[]): Promise<readonly string[]> {
  const typed = words.at(-1) ?? '';
  const { command, args, flag } = parse(kit.program, words.slice(0, -1));
  const all = await candidates(kit, command, { args, flag, typed });
  return all.filter((candidate) => candidate.startsWith(typed)).slice(0, MAX_CANDIDATES);
}

interface Position {
  /** Arguments before this word. */
  readonly args: readonly string[];
  /** The flag whose value this word is. */
  readonly flag: Option | undefined;
  readonly typed: string;
}

async function candidates(kit: Kit, command: Command, { args, flag, typed }: Position): Promise<readonly string[]> {
  if (flag !== undefined) return named(kit, FLAG_VALUES[flag.long ?? '']);
  if (typed.startsWith('-')) return flagNames(command);
  const commands = command.commands.filter((each) => !each.name().startsWith('_')).map((each) => each.name());
  if (commands.length > 0 && args.length === 0) return commands;
  const { completes = [] } = notesOf(command);
  const last = command.registeredArguments.at(-1);
  const more = args.length < command.registeredArguments.length || last?.variadic === true;
  const names = await named(kit, more ? completes[Math.min(args.length, completes.length - 1)] : undefined);
  return names.filter((name) => !args.includes(name));
}

async function named(kit: Kit, kind: Completable | undefined): Promise<readonly string[]> {
  if (kind === undefined || kind === 'file') return [];
  if (typeof kind === 'object') return kind.values;
  try {
    kit.program.setOptionValueWithSource('timeout', TIMEOUT, 'cli');
    const { client } = await kit.context();
    return await NAMES[kind](client);
  } catch {
    // The user is typing: this is no place for an error message.
    return [];
  }
}

/** The command's own flags, and those that every command takes. */
function optionsOf(command: Command): readonly Option[] {
  const own = command.options.filter(({ hidden }) => !hidden);
  return command.parent === null ? own : [...own, ...optionsOf(command.parent)];
}

function flagNames(command: Command): string[] {
  return [...new Set([...optionsOf(command).flatMap(({ long }) => long ?? []), '--help'])];
}

interface Parsed {
  readonly command: Command;
  readonly args: readonly string[];
  readonly flag: Option | undefined;
}

/** Which command the words name, and what of them are its arguments. */
function parse(program: Command, words: readonly string[]): Parsed {
  let command = program;
  const args: string[] = [];
  let flag: Option | undefined;
  for (const word of words) {
    if (flag !== undefined) {
      setGlobal(program, flag, word);
      flag = undefined;
      continue;
    }
    if (word.startsWith('-')) {
      const [name = '', value] = word.split('=', 2);
      const option = optionsOf(command).find((each) => each.long === name || each.short === name);
      if (option !== undefined && value !== undefined) setGlobal(program, option, value);
      else if (option?.required) flag = option;
      continue;
    }
    const next =
      args.length === 0
        ? command.commands.find((each) => each.name() === word || each.aliases().includes(word))
        : undefined;
    if (next === undefined) args.push(word);
    else command = next;
  }
  return { command, args, flag };
}

/** A namespace or endpoint on the line counts for the names that are offered. */
function setGlobal(program: Command, option: Option, value: string): void {
  if (!program.options.includes(option)) return;
  const repeated = option.parseArg === undefined ? value : [value];
  program.setOptionValueWithSource(option.attributeName(), repeated, 'cli');
}
