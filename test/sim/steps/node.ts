/** One node: the production deployment on the production store, whose disk answers when it is its turn. */

import type { Placement } from '../../../core/domain.js';
import {
  type DeploymentStatus,
  type FrontendMessage,
  type PeerMessage,
  VERSION_WITH_MARKS,
} from '../../../core/messages.js';
import type { DeploymentStore, IndexedBlock, MembershipStore, SessionLink, Timer } from '../../../core/ports.js';
import { KIND_DATA } from '../../../core/record.js';
import {
  DEFAULT_SETTINGS,
  ReplicatedDeployment,
  type ReplicationSettings,
  type VolumeSpec,
} from '../../../core/replication/replicated-deployment.js';
import type { BlockNumber, DeploymentId, NodeId, VolumeId } from '../../../core/types.js';
import { verify } from '../blocks.js';
import type { ObservedCopy } from '../in-sync.js';
import { Scheduler, type SeededRandom, SimClock, SimProcess } from '../scheduler.js';
import { StoreDisk } from '../store-disk.js';
import type { StepEtcd } from './etcd.js';
import type { LinkEnd, Links } from './links.js';
import type { Queues } from './queues.js';

export const VOLUME = '00000000-0000-4000-8000-000000000001' as VolumeId;
export const ETCD_CLUSTER = 'steps';
export const VOLUME_BLOCKS = 8;
/** Of the disk's own time: everything that was asked of it is done by then. */
const DISK_MS = 30;
/** A disk answers within this time; its background work is less frequent. */
const LONGEST_WORK_MS = 20;
const OPEN_MS = 10_000;

export interface StepWorld {
  readonly queues: Queues;
  readonly links: Links;
  readonly etcd: StepEtcd;
  /** Timers of replication and frontends. */
  readonly timers: Scheduler;
  readonly random: SeededRandom;
  readonly spec: VolumeSpec;
  readonly settings: Partial<ReplicationSettings>;
  readonly fewDelays: boolean;
  readonly nodes: readonly StepNode[];
  readonly openCopies: readonly ObservedCopy[];
  trace(who: string, what: string, fields?: Readonly<Record<string, unknown>>): void;
  /** Something that no fault explains; and the error as which it came, if it did. */
  problem(what: string, error?: unknown): void;
}

/** What a disk is asked for is done at once, and background work never. */
class StandingTime extends Scheduler {
  override at(time: number, run: () => void, of?: SimProcess, act = run): Timer {
    return super.at(time <= this.now + LONGEST_WORK_MS ? this.now : time, run, of, act);
  }
}

export class StepNode implements LinkEnd {
  readonly name: string;
  readonly placement: Placement;
  readonly #world: StepWorld;
  readonly #disk: StoreDisk;
  /** The disk's time, which passes only when it is its turn. */
  readonly #diskTime: Scheduler;
  readonly #rate: number;
  process: SimProcess;
  clock: SimClock;
  deployment: ReplicatedDeployment | undefined;
  store: DeploymentStore | undefined;
  #uncleanWhileAway = false;
  /** It was told to fail a sync: what follows from that is no bug. */
  #mayFail = false;

