/** `storageos completion` and what its scripts call to complete a line. */

import type { Kit } from './kit.js';

export const COMPLETE_COMMAND = '__complete';

export function addCompletionCommands(kit: Kit): void {
  const { program, runtime } = kit;
  const completion = kit.group(program, 'completion', {
    summary: 'print a script that completes commands in a shell',
    details: [
      'Commands, flags and names of objects are completed; names come from the API, with the settings of the environment and the configuration file.',
    ],
    examples: [
      { purpose: 'in this bash', line: 'completion bash | source /dev/stdin' },
      {
        purpose: 'in every zsh that has this directory in its fpath',
        line: 'completion zsh > ~/.zsh/completions/_storageos',
      },
      { purpose: 'in every fish', line: 'completion fish > ~/.config/fish/completions/storageos.fish' },
    ],
  });
  for (const shell of ['bash', 'zsh', 'fish'] as const) {
    completion
      .command(shell)
      .summary(`for ${shell}`)
      .description(`prints the script for ${shell}`)
      .action(async () => {
        const { completionScript } = await import('./completion-scripts.js');
        runtime.streams.out(completionScript(shell));
      });
  }
  program
    .command(`${COMPLETE_COMMAND} [words...]`, { hidden: true })
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words: string[]) => {
      const { completions } = await import('./complete.js');
      const found = await completions(kit, words);
      runtime.streams.out(found.map((candidate) => `${candidate}\n`).join(''));
    });
}
