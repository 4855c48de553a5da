/** The tree of commands. What a command does is loaded when it is called, so that the CLI starts fast. */

import { Command } from 'commander';
import { addCompletionCommands } from './completion.js';
import { addDebugCommands } from './debug.js';
import { CliError, EXIT } from './errors.js';
import { manualPage } from './help.js';
import { collect, Kit, type Runtime } from './kit.js';
import { note } from './notes.js';
import { addAttachmentCommands } from './tree/attachment.js';
import { addCreateCommands } from './tree/create.js';
import { addDeleteCommands } from './tree/delete.js';
import { addDescribeCommands } from './tree/describe.js';
import { addGetCommands } from './tree/get.js';
import { addOperatorCommands } from './tree/operate.js';
import { addRecoverCommand } from './tree/recover.js';
import { addUpdateCommands } from './tree/update.js';
import { VERSION } from './version.js';

export function createProgram(runtime: Runtime): Command {
  const program = new Command('storageos')
    .description('manages a cluster: its volumes, nodes, namespaces and users')
    .option('--endpoints <url>', 'API endpoints, tried in this order; repeat, or divide by commas', collect)
    .option('--username <name>', 'user')
    .option('--password <text>', 'password; better in STORAGEOS_PASSWORD, or printed by STORAGEOS_PASSWORD_COMMAND')
    .option('-n, --namespace <name>', 'namespace of volumes')
    .option('-o, --output <format>', 'text, wide, json or yaml')
    .option('--timeout <duration>', 'of the whole command, like 15s')
    .option('--use-ids', 'arguments and --namespace are ids, not names')
    .option('--no-auth-cache', 'log in for every command')
    .option('--cache-dir <directory>', 'where sessions are kept')
    .option('-c, --config <file>', 'configuration file')
    .version(VERSION, '--version', 'print the version')
    .helpOption('-h, --help', 'print this page')
    .configureOutput({ writeOut: runtime.streams.out, writeErr: runtime.streams.err })
    .configureHelp({ formatHelp: manualPage })
    .showHelpAfterError('Run with --help for what can be given.')
    .helpCommand(false)
    .exitOverride();
  note(program, {
    details: [
      'Objects are meant by name, or by id with --use-ids. Settings come from flags, else from environment variables, else from a configuration file.',
    ],
    examples: [
      { purpose: 'where the cluster is, and who asks', line: 'get nodes --endpoints node1:5705 --username eva' },
      { purpose: 'a replicated volume', line: 'create volume data -s 20GiB -r 1' },
    ],
  });
  const kit = new Kit(program, runtime);
  addGetCommands(kit);
  addDescribeCommands(kit);
  addCreateCommands(kit);
  addUpdateCommands(kit);
  addDeleteCommands(kit);
  addAttachmentCommands(kit);
  addOperatorCommands(kit);
  addRecoverCommand(kit);
  addDebugCommands(program, { ...runtime, settings: () => kit.settings() });
  addCompletionCommands(kit);
  addHelp(kit);
  withoutHelpCommands(program);
  return program;
}

/** `storageos help get volumes` is the one way beside `--help`. */
function withoutHelpCommands(command: Command): void {
  command.helpCommand(false);
  for (const each of command.commands) withoutHelpCommands(each);
}

function addHelp({ program, runtime: { streams } }: Kit): void {
  program
    .command('version')
    .description('print the version')
    .action(() => streams.out(`${VERSION}\n`));
  program
    .command('help [topic...]')
    .description('print the page of a command, or about config-file, env or exitcodes')
    .action(async (words: string[]) => {
      const { helpTopic } = await import('./topics.js');
      const topic = words.length === 1 ? helpTopic(words[0] ?? '') : undefined;
      streams.out(topic === undefined ? findCommand(program, words).helpInformation() : `${topic}\n`);
    });
}

/** Errors: CliError. */
function findCommand(program: Command, words: readonly string[]): Command {
  let command = program;
  for (const word of words) {
    const next = command.commands.find((each) => each.name() === word || each.aliases().includes(word));
    if (next === undefined) throw new CliError(EXIT.invalidInput, `there is no help about "${words.join(' ')}"`);
    command = next;
  }
  return command;
}