  constructor(world: StepWorld, name: string, rate: number) {
    this.#world = world;
    this.name = name;
    this.#rate = rate;
    this.#diskTime = world.fewDelays ? new StandingTime() : new Scheduler();
    const deployment = `00000000-0000-4000-8000-00000000000${name}` as DeploymentId;
    this.placement = { deployment, node: name as NodeId };
    this.process = new SimProcess(world.timers);
    this.process.kill();
    this.clock = new SimClock(world.timers, this.process, rate, 0);
    this.#disk = new StoreDisk({
      scheduler: this.#diskTime,
      random: world.random.fork(),
      volume: VOLUME,
      deployment,
      blocks: VOLUME_BLOCKS,
      etcdClusterId: ETCD_CLUSTER,
    });
  }

  get up(): boolean {
    return this.process.alive;
  }

  get listens(): boolean {
    return this.up && this.deployment !== undefined && !this.deployment.halted;
  }

  /** Whether its copy may have lost acknowledged writes, whoever knows. */
  get unclean(): boolean {
    return this.store?.state.unclean ?? this.#uncleanWhileAway;
  }

  /** Runs from the start of the process to the open deployment. */
  async start(): Promise<void> {
    const { timers, random, etcd } = this.#world;
    this.#world.trace(this.name, 'starts');
    this.process = new SimProcess(timers);
    this.clock = new SimClock(timers, this.process, this.#rate, random.int(0, 1_000_000));
    const diskClock = new SimClock(this.#diskTime, this.process, 1, 0);
    await this.#open(this.#disk.open(this.process, diskClock));
    if (this.up) etcd.watch(this.name, this.name, (record) => this.deployment?.onMembership(record));
  }

  async #open(opening: Promise<DeploymentStore>): Promise<void> {
    let outcome: 'opened' | 'failed' | undefined;
    opening.then(
      (store) => {
        outcome = 'opened';
        this.store = store;
      },
      (error: unknown) => {
        outcome = 'failed';
        this.#judge(error);
      },
    );
    await this.#diskTime.run(this.#diskTime.now + OPEN_MS, () => outcome !== undefined);
    if (outcome === 'opened') this.#serve(this.store!);
    else this.crash(false, () => 0);
  }

  #serve(store: DeploymentStore): void {
    const world = this.#world;
    const { links, random } = world;
    const deployment = new ReplicatedDeployment({
      self: { ...this.placement, volume: VOLUME },
      store,
      clock: this.clock,
      random: random.fork(),
      links: {
        send: (to, message) => this.#send(to.node, message),
        isUp: (node) => links.isUp(this.name, node),
        version: (node) => (links.isUp(this.name, node) ? VERSION_WITH_MARKS : 0),
      },
      memberships: this.#memberships(),
      settings: { ...DEFAULT_SETTINGS, ...world.settings },
      etcdClusterId: ETCD_CLUSTER,
      events: {
        attention: (reason) => {
          world.trace(this.name, `attention ${reason}`);
          if (reason === 'store-failed') this.#failed();
        },
        log: (level, message, fields) => {
          world.trace(this.name, `${level}: ${message}`, fields);
          if (level === 'error' && 'error' in fields) this.#judge(fields.error);
        },
      },
      verify,
    });
    this.deployment = deployment;
    deployment.onVolume(world.spec);
    for (const { name, placement } of world.nodes) {
      if (name !== this.name && links.isUp(this.name, name)) deployment.onPeerUp(placement.node);
    }
    if (world.etcd.record !== undefined) deployment.onMembership(world.etcd.record);
  }

  /** Answers are for the life that has asked. */
  #memberships(): MembershipStore {
    const { etcd } = this.#world;
    const { process, name } = this;
    const mine = <T>(answer: Promise<T>): Promise<T> =>
      new Promise((resolve) => {
        void answer.then(process.wrap(resolve));
      });
    return { swap: (expected, next) => mine(etcd.swap(name, expected, next)), read: () => mine(etcd.read(name)) };
  }

  #judge(error: unknown): void {
    const failure = error instanceof Error ? error : new Error(String(error));
    if (this.#mayFail && (failure.name === 'DiskError' || failure.name === 'StoreFailedError')) return;
    this.#world.problem(`${this.name}: ${failure.stack ?? failure.message}`, failure);
  }

  /** Like the host: the store is opened anew within the same process. */
  #failed(): void {
    this.#world.queues.post(`${this.name} reopens`, this.name, 'its store', () => this.#open(this.#disk.reopen()));
  }

  /** The process ends; with `power`, what was not synced is gone as well. */
  crash(power: boolean, keep: (queue: string) => number): void {
    const { links, etcd, queues } = this.#world;
    this.#world.trace(this.name, power ? 'loses power' : 'is killed');
    this.#uncleanWhileAway = power || this.unclean;
    this.process.kill();
    this.deployment = undefined;
    this.store = undefined;
    etcd.forget(this.name);
    queues.clear(this.name);
    links.crashed(this.name, keep);
    this.#disk.crash(power);
  }

  /** The disk does all that was asked of it until now. */
  async workDisk(): Promise<void> {
    await this.#diskTime.run(this.#diskTime.now + (this.#world.fewDelays ? 0 : DISK_MS));
  }

  /** A block is taken for damaged that is intact. */
  async suspectBlock(block: number): Promise<void> {
    const { store, deployment } = this;
    let indexed: IndexedBlock | undefined;
    void store
      ?.look([block as BlockNumber], (lookup) => {
        indexed = lookup(block as BlockNumber);
      })
      .catch(() => {});
    await this.workDisk();
    if (indexed?.kind === KIND_DATA) deployment?.heal([indexed]);
  }

  /** A stored payload goes bad, if there is one. */
  rot(random: SeededRandom): void {
    if (this.#disk.rot(random)) this.#world.trace(this.name, 'bits rot');
  }

  failNextSync(): void {
    this.#mayFail = true;
    this.#disk.failNextSync(true);
  }

  heal(): void {
    this.#disk.failNextSync(false);
  }

  status(): DeploymentStatus | undefined {
    return this.deployment?.status();
  }

  #send(to: NodeId, message: PeerMessage): void {
    const { links, nodes } = this.#world;
    const peer = nodes.find(({ name }) => name === to)!;
    const { deployment: from, node: fromNode } = this.placement;
    links.send(this.name, to, message, () => {
      peer.deployment?.onMessage({ volume: VOLUME, from, fromNode, to: peer.placement.deployment, message });
    });
  }

  onUp(peer: string): void {
    this.deployment?.onPeerUp(peer as NodeId);
  }

  onDown(peer: string): void {
    this.deployment?.onPeerDown(peer as NodeId);
  }

  openSession(link: SessionLink, message: FrontendMessage): void {
    if (message.type === 'open') this.deployment?.openSession(link, message);
    else this.deployment?.onFrontend(link, message);
  }
}
