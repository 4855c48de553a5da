/** One node of a simulation: a process with copies of volumes on one disk, connected to the others. */

import type { Membership } from '../../core/domain.js';
import {
  type DeploymentStatus,
  type FrontendMessage,
  type PeerMessage,
  PRIMARY_REQUESTS,
  type PrimaryRequest,
} from '../../core/messages.js';
import type { DeploymentStore, SessionLink } from '../../core/ports.js';
import type { NodeSurvey } from '../../core/recovery.js';
import type { AttentionReason } from '../../core/replication/replicated-deployment.js';
import { type DeploymentId, type Incarnation, type NodeId, ORDER_ZERO, type VolumeId } from '../../core/types.js';
import { Turns } from '../../node-agent/state/turns.js';
import { SimCopy } from './copy.js';
import { SimErasures } from './erasures.js';
import type { End } from './network.js';
import { PeerLinks } from './peer-links.js';
import { SimClock, SimProcess } from './scheduler.js';
import type { SimVolume } from './volume.js';
import type { Envelope, NodeDisk, World } from './world.js';

const REOPEN_MS = 300;
/** From the moment that all is closed to the end of the process. */
const EXIT_MS = 20;

/** What a node refuses for a copy that it has not open. */
const REQUESTS = new Set<PeerMessage['type']>(PRIMARY_REQUESTS);
const NO_INCARNATION = '00000000-0000-0000-0000-000000000000' as Incarnation;

export class SimNode {
  readonly id: NodeId;
  readonly disk: NodeDisk;
  readonly #world: World;
  readonly #rate: number;
  process: SimProcess;
  clock: SimClock;
  /** Of the etcd that it found at its start. */
  etcdClusterId = '';
  up = false;
  /** Those that are open. */
  readonly copies = new Map<DeploymentId, SimCopy>();
  readonly #links: PeerLinks;
  /** What etcd's watch has shown in this life. */
  readonly #records = new Map<VolumeId, Membership | undefined>();
  /** What is done to one copy is done one after the other. */
  readonly #turns = new Map<DeploymentId, Turns>();
  #stopping = false;
  /** Since this life has begun. */
  #erasures: SimErasures | undefined;
  /** The last process ended in good order. */
  #closed = false;
  /** Of copies that are not open: whether they may have lost acknowledged writes, whoever knows. */
  readonly #uncleanWhileAway = new Map<DeploymentId, boolean>();

