/** What the HTTP API needs from the rest of the agent. */

import type { KeyObject } from 'node:crypto';
import type { Registry } from 'prom-client';
import type { LostVolumeReport, RecoveryReport, VolumeController } from '../../core/controller.js';
import type { NodeRecord, Placement } from '../../core/domain.js';
import type { LostVolumes } from '../../core/lost-volumes.js';
import type { DeploymentStatus } from '../../core/messages.js';
import type { Operation } from '../../core/operation.js';
import type { Clock, Random } from '../../core/ports.js';
import type { NodeId, VolumeId } from '../../core/types.js';
import type { Codec } from '../codec/index.js';
import type { Collected } from '../diagnostics/local.js';
import type { NodePart } from '../diagnostics/peer.js';
import type { Logger } from '../log.js';
import type { Tally } from '../metrics/tally.js';
import type { ClusterState } from '../state/cluster-state.js';
import type { Tracer } from '../tracing/tracer.js';

export type NodeHealth = 'online' | 'offline' | 'unknown';

export interface ApiDependencies {
  readonly state: ClusterState;
  readonly controller: VolumeController;
  /** What runs. Errors: 'controller-unavailable'. */
  readonly operations: () => Promise<readonly Operation[]>;
  /** The cluster key, at least 32 bytes; the key that signs tokens is derived from it, so it is equal on all nodes. */
  readonly secret: Uint8Array;
  /** Licences that one of them has signed are accepted. */
  readonly licenceKeys: readonly KeyObject[];
  readonly self: { readonly node: NodeId };
  /** What a deployment on any node says of itself; rejects if it does not answer in time. */
  readonly deploymentStatus: (
    deployment: Placement & { readonly volume: VolumeId },
    timeoutMs: number,
  ) => Promise<DeploymentStatus>;
  /** What is wrong between etcd and the volume's copies. Errors: 'not-found', 'store-unavailable'. */
  readonly survey: (volume: VolumeId) => Promise<RecoveryReport>;
  /** Volumes of which nodes have copies and etcd has no record. */
  readonly lostVolumes: {
    readonly list: () => Promise<LostVolumes>;
    /** Errors: 'not-found' if etcd has it, or no node; 'store-unavailable'. */
    readonly survey: (volume: VolumeId) => Promise<LostVolumeReport>;
  };
  /** Gossip's word, faster than the lease in etcd; by default the lease decides. */
  readonly nodeHealth?: (node: NodeId) => NodeHealth;
  /** Whether kube-scheduler may ask for advice, which it does without a login. */
  readonly schedulerExtender: boolean;
  readonly codec: Pick<Codec, 'engine' | 'offloadBytes'>;
  readonly diagnostics: {
    /** What this node tells of itself. */
    readonly local: () => Promise<Collected>;
    /** The part of another node, which checks `authorization`. Errors: 'node-unavailable'. */
    readonly remote: (node: NodeRecord, authorization: string) => Promise<NodePart>;
  };
  readonly metrics: Registry;
  /** Counts requests. */
  readonly requests: Tally<'operation' | 'status'>;
  readonly tracer: Tracer;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: Random;
}
