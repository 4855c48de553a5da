/**
 * A whole cluster of production code on virtual time, from a seed: one volume, three nodes, frontends, etcd
 * and a controller, through faults, until all is healed; then everything that was promised is checked.
 */

import type { Durability, FailureMode, Membership, Placement } from '../../core/domain.js';
import { initialMembership } from '../../core/membership.js';
import { VERSION_WITH_MARKS } from '../../core/messages.js';
import type { IndexedBlock } from '../../core/ports.js';
import { KIND_ZERO } from '../../core/record.js';
import type { ReplicationSettings, VolumeSpec } from '../../core/replication/replicated-deployment.js';
import type { BlockNumber, DeploymentId, Generation, NodeId, SessionNumber, VolumeId } from '../../core/types.js';

import { SimController } from './controller.js';
import { SimEtcd } from './etcd.js';
import { Faults } from './faults.js';
import { History } from './history.js';
import { Leases } from './leases.js';
import { Network } from './network.js';
import { type NodeDisk, SimNode, type World } from './node.js';
import { Scheduler, SeededRandom } from './scheduler.js';
import { disturb, type Scope } from './scope.js';
import { SimClient, type WorkloadSettings } from './workload.js';

export interface SimulationOptions {
  readonly seed: number;
  /** Makes the disk of one node. */
  readonly disk: (options: {
    scheduler: Scheduler;
    random: SeededRandom;
    volume: VolumeId;
    deployment: DeploymentId;
    blocks: number;
    etcdClusterId: string;
  }) => NodeDisk;
  readonly trace?: (line: string) => void;
  /** Instead of a mixture by chance: this and nothing else happens. */
  readonly scope?: Scope;
  readonly settings?: Partial<ReplicationSettings>;
}

export interface SimulationResult {
  readonly seed: number;
  readonly problems: readonly string[];
  readonly virtualMs: number;
  /** Of the volume. */
  readonly copies: number;
  readonly counts: Readonly<Record<string, number>>;
}

const VOLUME_BLOCKS = 256;
const ALL_BLOCKS = Array.from({ length: VOLUME_BLOCKS }, (_, block) => block as BlockNumber);
const HEAL_TIMEOUT_MS = 120_000;
/** Copies of the volume, the primary's among them. Three are the most instructive. */
const COPIES = [1, 2, 3, 3, 3, 3, 4, 6];

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const simulation = new Simulation(options);
  return simulation.run();
}

class Simulation implements World {
  readonly scheduler = new Scheduler();
  readonly random: SeededRandom;
  readonly network: Network;
  readonly leases = new Leases(() => this.scheduler.now);
  readonly etcd: SimEtcd;
  readonly volume: VolumeId;
  readonly spec: VolumeSpec;
  readonly nodes: SimNode[] = [];
  readonly settings: Partial<ReplicationSettings>;
  readonly clients: SimClient[] = [];
  readonly protocolVersion: number = VERSION_WITH_MARKS;
  writing = true;
  readonly #options: SimulationOptions;
  readonly #controller: SimController;
  readonly #history: History;
  readonly #workload: WorkloadSettings;
  readonly #faults: Faults;
  readonly #problems: string[] = [];
  readonly #counts: Record<string, number> = {};
  readonly #maySyncFail: boolean;
  /** Nothing is written any more once all is healed, so that nothing is repaired by being overwritten. */
  readonly #healsQuietly: boolean;
  #generation = 0;
  #session = 0;
  #quiet = false;

