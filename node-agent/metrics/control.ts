/** The control plane as this node sees it: etcd, gossip, API, activities and workflows. */

import type { Registry } from 'prom-client';
import type { MemberStatus } from '../../core/gossip/types.js';
import { registerCounter, registerGauge, registerHistogram, registerSampled } from './sampled.js';
import type { Tally } from './tally.js';

export interface ControlSources {
  /** Whether etcd answers. */
  readonly stateReachable: () => boolean;
  readonly gossip: {
    readonly members: () => readonly { readonly status: MemberStatus }[];
    readonly healthScore: () => number;
    readonly counters: () => {
      readonly sent: number;
      readonly received: number;
      readonly refused: number;
      readonly failed: number;
      readonly deaths: number;
    };
  };
  /** Calls of etcd. */
  readonly queries: Tally<'operation' | 'result'>;
  /** By operation and status. */
  readonly requests: Tally<'operation' | 'status'>;
  /** By activity and result. */
  readonly activities: Tally<'activity' | 'result'>;
  /** By workflow and result; counted where they ran. */
  readonly workflows: Tally<'workflow' | 'result'>;
}

const STATUSES: readonly MemberStatus[] = ['alive', 'suspect', 'dead', 'left'];
const DATAGRAMS = {
  sent: 'datagrams sent',
  received: 'datagrams received',
  refused: 'datagrams of other clusters, or damaged',
  failed: 'datagrams that could not be sent',
} as const;

export function registerControlMetrics(registry: Registry, sources: ControlSources): void {
  const { gossip } = sources;
  registerGauge(registry, 'storageos_store_reachable', '1 if etcd answers', () => Number(sources.stateReachable()));
  registerTally(registry, 'storageos_store_query_seconds', 'time of calls of etcd', sources.queries);
  registerSampled(registry, {
    name: 'storageos_gossip_members',
    help: 'nodes that this one knows, by what gossip says of them',
    type: 'gauge',
    labels: ['status'],
    read: () => {
      const members = gossip.members();
      return STATUSES.map((status) => ({
        labels: { status },
        value: members.filter((member) => member.status === status).length,
      }));
    },
  });
  registerGauge(
    registry,
    'storageos_local_leader_known_nodes_total',
    'nodes that this one knows and that have not left',
    () => gossip.members().filter(({ status }) => status !== 'left').length,
  );
  registerCounter(
    registry,
    'storageos_local_leader_detected_node_failed_total',
    'times that gossip told this node of the death of another one',
    () => gossip.counters().deaths,
  );
  registerGauge(registry, 'storageos_gossip_health_score', '0: well; higher: this node finds itself slow', () =>
    gossip.healthScore(),
  );
  for (const name of Object.keys(DATAGRAMS) as (keyof typeof DATAGRAMS)[]) {
    registerCounter(registry, `storageos_gossip_${name}_total`, DATAGRAMS[name], () => gossip.counters()[name]);
  }
  registerTally(
    registry,
    'storageos_api_request_seconds',
    'time of requests to the API, by endpoint and status',
    sources.requests,
  );
  registerTally(
    registry,
    'storageos_activity_seconds',
    'time of activities that ran on this node, by result',
    sources.activities,
  );
  registerTally(
    registry,
    'storageos_workflow_seconds',
    'time of workflows that ended on this node, by result',
    sources.workflows,
  );
}

function registerTally<L extends string>(registry: Registry, name: string, help: string, tally: Tally<L>): void {
  registerHistogram(registry, { name, help, labels: tally.labels, read: () => tally.entries() });
}
