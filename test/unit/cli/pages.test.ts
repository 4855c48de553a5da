/** Help, and completion, of every command: both are made from the same tree. */

import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COMPLETE_COMMAND } from '../../../cli/completion.js';
import { EXIT } from '../../../cli/errors.js';
import { rewriteGoFlags } from '../../../cli/go-flags.js';
import { notesOf } from '../../../cli/notes.js';
import { createProgram } from '../../../cli/program.js';
import { SETTINGS_TABLE } from '../../../cli/settings.js';
import { TOPIC_NAMES } from '../../../cli/topics.js';
import { TestEtcd } from '../../setup/etcd.js';
import { CliHarness } from './harness.js';

/** What needs no examples: they are one word, or say all in their name. */
const WITHOUT_EXAMPLES = new Set(['version', 'help', 'bash', 'zsh', 'fish', COMPLETE_COMMAND]);

const program = createProgram({ env: {}, streams: { out: () => {}, err: () => {} } });

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

function path(command: Command): string {
  return command.parent === null ? '' : `${path(command.parent)} ${command.name()}`.trim();
}

/** Words of a line for a shell, quotes removed; redirections and pipes end it. */
function words(line: string): string[] {
  const [command = ''] = line.split(/ [|<>] /);
  return [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
}

/** The command that the line runs, and the flags on it that nobody knows. */
function resolve(line: string): { command: Command; unknown: string[] } {
  let command = program;
  const unknown: string[] = [];
  for (const word of rewriteGoFlags(words(line), program)) {
    if (word.startsWith('-')) {
      const known = [...command.options, ...program.options].some(({ long, short }) => [long, short].includes(word));
      if (!known) unknown.push(word);
      continue;
    }
    command = command.commands.find((each) => [each.name(), ...each.aliases()].includes(word)) ?? command;
  }
  return { command, unknown };
}

describe('every command', () => {
  const commands = leaves(program).filter((command) => !WITHOUT_EXAMPLES.has(command.name()));

  it.each(commands.map((command) => [path(command), command] as const))(
    '%s has a page with examples',
    (name, command) => {
      const page = command.helpInformation();
      expect(page).toMatch(new RegExp(`^NAME\n    storageos ${name} - \\S.*\n`));
      expect(page).toContain(`SYNOPSIS\n    storageos ${name}`);
      const { examples = [] } = notesOf(command);
      expect(examples.length).toBeGreaterThan(0);
      for (const { line } of examples) {
        expect(page).toContain(`    storageos ${line}\n`);
        expect(resolve(line)).toEqual({ command, unknown: [] });
      }
      for (const line of page.split('\n'))
        if (!line.includes('storageos ')) expect(line.length).toBeLessThanOrEqual(100);
    },
  );
});

describe('topics', () => {
  const help = async (...args: string[]) => {
    let out = '';
    const streams = { out: (text: string) => (out += text), err: () => {} };
    await createProgram({ env: {}, streams }).parseAsync(['help', ...args], { from: 'user' });
    return out;
  };

  it('name every setting, exit code and topic', async () => {
    const [env, file, codes] = await Promise.all([help('env'), help('config-file'), help('exitcodes')]);
    for (const { variable, key, flag } of SETTINGS_TABLE) {
      expect(env).toContain(variable);
      if (flag !== undefined) expect(program.options.map(({ long }) => long)).toContain(flag);
      if (key !== undefined) expect(file).toContain(`\n${key} `);
    }
    for (const code of Object.values(EXIT)) expect(codes).toMatch(new RegExp(`^ *${code}  \\S`, 'm'));
    for (const topic of TOPIC_NAMES) expect(program.helpInformation()).toContain(topic);
  });

  it('help prints pages of commands', async () => {
    expect(await help('get', 'volume')).toMatch(/^NAME\n {4}storageos get volumes - /);
    expect(await help()).toMatch(/^NAME\n {4}storageos - /);
  });
});

describe('completion', () => {
  let etcd: TestEtcd;
  let harness: CliHarness;

  beforeAll(async () => {
    etcd = await TestEtcd.start();
    harness = await CliHarness.start(etcd);
    await harness.cli('create', 'volume', 'orders');
    await harness.cli('create', 'volume', 'other');
    await harness.cli('create', 'namespace', 'apps');
    await harness.cli('create', 'volume', 'web', '-n', 'apps');
  });

  afterAll(async () => {
    await harness?.close();
    await etcd?.destroy();
  });

  it.each([
    [['desc'], ['describe']],
    [['get', 'v'], ['volumes']],
    [
      ['get', 'volume', ''],
      ['orders', 'other'],
    ],
    [['get', 'volumes', 'orders', 'o'], ['other']],
    [['get', 'volumes', '-n', 'apps', ''], ['web']],
    [['--namespace=apps', 'describe', 'volume', 'w'], ['web']],
    [
      ['get', 'volumes', '-n', ''],
      ['default', 'apps'],
    ],
    [
      ['attach', 'orders', 'node-'],
      ['node-1', 'node-2', 'node-3'],
    ],
    [['attach', 'orders', 'node-1', ''], []],
    [
      ['get', 'nodes', '-o', ''],
      ['text', 'wide', 'json', 'yaml'],
    ],
    [['get', 'nodes', '--sel'], ['--selector']],
    [['update', 'volume', 'failure-mode', 'orders', 'a'], ['alwayson']],
    [['delete', 'user', ''], ['storageos']],
    [
      ['create', 'volume', 'x', '-f', 'ext'],
      ['ext2', 'ext3', 'ext4'],
    ],
    [['nonsense', ''], []],
  ])('of %j', async (typed, expected) => {
    const { code, out } = await harness.cli(COMPLETE_COMMAND, '--', ...typed);
    expect(code).toBe(0);
    const found = out.split('\n').filter((line) => line !== '');
    expect(found.sort()).toEqual([...expected].sort());
  });

  it('offers nothing, and says nothing, while no API answers', async () => {
    const answer = await harness.with({}, COMPLETE_COMMAND, '--', '--endpoints', '127.0.0.1:9', 'get', 'volume', '');
    expect(answer).toEqual({ code: 0, out: '', err: '' });
  });

  it.each(['bash', 'zsh', 'fish'])('comes as a script for %s', async (shell) => {
    const { code, out } = await harness.cli('completion', shell);
    expect(code).toBe(0);
    expect(out).toContain(`storageos ${COMPLETE_COMMAND} -- `);
  });
});
