/** What operators do with copies and nodes, and what the cluster does by itself. */

import { type Kit, withCas } from '../kit.js';

export function addOperatorCommands(kit: Kit): void {
  const { program } = kit;
  const copies = () => import('../commands/copies.js');
  const nodes = () => import('../commands/update-settings.js');
  withCas(
    kit.command(
      program,
      'cordon <node>',
      {
        summary: 'place nothing new on a node',
        examples: [{ purpose: 'before maintenance', line: 'cordon node2' }],
        completes: ['node'],
      },
      async () => (await nodes()).cordon,
    ),
  );
  withCas(
    kit.command(
      program,
      'uncordon <node>',
      {
        summary: 'use a node again',
        examples: [{ purpose: 'after maintenance', line: 'uncordon node2' }],
        completes: ['node'],
      },
      async () => (await nodes()).uncordon,
    ),
  );
  kit.command(
    program,
    'evict <volume> <node>',
    {
      summary: "remove a volume's replica from a node",
      details: [
        'If the volume then has fewer copies than are wanted, another one is made, on the same node perhaps unless that is cordoned.',
      ],
      examples: [{ purpose: 'the copy on node2', line: 'evict data node2' }],
      completes: ['volume', 'node'],
    },
    async () => (await copies()).evict,
  );
  kit.command(
    program,
    'promote <volume> <node>',
    {
      summary: 'have a master that does not serve replaced by a replica',
      details: [
        'The volume is looked at again; of the replicas in sync the one with the longest log is promoted, which may be another one than this. A master that serves stays.',
      ],
      examples: [{ purpose: 'if the master does not come back by itself', line: 'promote data node2' }],
      completes: ['volume', 'node'],
    },
    async () => (await copies()).promote,
  );
  kit
    .command(
      program,
      'operations [volumes...]',
      {
        aliases: ['ops'],
        summary: 'show what the cluster is doing, how far it is, and what it waits for',
        details: ['Volumes of --namespace are shown; with -A all of them, and operations of nodes.'],
        examples: [
          { purpose: 'everything that runs', line: 'operations -A' },
          { purpose: 'go on showing it', line: 'operations -A --watch' },
        ],
        completes: ['volume'],
      },
      async () => (await import('../commands/operations.js')).showOperations,
    )
    .option('-A, --all-namespaces', 'of all namespaces')
    .option('--watch', 'show it anew every second until interrupted or --timeout is over');
  const apply = kit.group(program, 'apply', { summary: 'bring files into effect' });
  withCas(
    kit.command(
      apply,
      'licence',
      {
        aliases: ['license'],
        summary: 'install a licence',
        examples: [
          { purpose: 'from a file', line: 'apply licence --from-file licence.txt' },
          { purpose: 'from standard input', line: 'apply licence --from-stdin < licence.txt' },
        ],
      },
      async () => (await import('../commands/licence.js')).applyLicence,
    ),
  )
    .option('--from-file <file>', 'the licence as it was issued')
    .option('--from-stdin', 'the licence comes by standard input');
}
