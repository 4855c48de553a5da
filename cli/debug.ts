/**
 * `storageos debug`: looks at the data directory of this machine's node, off line. It speaks to no API, so the
 * commands take none of its settings but the form of the output.
 */

import type { Command } from 'commander';
import { note } from './notes.js';
import type { Streams } from './output.js';
import type { Settings } from './settings.js';

export interface DebugSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly streams: Streams;
  readonly settings: () => Promise<Settings>;
}

const DEFAULT_ROOT_DIR = '/var/lib/storageos';

export function addDebugCommands(program: Command, around: DebugSurroundings): void {
  const debug = program.command('debug').description('look at the data directory of a node whose agent is stopped');
  const add = (name: 'store' | 'verify', description: string) => {
    const command = debug
      .command(`${name} [ids...]`)
      .description(description)
      .option('--root-dir <directory>', `the agent's ROOT_DIR (ROOT_DIR, or ${DEFAULT_ROOT_DIR})`)
      .action(async (ids: string[], { rootDir }: { rootDir?: string }) => {
        const { inspectStores } = await import('./commands/debug.js');
        const { env, streams, settings } = around;
        const directory = rootDir ?? (env.ROOT_DIR || DEFAULT_ROOT_DIR);
        await inspectStores(name, { rootDir: directory, ids, streams, format: (await settings()).output });
      });
    note(command, {
      details: ['Refused while the agent runs. Ends with 1 if anything is wrong.'],
      examples: [{ purpose: 'all copies on this machine', line: `debug ${name} --root-dir ${DEFAULT_ROOT_DIR}` }],
    });
  };
  add('store', 'print superblocks, segments and how much of them is live; volumes or deployments by their ids, or all');
  add(
    'verify',
    'read every block and every batch and print what is wrong; volumes or deployments by their ids, or all',
  );
}
