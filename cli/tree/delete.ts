/** `storageos delete …` */

import { type Kit, withAsync, withCas } from '../kit.js';

const actions = () => import('../commands/delete.js');
const access = () => import('../commands/access.js');

export function addDeleteCommands(kit: Kit): void {
  const remove = kit.group(kit.program, 'delete', { summary: 'delete objects' });
  withCas(
    withAsync(
      kit.command(
        remove,
        'volume <name>',
        {
          summary: 'delete a volume and its data',
          details: ['An attached volume is refused: detach it first.'],
          examples: [
            { purpose: 'a volume', line: 'delete volume data -n apps' },
            { purpose: 'a volume whose nodes are gone', line: 'delete volume data --offline-delete' },
          ],
          completes: ['volume'],
        },
        async () => (await actions()).deleteVolume,
      ),
    ),
  ).option('--offline-delete', 'although its nodes are away; they delete the data when they are back');
  withCas(
    kit.command(
      remove,
      'namespace <name>',
      {
        summary: 'delete an empty namespace',
        examples: [{ purpose: 'a namespace', line: 'delete namespace apps' }],
        completes: ['namespace'],
      },
      async () => (await actions()).deleteNamespace,
    ),
  );
  withCas(
    withAsync(
      kit.command(
        remove,
        'node <name>',
        {
          summary: 'forget a node that is offline and holds no master',
          examples: [{ purpose: 'a node', line: 'delete node node3' }],
          completes: ['node'],
        },
        async () => (await actions()).deleteNode,
      ),
    ),
  );
  withCas(
    kit.command(
      remove,
      'user <name>',
      {
        summary: 'delete a user',
        examples: [{ purpose: 'a user', line: 'delete user eva' }],
        completes: ['user'],
      },
      async () => (await access()).deleteUser,
    ),
  );
  withCas(
    kit.command(
      remove,
      'policy-group <name>',
      {
        summary: 'delete a policy group without members',
        examples: [{ purpose: 'a policy group', line: 'delete policy-group dev' }],
        completes: ['policy-group'],
      },
      async () => (await access()).deletePolicyGroup,
    ),
  );
}
