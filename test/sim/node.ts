/** One node of a simulation: a process with one deployment on its disk, connected to the others. */

import type { Placement } from '../../core/domain.js';
import type { DeploymentStatus, FrontendMessage, PeerMessage } from '../../core/messages.js';
import type { DeploymentStore, IndexedBlock, SessionLink } from '../../core/ports.js';
import {
  DEFAULT_SETTINGS,
  ReplicatedDeployment,
  type ReplicationSettings,
  type VolumeSpec,
} from '../../core/replication/replicated-deployment.js';
import type { DeploymentId, NodeId, VolumeId } from '../../core/types.js';
import { verify } from './blocks.js';
import type { SimEtcd } from './etcd.js';
import { copied, type Leases } from './leases.js';
import { Connection, type End, type Network } from './network.js';
import { type Scheduler, type SeededRandom, SimClock, SimProcess } from './scheduler.js';

/** What a node keeps its deployment on. */
export interface NodeDisk {
  open(process: SimProcess, clock: SimClock): Promise<DeploymentStore>;
  /** After the store has failed, in the same process. */
  reopen(): Promise<DeploymentStore>;
  /** The process is gone; with `power`, so is what was not synced. */
  crash(power: boolean): void;
  /** Told of blocks that were found bad while nobody was reading them. */
  onBadBlocks: (blocks: readonly IndexedBlock[]) => void;
  setFull(full: boolean): void;
  failNextSync(fail: boolean): void;
  /** Damages stored payloads; false if there are none. */
  rot(random: SeededRandom): boolean;
}

export interface World {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly network: Network;
  readonly leases: Leases;
  readonly etcd: SimEtcd;
  readonly volume: VolumeId;
  readonly spec: VolumeSpec;
  readonly nodes: readonly SimNode[];
  readonly settings: Partial<ReplicationSettings>;
  /** That all nodes speak. */
  readonly protocolVersion: number;
  /** Whether frontends write; else they only read and flush. */
  readonly writing: boolean;
  trace(who: string, what: string, fields?: Record<string, unknown>): void;
  attention(node: SimNode, reason: string): void;
  failed(node: SimNode, error: unknown): void;
  count(what: string, number: number): void;
  node(id: NodeId): SimNode;
}

interface PeerLink {
  readonly connection: Connection;
  readonly end: 0 | 1;
}

export class SimNode {
  readonly name: string;
  readonly placement: Placement;
  readonly disk: NodeDisk;
  readonly #world: World;
  readonly #rate: number;
  process: SimProcess;
  up = false;
  deployment: ReplicatedDeployment | undefined;
  store: DeploymentStore | undefined;
  readonly #links = new Map<NodeId, PeerLink>();
  readonly #connecting = new Set<NodeId>();
  clock: SimClock;
  #uncleanWhileAway = false;

  constructor(world: World, placement: Placement, disk: NodeDisk, rate: number) {
    this.#world = world;
    this.name = placement.node;
    this.placement = placement;
    this.disk = disk;
    this.#rate = rate;
    this.process = new SimProcess(world.scheduler);
    this.process.kill();
    this.clock = new SimClock(world.scheduler, this.process, rate, 0);
  }

