/** `storageos recover` */

import type { Kit } from '../kit.js';

export function addRecoverCommand(kit: Kit): void {
  kit
    .command(
      kit.program,
      'recover [volumes...]',
      {
        summary: 'bring volumes back from their copies, when etcd was restored or replaced',
        details: [
          'Without volumes: shows those of all namespaces that need it, why, and what would be lost, and changes nothing. Volumes of which etcd has lost the record are among them, as nodes remember them; where none does, by id.',
          'A volume is recovered only if every copy that it may have had answers and the best one is clean and complete. Else the command says what is lost, or may be; --accept-data-loss goes on all the same, without copies that do not answer: these are erased when they come back. If none that answers was in sync at last, all copies but the best one are erased and made anew.',
          'Volumes of which etcd has lost the record come back only when all nodes run this version: workers of an older one do not know how.',
        ],
        examples: [
          { purpose: 'what is wrong', line: 'recover' },
          { purpose: 'one volume', line: 'recover data' },
          { purpose: 'one that etcd has no record of, whose name is taken', line: 'recover data --name data-2' },
          { purpose: 'one that nobody remembers', line: 'recover VOLUME-ID --name data --namespace shop' },
          { purpose: 'although a node with a copy is gone for good', line: 'recover data --accept-data-loss' },
        ],
        completes: ['volume'],
      },
      async () => (await import('../commands/recover.js')).recover,
    )
    .option('--dry-run', 'show what would be done')
    .option('--accept-data-loss', 'go on although acknowledged writes are lost, or may be')
    .option(
      '--name <name>',
      'for one that etcd has no record of: its name from now on, in the namespace of --namespace',
    )
    .option('--fs-type <type>', 'for one that nobody remembers: its file system, or "block"');
}
