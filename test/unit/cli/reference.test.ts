/** The reference of the CLI is its tree. After a change: `npx vitest run test/unit/cli/reference.test.ts --update`. */

import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { expect, it } from 'vitest';
import { createProgram } from '../../../cli/program.js';
import { helpTopic, TOPIC_NAMES } from '../../../cli/topics.js';

const REFERENCE = fileURLToPath(new URL('../../../docs/reference/cli.md', import.meta.url));

const INTRODUCTION = `# \`storageos\`

From the installation's folder: \`npm run -s storageos -- COMMAND\`. Every command has a page with examples: \`storageos COMMAND --help\`. Completion for shells: \`storageos completion bash\`, \`zsh\`, \`fish\`.`;

const UPDATES = `## While a cluster is being updated

\`recover\` brings volumes back of which etcd has lost the record only when all nodes run the new version: a worker of an older one does not know how, and the command fails on some of the nodes.`;

const program = createProgram({ env: {}, streams: { out: () => {}, err: () => {} } });

function path(command: Command): string {
  return command.parent === null ? '' : `${path(command.parent)} ${command.name()}`.trim();
}

function leaves(command: Command): Command[] {
  const visible = command.createHelp().visibleCommands(command);
  return visible.length === 0 ? [command] : visible.flatMap(leaves);
}

const cell = (text: string) => text.replaceAll('|', '\\|');

function row(command: Command): string {
  const help = command.createHelp();
  const args = command.registeredArguments.map((argument) => help.argumentTerm(argument)).join(' ');
  const own = command.options.filter(({ hidden, description }) => !hidden && description !== '');
  const flags = own.map((option) => `\`${cell(option.flags)}\``).join(', ');
  const aliases = command.aliases().map((alias) => `\`${alias}\``);
  return `| \`${path(command)}\` | ${aliases.join(', ')} | ${cell(args)} | ${flags} | ${cell(command.summary() || command.description())} |`;
}

it('docs/reference/cli.md lists every command, setting and exit code', async () => {
  const globals = program.options.map((option) => `| \`${option.flags}\` | ${option.description} |`);
  const topics = TOPIC_NAMES.map((name) => `## ${name}\n\n\`\`\`text\n${helpTopic(name)}\n\`\`\``);
  const sections = [
    INTRODUCTION,
    `## Commands\n\n| command | alias | arguments | flags | |\n|---|---|---|---|---|\n${leaves(program).map(row).join('\n')}`,
    `## Flags of every command\n\n| flag | |\n|---|---|\n${globals.join('\n')}`,
    ...topics,
    UPDATES,
  ];
  await expect(`${sections.join('\n\n')}\n`).toMatchFileSnapshot(REFERENCE);
});
