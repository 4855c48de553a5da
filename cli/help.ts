/** Help in the form of manual pages. */

import type { Command, Help } from 'commander';
import { notesOf } from './notes.js';

const INDENT = '    ';
const WIDTH = 100;

/** Lines of at most WIDTH characters, divided between words. */
function wrap(text: string, indent: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].map((each) => `${indent}${each}`).join('\n');
}

function section(title: string, body: string): string[] {
  return body === '' ? [] : [`${title}\n${body}`];
}

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

function commandList(command: Command, help: Help): string {
  const commands = help.visibleCommands(command);
  const width = Math.max(0, ...commands.map((each) => each.name().length)) + 2;
  return commands.map((each) => `${INDENT}${each.name().padEnd(width)}${help.subcommandDescription(each)}`).join('\n');
}

function optionList(command: Command, help: Help): string {
  const options = help.visibleOptions(command).filter(({ description }) => description !== '');
  return options
    .map((option) => `${INDENT}${option.flags}\n${wrap(help.optionDescription(option), INDENT.repeat(2))}`)
    .join('\n');
}

/** The page of a command; commander asks for it. */
export function manualPage(command: Command, help: Help): string {
  const { details = [], examples = [] } = notesOf(command);
  const name = fullName(command);
  const args = command.registeredArguments.map((argument) => help.argumentTerm(argument));
  const usage = command
    .usage()
    .replace(/\[options\]\s?/, '')
    .replace(/\s?\[command\]/, '');
  const takes = command.commands.length > 0 && args.length === 0 ? 'COMMAND' : usage;
  const sections = [
    ...section('NAME', wrap(`${name} - ${command.description()}`, INDENT)),
    ...section('SYNOPSIS', `${INDENT}${[name, takes, '[options]'].filter((part) => part !== '').join(' ')}`),
    ...section('ALIASES', command.aliases().length === 0 ? '' : `${INDENT}${command.aliases().join(', ')}`),
    ...section('DESCRIPTION', details.map((paragraph) => wrap(paragraph, INDENT)).join('\n\n')),
    ...section('COMMANDS', commandList(command, help)),
    ...section(command.parent === null ? 'GLOBAL OPTIONS' : 'OPTIONS', optionList(command, help)),
    ...section(
      'EXAMPLES',
      examples.map(({ purpose, line }) => `${INDENT}# ${purpose}\n${INDENT}storageos ${line}`).join('\n\n'),
    ),
    ...section(
      'SEE ALSO',
      command.parent === null
        ? `${INDENT}storageos help config-file, env, exitcodes`
        : `${INDENT}storageos --help for the options that every command takes`,
    ),
  ];
  return `${sections.join('\n\n')}\n`;
}
