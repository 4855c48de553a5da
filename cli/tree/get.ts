/** `storageos get …` */

import { type Kit, withAllNamespaces, withSelector } from '../kit.js';

const actions = () => import('../commands/get.js');

export function addGetCommands(kit: Kit): void {
  const get = kit.group(kit.program, 'get', {
    summary: 'show objects in tables',
    details: [
      'Without names all objects are shown. With -o wide the tables have more columns; -o json and -o yaml give one object for one name, and a list otherwise.',
    ],
  });
  withSelector(
    withAllNamespaces(
      kit.command(
        get,
        'volumes [names...]',
        {
          aliases: ['volume'],
          summary: 'show volumes',
          details: [
            'LOCATION is the node of the master copy and its health, REPLICAS the number of copies in sync and of those that are wanted.',
          ],
          examples: [
            { purpose: 'all volumes of the cluster', line: 'get volumes -A' },
            { purpose: 'those of one application, with more columns', line: 'get volumes -n apps -l app=web -o wide' },
            { purpose: 'the id of one volume', line: 'get volume data -o json | jq -r .id' },
          ],
          completes: ['volume'],
        },
        async () => (await actions()).getVolumes,
      ),
    ),
  );
  withSelector(
    kit.command(
      get,
      'nodes [names...]',
      {
        aliases: ['node'],
        summary: 'show nodes',
        examples: [
          { purpose: 'all nodes', line: 'get nodes' },
          { purpose: 'with addresses and capacity', line: 'get nodes -o wide' },
        ],
        completes: ['node'],
      },
      async () => (await actions()).getNodes,
    ),
  );
  withSelector(
    kit.command(
      get,
      'namespaces [names...]',
      {
        aliases: ['namespace'],
        summary: 'show namespaces',
        examples: [{ purpose: 'all namespaces', line: 'get namespaces' }],
        completes: ['namespace'],
      },
      async () => (await actions()).getNamespaces,
    ),
  );
  kit.command(
    get,
    'users [names...]',
    {
      aliases: ['user'],
      summary: 'show users',
      examples: [{ purpose: 'all users', line: 'get users' }],
      completes: ['user'],
    },
    async () => (await import('../commands/access.js')).getUsers,
  );
  kit.command(
    get,
    'policy-groups [names...]',
    {
      aliases: ['policy-group'],
      summary: 'show policy groups',
      examples: [{ purpose: 'all policy groups', line: 'get policy-groups' }],
      completes: ['policy-group'],
    },
    async () => (await import('../commands/access.js')).getPolicyGroups,
  );
  kit.command(
    get,
    'cluster',
    {
      summary: 'show the cluster',
      examples: [{ purpose: 'how many nodes are well', line: 'get cluster' }],
    },
    async () => (await actions()).getCluster,
  );
  kit.command(
    get,
    'licence',
    {
      aliases: ['license'],
      summary: 'show the licence and how much of it is used',
      examples: [{ purpose: 'what is left', line: 'get licence' }],
    },
    async () => (await import('../commands/licence.js')).getLicence,
  );
  kit
    .command(
      get,
      'diagnostics',
      {
        summary: 'save a bundle of diagnostics',
        details: [
          'The bundle holds logs, configuration, state and facts of the kernel of every node, and no secrets. It takes its time: the time limit is at least one hour.',
          'If a node does not answer, what the others gave is saved all the same, and the command says so and ends with 1.',
        ],
        examples: [
          { purpose: 'of all nodes, named by the cluster', line: 'get diagnostics' },
          { purpose: 'of one node, into a file', line: 'get diagnostics --target node2 --output-file node2.tar.gz' },
        ],
      },
      async () => (await import('../commands/diagnostics.js')).getDiagnostics,
    )
    .option('--output-file <file>', 'where to save it (named by the API, in this directory)')
    .option('--target <node>', 'only of this node');
}
