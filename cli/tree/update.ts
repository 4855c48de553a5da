/** `storageos update …` */

import type { Command } from 'commander';
import { collect, type Kit, understood, withAsync, withCas, withWait } from '../kit.js';
import { RULE_HELP } from './create.js';

const volumes = () => import('../commands/update.js');
const settings = () => import('../commands/update-settings.js');

const FAILURE_MODES = ['hard', 'soft', 'alwayson', '0', '1', '2', '3', '4', '5'];

export function addUpdateCommands(kit: Kit): void {
  const update = kit.group(kit.program, 'update', { summary: 'change objects' });
  addVolumeUpdates(kit, kit.group(update, 'volume', { summary: 'change a volume' }));

  withLabelFlags(
    withCas(
      kit.command(
        kit.group(update, 'namespace', { summary: 'change a namespace' }),
        'labels <namespace> [labels...]',
        {
          summary: 'its labels',
          examples: [{ purpose: 'add one', line: 'update namespace labels apps team=web --upsert' }],
          completes: ['namespace'],
        },
        async () => (await settings()).updateNamespaceLabels,
      ),
    ),
  );
  const node = kit.group(update, 'node', { summary: 'change a node' });
  withLabelFlags(
    withCas(
      kit.command(
        node,
        'labels <node> [labels...]',
        {
          summary: 'its labels',
          examples: [{ purpose: 'add one', line: 'update node labels node1 rack=a --upsert' }],
          completes: ['node'],
        },
        async () => (await settings()).updateNodeLabels,
      ),
    ),
  );
  withCas(
    kit.command(
      node,
      'compute-only <node> <true|false>',
      {
        summary: 'whether it only mounts volumes and holds no copies',
        examples: [{ purpose: 'no copies on a node', line: 'update node compute-only node3 true' }],
        completes: ['node', { values: ['true', 'false'] }],
      },
      async () => (await settings()).updateNodeComputeOnly,
    ),
  );
  withCas(
    kit.command(
      update,
      'user <name>',
      {
        summary: 'change a user',
        details: ['What is not given stays. The own account: its password only.'],
        examples: [
          { purpose: 'other groups', line: 'update user eva --with-groups dev,ops' },
          { purpose: 'take the rights of an administrator away', line: 'update user eva --with-admin=false' },
          { purpose: 'a new password, asked for', line: 'update user eva --ask-password' },
        ],
        completes: ['user'],
      },
      async () => (await settings()).updateUser,
    ),
  )
    .option('--with-password <text>', 'new password, at least 8 characters')
    .option('--ask-password', 'ask for the new password')
    .option('--with-admin', 'with the rights of an administrator')
    .option('--no-with-admin')
    .option('--with-groups <names>', 'policy groups, divided by commas; "" for none', collect);
  withCas(
    kit.command(
      update,
      'policy-group <name>',
      {
        summary: 'replace the rules of a policy group',
        examples: [{ purpose: 'two rules', line: 'update policy-group dev -r apps:volume:rw -r test:*:r' }],
        completes: ['policy-group'],
      },
      async () => (await settings()).updatePolicyGroup,
    ),
  ).requiredOption('-r, --rules <rule>', RULE_HELP, collect);
  withCas(
    kit.command(
      update,
      'cluster',
      {
        summary: 'change settings of the cluster',
        details: ['What is not given stays. Every node follows at once.'],
        examples: [
          { purpose: 'more words in the logs of all nodes', line: 'update cluster --log-level debug' },
          { purpose: 'logs for people', line: 'update cluster --log-format default' },
        ],
      },
      async () => (await settings()).updateCluster,
    ),
  )
    .option('--log-level <level>', 'debug, info, warn or error')
    .option('--log-format <format>', 'default (for people) or json')
    .option('--telemetry <on|off>', 'recorded; this system sends nothing in either case')
    .option('--crash-reporting <on|off>', 'recorded; this system sends nothing in either case')
    .option('--version-check <on|off>', 'recorded; this system sends nothing in either case');
}

function withLabelFlags(command: Command): Command {
  return command
    .option('--upsert', 'add to the labels, or replace their values')
    .option('--delete', 'take these labels away');
}