  start(): void {
    if (this.up) return;
    const { scheduler, random, etcd } = this.#world;
    this.up = true;
    const process = new SimProcess(scheduler);
    this.process = process;
    this.clock = new SimClock(scheduler, process, this.#rate, random.int(0, 1_000_000));
    this.#world.trace(this.name, 'starts');
    scheduler.after(random.between(5, 200), () => {
      process.run(() => {
        this.disk.open(process, this.clock).then(
          (store) => {
            if (!process.alive) return;
            this.#serve(process, store);
            etcd.watch(this.name, process, (record) => this.deployment?.onMembership(record));
            for (const other of this.#world.nodes) if (other !== this) this.#connect(other);
          },
          (error: unknown) => this.#openFailed(process, error),
        );
      });
    });
  }

  #serve(process: SimProcess, store: DeploymentStore): void {
    const { etcd, random, spec, volume } = this.#world;
    this.store = store;
    this.deployment = new ReplicatedDeployment({
      self: { ...this.placement, volume },
      store,
      clock: this.clock,
      random: random.fork(),
      links: {
        send: (to, message) => this.#send(to.node, message),
        isUp: (node) => this.#links.has(node),
        version: (node) => (this.#links.has(node) ? this.#world.protocolVersion : 0),
      },
      memberships: {
        swap: (expected, next) => etcd.swap(this.name, process, expected, next),
        read: () => etcd.read(this.name, process),
      },
      lend: (bytes) => this.#world.leases.lendBytes(bytes, process),
      settings: { ...DEFAULT_SETTINGS, ...this.#world.settings },
      etcdClusterId: 'sim',
      events: {
        attention: (reason) => {
          this.#world.trace(this.name, `attention ${reason}`);
          if (reason === 'store-failed') this.#world.scheduler.after(10, () => this.#storeFailed(process));
          else this.#world.attention(this, reason);
        },
        log: (level, message, fields) => {
          this.#world.trace(this.name, `${level}: ${message}`, fields);
          if (typeof fields.healed === 'number') this.#world.count('blocks healed', fields.healed);
          if (typeof fields.blocksLost === 'number') this.#world.count('blocks lost', fields.blocksLost);
          if (level === 'error' && 'error' in fields) this.#world.failed(this, fields.error);
        },
      },
      verify,
    });
    this.disk.onBadBlocks = (blocks) => this.deployment?.heal(blocks);
    this.deployment.onVolume(spec);
  }

  /** Whether its copy may have lost acknowledged writes, whoever knows. */
  get unclean(): boolean {
    return this.store?.state.unclean ?? this.#uncleanWhileAway;
  }

  /** What the host does about a store that has failed: opens it anew. */
  #storeFailed(process: SimProcess): void {
    process.run(() => {
      const failed = this.deployment;
      this.#uncleanWhileAway = true;
      this.deployment = undefined;
      this.store = undefined;
      void failed?.stop();
      this.disk.reopen().then(
        (store) => {
          if (!process.alive) return;
          this.#serve(process, store);
          this.deployment?.onMembership(this.#world.etcd.record);
        },
        (error: unknown) => this.#openFailed(process, error),
      );
    });
  }

  /** The agent exits; its supervisor starts it again. */
  #openFailed(process: SimProcess, error: unknown): void {
    if (!process.alive) return;
    this.#world.failed(this, error);
    this.crash(false);
    this.#world.scheduler.after(300, () => this.start());
  }

  crash(power: boolean): void {
    if (!this.up) return;
    this.#world.trace(this.name, power ? 'loses power' : 'is killed');
    this.up = false;
    this.#uncleanWhileAway = power || this.unclean;
    this.process.kill();
    this.deployment = undefined;
    this.store = undefined;
    this.#links.clear();
    this.#connecting.clear();
    this.disk.crash(power);
  }

  pause(): void {
    if (!this.up) return;
    this.#world.trace(this.name, 'is stopped (SIGSTOP)');
    this.process.pause();
  }

  resume(): void {
    if (!this.process.paused) return;
    this.#world.trace(this.name, 'goes on (SIGCONT)');
    this.process.resume();
  }

  /** Answered if this node runs and can be reached. */
  status(): DeploymentStatus | undefined {
    if (!this.process.alive || this.process.paused) return undefined;
    return this.deployment?.status();
  }

  #send(to: NodeId, message: PeerMessage): void {
    const link = this.#links.get(to);
    if (link === undefined) return;
    const target = this.#world.node(to).placement.deployment;
    link.connection.send(link.end, { from: this.placement, to: target, message: copied(message) });
  }

  /** Tries to connect until it succeeds or this life ends; the lower name dials. */
  #connect(other: SimNode): void {
    const { network, scheduler, random } = this.#world;
    const node = other.placement.node;
    if (this.#links.has(node) || this.#connecting.has(node)) return;
    this.#connecting.add(node);
    const { process } = this;
    const attempt = (): void => {
      if (!process.alive || this.process !== process) return;
      const reachable =
        other.up &&
        other.deployment !== undefined &&
        this.deployment !== undefined &&
        !process.paused &&
        !other.process.paused &&
        !network.isBlocked(this.name, other.name) &&
        !network.isBlocked(other.name, this.name);
      if (other.#links.has(this.placement.node) || this.#links.has(node)) {
        if (this.#links.has(node)) this.#connecting.delete(node);
        else scheduler.after(random.between(20, 200), attempt);
        return;
      }
      if (!reachable) {
        scheduler.after(random.between(20, 300), attempt);
        return;
      }
      this.#connecting.delete(node);
      const connection = new Connection(network, this.#end(other), other.#end(this));
      this.#links.set(node, { connection, end: 0 });
      other.#links.set(this.placement.node, { connection, end: 1 });
      this.deployment?.onPeerUp(node);
      scheduler.after(network.delay(), () => {
        other.process.run(() => {
          if (other.#links.get(this.placement.node)?.connection === connection) {
            other.deployment?.onPeerUp(this.placement.node);
          }
        });
      });
    };
    scheduler.after(random.between(1, 100), attempt);
  }

  #end(other: SimNode): End {
    const { process } = this;
    const node = other.placement.node;
    return {
      name: this.name,
      process,
      message: (raw) => {
        const envelope = raw as { from: Placement; to: DeploymentId; message: PeerMessage };
        this.deployment?.onMessage({
          volume: this.#world.volume,
          from: envelope.from.deployment,
          fromNode: envelope.from.node,
          to: envelope.to,
          message: envelope.message,
        });
      },
      down: () => {
        if (this.process !== process) return;
        this.#links.delete(node);
        this.deployment?.onPeerDown(node);
        this.#connect(other);
      },
    };
  }

  /** The receiving end of a frontend's session. */
  sessionEnd(send: (message: unknown) => void, closed: () => boolean): End {
    const { process, deployment } = this;
    const link: SessionLink = {
      send: (message) => send(message),
      get closed() {
        return closed();
      },
    };
    return {
      name: this.name,
      process,
      message: (raw) => {
        const message = raw as FrontendMessage;
        if (message.type === 'open') deployment?.openSession(link, message);
        else deployment?.onFrontend(link, message);
      },
      down: () => deployment?.onSessionClosed(link),
    };
  }
}
