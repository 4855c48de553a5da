import type { Membership, Volume } from '../../core/domain.js';
import type { DeploymentStatus, FrontendMessage, OpenSession, PeerEnvelope } from '../../core/messages.js';
import type { Clock, DeploymentStore, MembershipStore, PeerLinks, Random, SessionLink } from '../../core/ports.js';
import { type Batch, batchProblem, type Lender } from '../../core/record.js';
import type { AttentionReason } from '../../core/replication/context.js';
import type { NodeLoad } from '../../core/replication/node-load.js';
import { ReplicatedDeployment } from '../../core/replication/replicated-deployment.js';
import type { ReplicationSettings } from '../../core/replication/settings.js';
import type { SyncAdmission } from '../../core/replication/sync-admission.js';
import type { DeploymentId, NodeId, VolumeId } from '../../core/types.js';
import type { BlockChecksums } from '../codec/index.js';
import type { Logger } from '../log.js';
import type { CopySurvey } from './requests.js';
import { WireError } from './wire.js';

export interface HostedOptions {
  readonly self: NodeId;
  readonly volume: VolumeId;
  readonly deployment: DeploymentId;
  readonly store: DeploymentStore;
  readonly checksums: BlockChecksums;
  /** Where payloads that are read for frontends may be put. */
  readonly lend: Lender | undefined;
  /** The same for those of syncs. */
  readonly lendSpare: Lender | undefined;
  readonly links: PeerLinks;
  readonly memberships: MembershipStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: ReplicationSettings;
  /** Of the etcd that this agent talks to. */
  readonly etcdClusterId: string;
  readonly logger: Logger;
  readonly admission: SyncAdmission;
  /** Of this node, which all its deployments share. */
  readonly nodeLoad: NodeLoad;
  readonly attention: (reason: AttentionReason) => void;
}

/** An open deployment: its store, the protocol that runs on it, and the sessions that frontends have with it. */
export class HostedDeployment {
  readonly volume: VolumeId;
  readonly deployment: DeploymentId;
  readonly store: DeploymentStore;
  readonly replicated: ReplicatedDeployment;
  readonly #sessions = new Map<SessionLink, (reason: string) => void>();

  constructor(options: HostedOptions) {
    const { self, volume, deployment, store, checksums, logger } = options;
    this.volume = volume;
    this.deployment = deployment;
    this.store = store;
    const log = logger.child({ volume, deployment });
    this.replicated = new ReplicatedDeployment({
      self: { volume, deployment, node: self },
      store,
      clock: options.clock,
      random: options.random,
      links: options.links,
      memberships: options.memberships,
      settings: options.settings,
      etcdClusterId: options.etcdClusterId,
      admission: options.admission,
      nodeLoad: options.nodeLoad,
      verify: (batch) => checksums.firstBad(batch) === -1,
      ...(options.lend !== undefined && { lend: options.lend }),
      ...(options.lendSpare !== undefined && { lendSpare: options.lendSpare }),
      events: {
        attention: options.attention,
        log: (level, message, fields) => log[level](fields, message),
      },
    });
  }

  onVolume(volume: Volume): void {
    const { replicas, failureMode, durability, placements } = volume;
    this.replicated.onVolume({ replicas, failureMode, durability, placements });
  }

  onMembership(record: Membership | undefined): void {
    this.replicated.onMembership(record);
  }

  /** Errors: WireError for a batch that does not fit the volume. */
  onMessage(envelope: PeerEnvelope): void {
    const { message } = envelope;
    if ('batch' in message) this.#check(message.batch, message.type);
    this.replicated.onMessage(envelope);
  }

  /** `end` closes the session from here. */
  openSession(link: SessionLink, message: OpenSession, end: (reason: string) => void): void {
    this.#sessions.set(link, end);
    this.replicated.openSession(link, message);
  }

  onFrontend(link: SessionLink, message: Exclude<FrontendMessage, OpenSession>): void {
    if (this.#sessions.has(link)) this.replicated.onFrontend(link, message);
  }

  onSessionClosed(link: SessionLink): void {
    if (this.#sessions.delete(link)) this.replicated.onSessionClosed(link);
  }

  status(): DeploymentStatus {
    return this.replicated.status();
  }

  /** What this copy knows of the volume's membership. */
  survey(): CopySurvey {
    const { history, syncBase, blockSize, blocks } = this.store.state;
    const { record } = this.replicated;
    return {
      status: this.status(),
      history: [...history],
      syncBase,
      shape: { blockSize, blocks },
      ...(record !== undefined && { record }),
    };
  }

  /** No more I/O, all sessions closed. The store stays open. */
  async stop(reason: string): Promise<void> {
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const end of sessions) end(reason);
    await this.replicated.stop();
  }

  #check(batch: Batch, type: string): void {
    // An answer to a fetch, or a piece of backfill, may be empty.
    if (batch.entries.length === 0 && type !== 'append') return;
    const { blocks, blockSize } = this.store.state;
    const problem = batchProblem(batch, blocks, blockSize, type === 'append' ? 'stream' : 'blocks');
    if (problem !== undefined) throw new WireError('malformed', `${type}: ${problem}`);
  }
}