function addVolumeUpdates(kit: Kit, volume: Command): void {
  withWait(
    withCas(
      withAsync(
        understood(
          kit.command(
            volume,
            'replicas <volume> <number>',
            {
              summary: 'its replicas, 0 to 5',
              details: ['The target is recorded at once; copies are made and removed behind it.'],
              examples: [
                {
                  purpose: 'two replicas, and wait for them',
                  line: 'update volume replicas data 2 --wait --i-understand-that-this-value-will-be-overwritten-by-kubernetes',
                },
              ],
              completes: ['volume', { values: ['0', '1', '2', '3', '4', '5'] }],
            },
            async () => (await volumes()).updateVolumeReplicas,
          ),
        ),
      ),
    ),
    'as many replicas as wanted are in sync',
  );
  withLabelFlags(
    withCas(
      withAsync(
        understood(
          kit.command(
            volume,
            'labels <volume> [labels...]',
            {
              summary: 'its labels',
              details: ['Without --upsert or --delete all labels are replaced, except those that are reserved.'],
              examples: [
                {
                  purpose: 'add one',
                  line: 'update volume labels data app=web --upsert --i-understand-that-this-value-will-be-overwritten-by-kubernetes',
                },
              ],
              completes: ['volume'],
            },
            async () => (await volumes()).updateVolumeLabels,
          ),
        ),
      ),
    ),
  );
  withCas(
    withAsync(
      kit.command(
        volume,
        'description <volume> <text>',
        {
          summary: 'its description',
          examples: [{ purpose: 'a new text', line: "update volume description data 'orders since 2020'" }],
          completes: ['volume'],
        },
        async () => (await volumes()).updateVolumeDescription,
      ),
    ),
  );
  withCas(
    withAsync(
      kit.command(
        volume,
        'size <volume> <size>',
        {
          summary: 'its size; it only grows',
          examples: [{ purpose: 'to 20 GiB', line: 'update volume size data 20GiB' }],
          completes: ['volume'],
        },
        async () => (await volumes()).updateVolumeSize,
      ),
    ),
  );
  withCas(
    understood(
      kit.command(
        volume,
        'failure-mode <volume> <mode>',
        {
          summary: 'hard, soft, alwayson, or how many copies may be lost, 0 to 5',
          examples: [
            {
              purpose: 'go on with one copy less than wanted',
              line: 'update volume failure-mode data soft --i-understand-that-this-value-will-be-overwritten-by-kubernetes',
            },
          ],
          completes: ['volume', { values: FAILURE_MODES }],
        },
        async () => (await volumes()).updateVolumeFailureMode,
      ),
    ),
  );
  withCas(
    kit.command(
      volume,
      'placement-strategy <volume> <strategy>',
      {
        summary: 'where its future copies go',
        examples: [{ purpose: 'one copy in each zone', line: 'update volume placement-strategy data topology-aware' }],
        completes: ['volume', { values: ['recommended', 'topology-aware', 'random', 'fixed-topology'] }],
      },
      async () => (await volumes()).updateVolumePlacementStrategy,
    ),
  ).option('--topology-key <label>', 'label of nodes that names their part of the topology');
  withCas(
    kit.command(
      volume,
      'eviction-candidates <volume> [nodes...]',
      {
        summary: 'the nodes whose copies are given up first when there are too many',
        examples: [{ purpose: 'the copy on node2 first', line: 'update volume eviction-candidates data node2' }],
        completes: ['volume', 'node'],
      },
      async () => (await volumes()).updateVolumeEvictionCandidates,
    ),
  );
  kit.command(
    volume,
    'move <volume> <source-node> <destination-node>',
    {
      summary: 'move a replica from one node to another',
      details: [
        'A copy is made on the destination; when it is in sync the one on the source is removed. The command may be interrupted, and given again. The master stays where it is while it serves.',
        'It takes as long as the volume is large; the time limit is one hour unless --timeout is given.',
      ],
      examples: [{ purpose: 'off a node', line: 'update volume move data node1 node3 --timeout 4h' }],
      completes: ['volume', 'node', 'node'],
    },
    async () => (await import('../commands/move.js')).moveVolume,
  );
}
