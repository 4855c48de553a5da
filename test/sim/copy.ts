/** One copy of a volume on a node, from the opening of its store to its end: the production code and what it is told. */

import type { Membership, Placement } from '../../core/domain.js';
import type { FrontendMessage, PeerMessage } from '../../core/messages.js';
import type { DeploymentStore, SessionLink } from '../../core/ports.js';
import type { SurveyedCopy } from '../../core/recovery.js';
import {
  type AttentionReason,
  ReplicatedDeployment,
  type VolumeSpec,
} from '../../core/replication/replicated-deployment.js';
import type { DeploymentId, NodeId } from '../../core/types.js';
import { verify } from './blocks.js';
import type { SimNode } from './node.js';
import type { SimVolume } from './volume.js';
import type { Envelope, World } from './world.js';

export interface CopyHost {
  send(to: NodeId, envelope: Envelope): void;
  isUp(node: NodeId): boolean;
  attention(copy: SimCopy, reason: AttentionReason): void;
}

export class SimCopy {
  readonly volume: SimVolume;
  readonly placement: Placement;
  readonly store: DeploymentStore;
  readonly replicated: ReplicatedDeployment;
  readonly #world: World;

  constructor(
    world: World,
    host: CopyHost,
    node: SimNode,
    volume: SimVolume,
    deployment: DeploymentId,
    store: DeploymentStore,
  ) {
    this.#world = world;
    this.volume = volume;
    this.placement = { deployment, node: node.id };
    this.store = store;
    const { process, etcdClusterId } = node;
    const { etcd, random, leases, settings, protocolVersion } = world;
    this.replicated = new ReplicatedDeployment({
      self: { ...this.placement, volume: volume.id },
      store,
      clock: node.clock,
      random: random.fork(),
      links: {
        send: (to, message) => host.send(to.node, { volume, from: this.placement, to: to.deployment, message }),
        isUp: (other) => host.isUp(other),
        version: (other) => (host.isUp(other) ? protocolVersion : 0),
      },
      memberships: {
        swap: (expected, next) => etcd.swap({ name: node.name, process, etcdClusterId }, expected, next),
        read: (id) => etcd.read({ name: node.name, process }, id),
      },
      lend: (bytes) => leases.lendBytes(bytes, process),
      settings,
      etcdClusterId,
      events: {
        attention: (reason) => host.attention(this, reason),
        log: (level, message, fields) => this.#log(level, message, fields),
      },
      verify,
    });
  }

  #log(level: string, message: string, fields: Readonly<Record<string, unknown>>): void {
    this.trace(`${level}: ${message}`, fields);
    if (typeof fields.healed === 'number') this.#onBadBlocks(fields.healed);
    if (typeof fields.blocksLost === 'number') this.#world.count('blocks lost', fields.blocksLost);
    if (level === 'error' && 'error' in fields) this.#world.failed(this.placement.node, fields.error);
  }

  #onBadBlocks(healed: number): void {
    this.#world.count('blocks healed', healed);
    if (this.#world.damaged) return;
    this.volume.problem(`${this.placement.node} has bad blocks, and no disk was damaged`);
  }

  trace(what: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#world.trace(this.placement.node, what, fields, this.volume.number);
  }

  onVolume(spec: VolumeSpec): void {
    this.replicated.onVolume(spec);
  }

  onMembership(record: Membership | undefined): void {
    this.replicated.onMembership(record);
  }

  onMessage(from: Placement, message: PeerMessage): void {
    this.replicated.onMessage({
      volume: this.volume.id,
      from: from.deployment,
      fromNode: from.node,
      to: this.placement.deployment,
      message,
    });
  }

  onFrontend(link: SessionLink, message: FrontendMessage): void {
    if (message.type === 'open') this.replicated.openSession(link, message);
    else this.replicated.onFrontend(link, message);
  }

  survey(): SurveyedCopy {
    const { history, syncBase } = this.store.state;
    const { record } = this.replicated;
    const status = this.replicated.status();
    return { node: this.placement.node, status, history: [...history], syncBase, record };
  }
}