  constructor(world: World, id: NodeId, disk: NodeDisk, rate: number) {
    this.#world = world;
    this.id = id;
    this.disk = disk;
    this.#rate = rate;
    this.process = new SimProcess(world.scheduler);
    this.process.kill();
    this.clock = new SimClock(world.scheduler, this.process, rate, 0, 0);
    this.#links = new PeerLinks(world, this, {
      message: (envelope) => this.#onMessage(envelope),
      up: (node) => this.#each((copy) => copy.replicated.onPeerUp(node)),
      down: (node) => this.#each((copy) => copy.replicated.onPeerDown(node)),
    });
  }

  get name(): string {
    return this.id;
  }

  get links(): PeerLinks {
    return this.#links;
  }

  #each(run: (copy: SimCopy) => void): void {
    for (const copy of [...this.copies.values()]) run(copy);
  }

  start(): void {
    if (this.up) return;
    const { scheduler, random, etcd } = this.#world;
    this.up = true;
    this.#stopping = false;
    this.#closed = false;
    const process = new SimProcess(scheduler);
    this.process = process;
    const wallOffsetMs = random.chance(0.1) ? random.between(-1, 1) * 86_400_000 : 0;
    this.clock = new SimClock(scheduler, process, this.#rate, random.int(0, 1_000_000), wallOffsetMs);
    this.etcdClusterId = etcd.clusterId;
    this.#world.trace(this.name, 'starts');
    scheduler.after(random.between(5, 200), () => {
      process.run(() => {
        this.disk.open(this.clock).then(
          () => {
            if (process.alive) this.#begin(process);
          },
          (error: unknown) => this.#exit(process, error),
        );
      });
    });
  }

  #begin(process: SimProcess): void {
    const { etcd, volumes } = this.#world;
    this.disk.onBadBlocks = (deployment, blocks) => this.copies.get(deployment)?.replicated.heal(blocks);
    for (const volume of volumes) {
      etcd.watch(this.name, process, volume.id, (record) => {
        this.#records.set(volume.id, record);
        this.#each((copy) => copy.volume === volume && copy.onMembership(record));
      });
    }
    this.#links.begin(process);
    const { id, name, clock, etcdClusterId } = this;
    this.#erasures = new SimErasures(this.#world, {
      ...{ id, name, process, clock, etcdClusterId },
      holds: (deployment) => this.disk.holds(deployment),
      remove: (deployment) => this.#remove(process, deployment),
    });
    for (const volume of volumes) this.#erasures.onTombstones(volume);
    for (const copy of this.disk.copies) {
      const volume = volumes.find(({ id: known }) => known === copy.volume)!;
      if (volume.erased.has(copy.deployment)) volume.problem(`${name} has a copy again that it had erased`);
      this.#open(process, volume, copy.deployment);
    }
  }

  #inTurn<T>(deployment: DeploymentId, run: () => Promise<T>): Promise<T> {
    let turns = this.#turns.get(deployment);
    if (turns === undefined) {
      turns = new Turns();
      this.#turns.set(deployment, turns);
    }
    return turns.run(run);
  }

  #isOnDisk(deployment: DeploymentId): boolean {
    return this.disk.copies.some((copy) => copy.deployment === deployment);
  }

  /** What etcd says of a volume has changed. */
  onVolume(volume: SimVolume): void {
    this.process.run(() => {
      this.#each((copy) => copy.volume === volume && copy.onVolume(volume.spec));
      this.#erasures?.onTombstones(volume);
    });
  }

  /** Opens what is on the disk, if need be again and again, as the agent does. */
  #open(process: SimProcess, volume: SimVolume, deployment: DeploymentId): void {
    void this.#inTurn(deployment, async () => {
      if (this.#stopping || this.copies.has(deployment)) return;
      // It may have been erased since it was last tried.
      if (!this.#isOnDisk(deployment)) return;
      try {
        const store = await process.settle(this.disk.openCopy(deployment));
        if (!this.#stopping) this.#host(volume, deployment, store);
      } catch (error) {
        if (this.#stopping) return;
        this.#world.failed(this.id, error);
        this.clock.after(REOPEN_MS, () => this.#open(process, volume, deployment));
      }
    });
  }

  #host(volume: SimVolume, deployment: DeploymentId, store: DeploymentStore): SimCopy {
    const copy = new SimCopy(
      this.#world,
      {
        send: (to, envelope) => this.#links.send(to, envelope),
        isUp: (node) => this.#links.isUp(node),
        attention: (of, reason) => this.#attention(of, reason),
      },
      this,
      volume,
      deployment,
      store,
    );
    this.copies.set(deployment, copy);
    this.#uncleanWhileAway.set(deployment, false);
    copy.onVolume(volume.spec);
    copy.onMembership(this.#records.get(volume.id));
    return copy;
  }

  #attention(copy: SimCopy, reason: AttentionReason): void {
    copy.trace(`attention ${reason}`);
    copy.volume.attention();
    if (reason === 'store-failed') this.clock.after(10, () => this.#storeFailed(copy));
  }

  /** What the agent does about a store that has failed: opens it anew. */
  #storeFailed(copy: SimCopy): void {
    const { deployment } = copy.placement;
    if (this.copies.get(deployment) !== copy) return;
    this.#uncleanWhileAway.set(deployment, true);
    this.copies.delete(deployment);
    void copy.replicated.stop();
    this.#open(this.process, copy.volume, deployment);
  }

  /** Makes a copy, or opens it. Rejects with the disk's errors. */
  async create(volume: SimVolume, deployment: DeploymentId): Promise<void> {
    const { process } = this;
    if (!this.#links.begun) throw new Error('the node is starting');
    await this.#inTurn(deployment, async () => {
      if (this.copies.has(deployment)) return;
      const isPlaced = volume.spec.placements.some((placed) => placed.deployment === deployment);
      if (!isPlaced) throw new Error('the copy is not placed here');
      // An older etcd may have it placed again.
      volume.erased.delete(deployment);
      const { etcdClusterId } = this;
      const store = await process.settle(this.disk.create({ volume: volume.id, deployment, etcdClusterId }));
      if (!this.#stopping) this.#host(volume, deployment, store);
    });
  }

  /** Stops and erases it, as the agent does. */
  #remove(process: SimProcess, deployment: DeploymentId): Promise<void> {
    return this.#inTurn(deployment, async () => {
      const copy = this.copies.get(deployment);
      const held = this.disk.holds(deployment);
      this.copies.delete(deployment);
      if (copy !== undefined) await process.settle(copy.replicated.stop());
      try {
        await process.settle(this.disk.remove(deployment));
      } catch (error) {
        this.#world.count('erasures that failed', 1);
        this.#world.failed(this.id, error);
        throw error;
      }
      if (held) this.#world.count('copies erased', 1);
    });
  }

  /** Whether a copy may have lost acknowledged writes, whoever knows. */
  isUnclean(deployment: DeploymentId): boolean {
    const { copies } = this;
    const open = copies.get(deployment);
    if (open === undefined) return this.#uncleanWhileAway.get(deployment) ?? false;
    return open.store.state.unclean || open.replicated.halted;
  }

  /** The agent exits; its supervisor starts it again. */
  #exit(process: SimProcess, error: unknown): void {
    if (!process.alive) return;
    this.#world.failed(this.id, error);
    this.crash(false);
    this.#world.scheduler.after(REOPEN_MS, () => this.start());
  }

  /** A machine may lose its power while its process is away. */
  crash(power: boolean): void {
    if (!this.up && !power) return;
    this.#world.trace(this.name, power ? 'loses power' : 'is killed');
    if (this.up) this.#end();
    if (power && !this.#closed) this.#mayHaveLost();
    this.disk.crash(power);
  }

  #mayHaveLost(): void {
    for (const deployment of this.#uncleanWhileAway.keys()) this.#uncleanWhileAway.set(deployment, true);
  }

  /**
   * Ends in good order (SIGTERM): copies stop, their stores are closed. Resolves to the number of timers that are left
   * then, which nobody needs any more; never, if it is killed before.
   */
  async stop(): Promise<number> {
    this.#world.trace(this.name, 'is stopped in good order');
    const { process } = this;
    if (!this.#links.begun) {
      // There is nothing to close yet.
      this.crash(false);
      return 0;
    }
    this.#stopping = true;
    this.#erasures?.stop();
    await process.settle(Promise.all([...this.copies.values()].map((copy) => copy.replicated.stop())));
    try {
      await process.settle(this.disk.close());
      this.#closed = true;
    } catch (error) {
      this.#world.failed(this.id, error);
    }
    const { scheduler } = this.#world;
    // Whatever was being asked of the disk is answered, to nobody.
    await process.settle(new Promise<void>((resolve) => scheduler.after(EXIT_MS, resolve)));
    const left = scheduler.timersOf(process);
    this.crash(false);
    return left;
  }

  #end(): void {
    this.up = false;
    for (const deployment of this.copies.keys()) this.#uncleanWhileAway.set(deployment, this.isUnclean(deployment));
    this.process.kill();
    this.copies.clear();
    this.#records.clear();
    this.#turns.clear();
    this.#erasures = undefined;
    this.#links.end();
    this.#world.network.changed();
  }

  pause(): void {
    if (!this.up) return;
    this.#world.trace(this.name, 'is paused (SIGSTOP)');
    this.process.pause();
    this.#world.network.changed();
  }

  resume(): void {
    if (!this.process.paused) return;
    this.#world.trace(this.name, 'goes on (SIGCONT)');
    this.process.resume();
    this.#world.network.changed();
  }

  /** Whether a copy of the volume is here that serves it as its primary. */
  serves(volume: SimVolume): boolean {
    for (const copy of this.copies.values()) {
      if (copy.volume === volume && copy.replicated.status().serving) return true;
    }
    return false;
  }

  get #answers(): boolean {
    return this.#links.begun && !this.process.paused;
  }

  /** Undefined: it does not answer. */
  status(deployment: DeploymentId): DeploymentStatus | 'absent' | undefined {
    if (!this.#answers) return undefined;
    return this.copies.get(deployment)?.replicated.status() ?? 'absent';
  }

  /** By an operator's word the copy belongs to the present etcd. */
  async adoptCluster(copy: SimCopy): Promise<void> {
    if (this.etcdClusterId !== this.#world.etcd.clusterId) throw new Error('this agent knows another etcd');
    await copy.replicated.adoptCluster();
    copy.onMembership(this.#records.get(copy.volume.id));
  }

  /** Undefined: it does not answer. */
  survey(volume: SimVolume): NodeSurvey | undefined {
    if (!this.#answers) return undefined;
    const open = [...this.copies.values()].filter((copy) => copy.volume === volume);
    const closed = this.disk.copies
      .filter((copy) => copy.volume === volume.id && !this.copies.has(copy.deployment))
      .map(({ deployment }) => deployment);
    return { copies: open.map((copy) => copy.survey()), closed, unreadable: 0 };
  }

  #onMessage({ volume, from, to, message }: Envelope): void {
    const copy = this.copies.get(to);
    if (copy !== undefined) {
      const arrived = this.#world.leases.arrived(message, this.process);
      copy.onMessage(from, arrived.message);
      arrived.leave();
      return;
    }
    if (!REQUESTS.has(message.type)) return;
    const { type: of, epoch } = message as PrimaryRequest;
    const refusal = { incarnation: NO_INCARNATION, of, reason: 'no-deployment', last: ORDER_ZERO } as const;
    this.#links.send(from.node, {
      volume,
      from: { deployment: to, node: this.id },
      to: from.deployment,
      message: { type: 'refused', epoch, ...refusal },
    });
  }

  /** The receiving end of a frontend's session. */
  sessionEnd(volume: SimVolume, deployment: DeploymentId, send: (message: object) => void, closed: () => boolean): End {
    const { process } = this;
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
        const { message, leave } = this.#world.leases.arrived(raw as FrontendMessage, process);
        const copy = this.copies.get(deployment);
        if (copy !== undefined) copy.onFrontend(link, message);
        else if (message.type === 'open') {
          const primary = this.#records.get(volume.id)?.primary.node;
          const rejected = { type: 'rejected', session: message.session, reason: 'not-primary' } as const;
          link.send(primary === undefined ? rejected : { ...rejected, primary });
        }
        leave();
      },
      down: () => this.copies.get(deployment)?.replicated.onSessionClosed(link),
    };
  }
}