  constructor(options: SimulationOptions) {
    this.#options = options;
    const random = new SeededRandom(options.seed);
    const leaseMs = random.pick([2_000, 4_000]);
    const settings = {
      leaseMs,
      leaseMarginMs: leaseMs / 20,
      openTimeoutMs: random.pick([50, 300, 1_500]),
      memberTimeoutMs: random.pick([800, 5_000]),
      memberGraceMs: random.pick([50, 500]),
      maxInFlightWrites: random.pick([8, 4_096]),
      catchUpBytes: random.pick([64, 4 << 20]),
      deadBlocksPerMessage: random.pick([2, 4_096]),
      shortfallMs: random.pick([2_000, 90_000]),
      // Not drawn: what a seed goes through otherwise stays as it was.
      backfillBlocks: [1, 4, 512][options.seed % 3]!,
      syncMarkMs: [0, 20, 5_000][Math.floor(options.seed / 3) % 3]!,
    };
    // Where the log is sent in small pieces, the stream stops early as well.
    this.settings = { ...settings, maxUnconfirmedBytes: 16 * settings.catchUpBytes, ...options.settings };
    this.random = random;
    this.network = new Network(this.scheduler, random.fork(), {
      minDelayMs: 0.1,
      maxDelayMs: random.pick([1, 3, 20]),
      slow: random.pick([0, 0.001, 0.01]),
    });
    this.etcd = new SimEtcd(this.network);
    this.volume = random.uuid() as VolumeId;
    const placements = Array.from(
      { length: options.scope === undefined ? random.pick(COPIES) : 3 },
      (_, i): Placement => ({ deployment: random.uuid() as DeploymentId, node: `n${i + 1}` as NodeId }),
    );
    const durability: Durability = random.chance(0.25) ? 'writethrough' : 'writeback';
    const failureMode: FailureMode = random.chance(0.6)
      ? { kind: 'alwayson' }
      : random.pick<FailureMode>([{ kind: 'hard' }, { kind: 'soft' }, { kind: 'threshold', threshold: 1 }]);
    this.spec = { replicas: placements.length - 1, failureMode, durability, placements };
    const etcdClusterId = 'sim';
    for (const placement of placements) {
      const { deployment } = placement;
      const disk = options.disk({
        scheduler: this.scheduler,
        random: random.fork(),
        volume: this.volume,
        deployment,
        blocks: VOLUME_BLOCKS,
        etcdClusterId,
      });
      this.nodes.push(new SimNode(this, placement, disk, random.between(0.99, 1.01)));
    }
    this.#workload = {
      blocks: random.pick([4, 12, 40, 200]),
      volumeBlocks: VOLUME_BLOCKS,
      pauseMs: options.scope === undefined ? random.pick([2, 8, 25, 60]) : Number.MAX_SAFE_INTEGER,
      maxPending: random.pick([4, 32, 64]),
      flushes: random.pick([0.005, 0.02, 0.1]),
      writethrough: durability === 'writethrough',
    };
    this.#history = new History(this.#workload.writethrough);
    this.#controller = new SimController(this);
    this.#faults = new Faults(this, this.#controller, random.fork());
    this.#maySyncFail = true;
    this.#healsQuietly = random.chance(0.4);
    this.etcd.onChange = (record, previous) => {
      this.trace('etcd', `epoch ${record.epoch}`, {
        primary: record.primary.node,
        inSync: record.inSync.map((member) => this.#nodeName(member)),
        active: record.active,
        history: record.history.at(-1),
        readOnly: record.readOnly,
      });
      this.#checkCandidate(record);
      this.#faults.onMembershipChange();
      if (record.lossVerifier !== previous.lossVerifier) {
        this.#history.losses.push({ at: this.scheduler.now });
        for (const client of this.clients) if (client.alive) client.onLoss();
      }
    };
  }

