/** `storageos create …` */

import { collect, type Kit, withAsync, withWait } from '../kit.js';

const access = () => import('../commands/access.js');

export const RULE_HELP =
  'namespace:resource:r, :w or :rw, where namespace and resource may be *; repeat, or divide by commas';

export function addCreateCommands(kit: Kit): void {
  const create = kit.group(kit.program, 'create', { summary: 'make objects' });
  withWait(
    withAsync(
      kit.command(
        create,
        'volume <name>',
        {
          summary: 'make a volume',
          details: [
            'The volume is thin: it takes space as it is written to. Its master copy and replicas are placed on different nodes.',
            'Volumes of Kubernetes are made by claims, not by this command.',
          ],
          examples: [
            { purpose: 'a volume that survives the loss of a node', line: 'create volume data -s 20GiB -r 1' },
            {
              purpose: 'with labels, another filesystem, uncompressed',
              line: 'create volume logs -s 5GiB -f xfs -l app=web,tier=1 --compress=false',
            },
          ],
        },
        async () => (await import('../commands/create.js')).createVolume,
      ),
    ),
    'all copies are in sync',
  )
    .option('-s, --size <size>', 'like 5GiB; at least 1GiB', '5GiB')
    .option('-r, --replicas <number>', 'copies beside the master, 0 to 5', '0')
    .option('-f, --fs-type <type>', 'ext2, ext3, ext4, xfs, btrfs or block', 'ext4')
    .option('-d, --description <text>', 'for people', '')
    .option('-l, --labels <labels>', 'key=value,…')
    .option('--cache', 'cache reads', true)
    .option('--no-cache')
    .option('--compress', 'compress data', true)
    .option('--no-compress')
    .option('--throttle', 'give way to other volumes', false);
  kit
    .command(
      create,
      'namespace <name>',
      {
        summary: 'make a namespace',
        examples: [{ purpose: 'with a label', line: 'create namespace apps -l team=web' }],
      },
      async () => (await import('../commands/create.js')).createNamespace,
    )
    .option('-l, --labels <labels>', 'key=value,…');
  kit
    .command(
      create,
      'user',
      {
        summary: 'make a user',
        details: ['Without --with-password the password is asked for, twice.'],
        examples: [
          { purpose: 'a member of two groups', line: 'create user --with-username eva --with-groups dev,ops' },
          { purpose: 'an administrator', line: 'create user --with-username root2 --with-admin' },
        ],
      },
      async () => (await access()).createUser,
    )
    .option('--with-username <name>', 'name')
    .option('--with-password <text>', 'password, at least 8 characters')
    .option('--with-admin', 'with the rights of an administrator')
    .option('--no-with-admin')
    .option('--with-groups <names>', 'policy groups, divided by commas', collect);
  kit
    .command(
      create,
      'policy-group <name>',
      {
        summary: 'make a policy group',
        details: ['Its members may do what one of its rules allows. Resources are volume, policy, *, and others.'],
        examples: [
          {
            purpose: 'reading and writing volumes of one namespace',
            line: 'create policy-group dev -r apps:volume:rw',
          },
          { purpose: 'reading everything', line: "create policy-group auditors -r '*:*:r'" },
        ],
      },
      async () => (await access()).createPolicyGroup,
    )
    .option('-r, --rules <rule>', RULE_HELP, collect);
}
