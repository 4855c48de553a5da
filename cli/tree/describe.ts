/** `storageos describe …` */

import { type Kit, withAllNamespaces, withSelector } from '../kit.js';

const actions = () => import('../commands/get.js');
const access = () => import('../commands/access.js');

export function addDescribeCommands(kit: Kit): void {
  const describe = kit.group(kit.program, 'describe', { summary: 'show objects in detail' });
  withSelector(
    withAllNamespaces(
      kit.command(
        describe,
        'volumes [names...]',
        {
          aliases: ['volume'],
          summary: 'volumes with their copies, the progress of syncs and scrubs, and damaged blocks',
          examples: [
            { purpose: 'one volume', line: 'describe volume data' },
            { purpose: 'all volumes of an application', line: 'describe volumes -A -l app=web' },
          ],
          completes: ['volume'],
        },
        async () => (await actions()).describeVolumes,
      ),
    ),
  );
  withSelector(
    kit.command(
      describe,
      'nodes [names...]',
      {
        aliases: ['node'],
        summary: 'nodes with their addresses, capacity and copies of volumes',
        examples: [{ purpose: 'what is on a node', line: 'describe node node2' }],
        completes: ['node'],
      },
      async () => (await actions()).describeNodes,
    ),
  );
  kit.command(
    describe,
    'namespaces [names...]',
    {
      aliases: ['namespace'],
      summary: 'namespaces with their labels',
      examples: [{ purpose: 'one namespace', line: 'describe namespace apps' }],
      completes: ['namespace'],
    },
    async () => (await actions()).describeNamespaces,
  );
  kit.command(
    describe,
    'users [names...]',
    {
      aliases: ['user'],
      summary: 'users with their policy groups',
      examples: [{ purpose: 'one user', line: 'describe user eva' }],
      completes: ['user'],
    },
    async () => (await access()).describeUsers,
  );
  kit.command(
    describe,
    'policy-groups [names...]',
    {
      aliases: ['policy-group'],
      summary: 'policy groups with their rules and members',
      examples: [{ purpose: 'what a group may do', line: 'describe policy-group developers' }],
      completes: ['policy-group'],
    },
    async () => (await access()).describePolicyGroups,
  );
  kit.command(
    describe,
    'cluster',
    {
      summary: 'the cluster, its settings and its nodes',
      examples: [{ purpose: 'settings and nodes', line: 'describe cluster' }],
    },
    async () => (await actions()).describeClusterCommand,
  );
  kit.command(
    describe,
    'licence',
    {
      aliases: ['license'],
      summary: 'the licence',
      examples: [{ purpose: 'the licence', line: 'describe licence' }],
    },
    async () => (await import('../commands/licence.js')).getLicence,
  );
}