  /** [R10] Nobody who may have lost writes is chosen while a member has them all, wherever it is. */
  #checkCandidate(record: Membership): void {
    const { store } = this.node(record.primary.node);
    // A life that has ended meanwhile cannot open [2].
    if (record.active || store?.incarnation !== record.primary.incarnation || !store.state.unclean) return;
    const clean = this.nodes.filter((node) => record.inSync.includes(node.placement.deployment) && !node.unclean);
    if (clean.length === 0) return;
    this.#problems.push(
      `${record.primary.node} is unclean and was chosen though ${clean.map((node) => node.name)} is not`,
    );
  }

  #nodeName(deployment: DeploymentId): string {
    return this.nodes.find((node) => node.placement.deployment === deployment)?.name ?? deployment;
  }

  trace(who: string, what: string, fields?: Record<string, unknown>): void {
    this.#options.trace?.(
      `${this.scheduler.now.toFixed(2).padStart(11)} ${who.padEnd(10)} ${what}${fields === undefined ? '' : ` ${text(fields)}`}`,
    );
  }

  count(what: string, number: number): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + number;
  }

  attention(): void {
    this.#controller.wake();
  }

  failed(node: SimNode, error: unknown): void {
    const failure = error instanceof Error ? error : new Error(String(error));
    // A sync that failed by order of the faults is the disk's doing; everything else is a bug.
    if (this.#maySyncFail && failure.name === 'DiskError') this.count('store failures', 1);
    else if (failure.name === 'StoreFailedError') this.count('store failures', 1);
    else this.#problems.push(`${node.name} at ${this.scheduler.now.toFixed(1)}: ${failure.stack ?? failure.message}`);
  }

  node(id: NodeId): SimNode {
    return this.nodes.find((node) => node.placement.node === id)!;
  }

  /** Attaches the volume to a node: fences whoever had it. */
  attach(node: SimNode): void {
    this.#generation++;
    const { scheduler } = this;
    const start = (): void => {
      if (!node.up || node.deployment === undefined) return;
      const client = new SimClient(
        this,
        this.#history,
        this.#workload,
        node,
        this.clients.length + 1,
        this.#generation as Generation,
        () => ++this.#session as SessionNumber,
      );
      this.clients.push(client);
      this.trace(`client ${client.number}`, `attached on ${node.name}, generation ${this.#generation}`);
    };
    scheduler.after(1, start);
  }

  async run(): Promise<SimulationResult> {
    const { scheduler, nodes, random } = this;
    for (const node of nodes) node.start();
    await scheduler.run(10_000, () => nodes.every((node) => node.store !== undefined));
    const first = random.pick(nodes);
    this.etcd.create(
      initialMembership({
        volume: this.volume,
        primary: { ...first.placement, incarnation: first.store!.incarnation },
        inSync: nodes.map((node) => node.placement.deployment),
        etcdClusterId: 'sim',
      }),
    );
    for (const node of nodes) node.deployment?.onMembership(this.etcd.record);
    this.#watchForTwoPrimaries();
    if (this.#options.scope === undefined) await this.#chaos();
    else await this.#runScope(this.#options.scope, first);
    if (this.#problems.length === 0) await this.#healAndCheck();
    return {
      seed: this.#options.seed,
      problems: this.#problems,
      virtualMs: scheduler.now,
      copies: nodes.length,
      counts: {
        ...this.#counts,
        ...this.#faults.counts,
        events: scheduler.events,
        messages: this.network.messages,
        operations: this.#history.operations.length,
        'operations done': this.#history.operations.filter((operation) => operation.status === 'ok').length,
        'membership changes': this.etcd.swaps,
        'unknown swaps': this.etcd.unknownOutcomes,
        promotions: this.#controller.failovers,
        syncs: this.#controller.syncsStarted,
        losses: this.#history.losses.length,
      },
    };
  }

  async #chaos(): Promise<void> {
    const { scheduler, nodes, random } = this;
    this.attach(random.pick(nodes));
    const chaosUntil = scheduler.now + random.between(4_000, 18_000);
    this.#faults.begin(chaosUntil);
    await scheduler.run(chaosUntil, () => this.#problems.length > 0);
  }

  async #runScope(scope: Scope, primary: SimNode): Promise<void> {
    const nodes = [primary, ...this.nodes.filter((node) => node !== primary)];
    this.attach(nodes[scope.attached]!);
    const { scheduler, network } = this;
    const promote = (): void => this.#controller.promote();
    const events = await disturb(scope, { scheduler, network, nodes, promote, client: () => this.clients[0]! });
    this.count('scope events', events);
  }

  /** While one primary serves, no other does: leases. */
  #watchForTwoPrimaries(): void {
    const look = (): void => {
      if (this.#quiet) return;
      const serving = this.nodes.filter((node) => node.deployment?.status().serving);
      if (serving.length > 1)
        this.#problems.push(`two primaries serve: ${serving.map((node) => node.name).join(', ')}`);
      this.scheduler.after(7, look);
    };
    look();
  }

  async #healAndCheck(): Promise<void> {
    const { scheduler, nodes } = this;
    this.trace('faults', 'all is healed');
    this.#faults.heal();
    if (this.#healsQuietly) this.writing = false;
    const healedAt = scheduler.now;
    const live = (): SimClient | undefined =>
      this.clients.find((client) => client.alive && client.generation === this.#generation);
    const pump = (): void => {
      if (this.#quiet) return;
      for (const node of nodes) node.start();
      if (live() === undefined) this.attach(this.random.pick(nodes.filter((node) => node.up)) ?? nodes[0]!);
      scheduler.after(1_000, pump);
    };
    pump();
    const whole = (): boolean =>
      this.etcd.record!.inSync.length === nodes.length &&
      this.etcd.record!.active &&
      !this.etcd.record!.readOnly &&
      nodes.every((node) => node.deployment !== undefined) &&
      nodes.some((node) => node.deployment?.status().serving);
    await scheduler.run(healedAt + HEAL_TIMEOUT_MS, () => whole() && live() !== undefined);
    if (!whole()) {
      this.#problems.push(`not whole ${HEAL_TIMEOUT_MS} ms after healing: ${text({ ...this.etcd.record })}`);
      return;
    }
    // A last look at every block through the frontend, then silence.
    await scheduler.run(scheduler.now + 500);
    await scheduler.run(healedAt + HEAL_TIMEOUT_MS, () => whole() && live() !== undefined);
    for (const client of this.clients) client.stop();
    const client = live();
    if (client === undefined) {
      this.#problems.push('no frontend after healing');
      return;
    }
    for (let block = 0; block < this.#workload.blocks; block++) client.read(block, 1);
    client.flush();
    await scheduler.run(scheduler.now + HEAL_TIMEOUT_MS, () => client.pending === 0);
    if (client.pending > 0) {
      this.#problems.push(`${client.pending} requests unanswered after healing`);
      const waiting = this.#history.operations.filter((o) => o.client === client.number && o.status === 'pending');
      for (const operation of waiting) this.trace(`client ${client.number}`, 'waits', { ...operation });
    }
    await scheduler.run(scheduler.now + 2_000);
    this.#quiet = true;
    this.#controller.running = false;
    if (!whole()) this.#problems.push('did not stay whole');
    await this.#compareCopies();
    if (this.leases.kept > 0) this.#problems.push(`${this.leases.kept} payloads were never given back`);
    this.#problems.push(...this.#history.problems(this.#workload.blocks));
    for (const block of new Set(this.#problems.map((problem) => /block (\d+)/.exec(problem)?.[1]))) {
      if (block === undefined) continue;
      for (const line of this.#history.ofBlock(Number(block))) this.trace('history', `block ${block}: ${line}`);
    }
    for (const operation of this.#history.operations) {
      if (operation.status === 'silent-loss') this.#problems.push(`flush ${operation.id} did not report a loss`);
    }
  }

  /** I6: all in-sync copies hold identical blocks under identical orders. */
  async #compareCopies(): Promise<void> {
    const stores = this.nodes.map((node) => node.store!);
    let done = false;
    const indexes = Promise.all(
      stores.map((store) => store.look(ALL_BLOCKS, (lookup) => ALL_BLOCKS.map((block) => identity(lookup(block))))),
    ).then(([expected, ...others]) => {
      done = true;
      for (const found of others) {
        for (const block of ALL_BLOCKS) {
          if (found[block] === expected![block]) continue;
          this.#problems.push(`copies differ in block ${block}: ${expected![block]} and ${found[block]}`);
        }
      }
    });
    await this.scheduler.run(this.scheduler.now + 5_000, () => done);
    if (done) await indexes;
    else this.#problems.push('the index of a copy cannot be read');
    done = false;
    const read = Promise.all(stores.map((store) => store.read(0 as BlockNumber, VOLUME_BLOCKS / 2))).then(
      (copies) => {
        done = true;
        for (const copy of copies) {
          if (Buffer.compare(copy.batch.payload, copies[0]!.batch.payload) !== 0) {
            this.#problems.push('payloads differ between copies');
          }
        }
      },
      (error: Error) => {
        done = true;
        // Rot that nobody has read yet is found by the scrub, not by this comparison.
        if (error.name !== 'BadBlockError') this.#problems.push(`a copy cannot be read: ${error.message}`);
      },
    );
    await this.scheduler.run(this.scheduler.now + 5_000, () => done);
    await read;
  }
}

/** A block that one copy holds damaged, or intact, is the same as one that another knows to be lost. */
function identity(indexed: IndexedBlock | undefined): string {
  if (indexed === undefined) return 'never written';
  const { order, kind, checksumLow, checksumHigh } = indexed;
  const what = kind === KIND_ZERO ? 'zeroes' : `data ${checksumLow.toString(16)} ${checksumHigh.toString(16)}`;
  return `(${order.epoch}, ${order.sequence}) ${what}`;
}

export function text(fields: Record<string, unknown>): string {
  return JSON.stringify(fields, (_, value: unknown) => (value instanceof Error ? value.stack : value));
}
