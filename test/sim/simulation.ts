/**
 * A whole cluster of production code on virtual time, from a seed: nodes, volumes that share them, frontends, etcd and
 * the volumes' workflows, through faults, until all is healed; then everything that was promised is checked.
 */

import type { FailureMode, Membership, Placement } from '../../core/domain.js';
import { initialMembership } from '../../core/membership.js';
import { VERSION_WITH_MARKS } from '../../core/messages.js';
import type { ReplicationSettings } from '../../core/replication/replicated-deployment.js';
import type { DeploymentId, NodeId } from '../../core/types.js';
import { checkLeftCopies, checkPrimaries, compareCopies, shutDown } from './checks.js';
import { MAX_LATE_MS, SimEtcd } from './etcd.js';
import { Faults } from './faults.js';
import { isLanguageError } from './language-error.js';
import { Leases, SLAB_BYTES } from './leases.js';
import { Network } from './network.js';
import { SimNode } from './node.js';
import { StoresDisk } from './node-disk.js';
import { RestoredEtcd } from './restored-etcd.js';
import { Scheduler, SeededRandom } from './scheduler.js';
import { disturb, type Scope } from './scope.js';
import { randomCluster, randomSettings, randomWorkload } from './shape.js';
import { summaryOf, type TraceLine } from './trace.js';
import { SimVolume } from './volume.js';
import type { Envelope, World } from './world.js';

export interface SimulationOptions {
  readonly seed: number;
  readonly trace?: (line: TraceLine) => void;
  /** Messages are told of, too. */
  readonly traceMessages?: boolean;
  /** Instead of a mixture by chance: this and nothing else happens, to one volume with three copies. */
  readonly scope?: Scope;
  readonly settings?: Partial<ReplicationSettings>;
}

export interface SimulationResult {
  readonly seed: number;
  readonly problems: readonly string[];
  /** The first of them that was an error of the language itself: no check has found it. */
  readonly languageError?: string;
  readonly virtualMs: number;
  /** Of all volumes, at the beginning. */
  readonly copies: number;
  readonly counts: Readonly<Record<string, number>>;
}

const VOLUME_BLOCKS = 256;
const HEAL_TIMEOUT_MS = 120_000;
const LAST_READS_MS = 120_000;
const WATCH_MS = 17;

/** What has gone wrong on a disk by order of the faults, and what follows from it, whose cause it is. */
const EXCUSED = new Set(['DiskError']);

function isOfTheDisk(error: unknown): boolean {
  return error instanceof Error && (EXCUSED.has(error.name) || isOfTheDisk(error.cause));
}

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const simulation = new Simulation(options);
  return simulation.run();
}

class Simulation implements World {
  readonly scheduler = new Scheduler();
  readonly random: SeededRandom;
  readonly network: Network;
  readonly leases = new Leases(SLAB_BYTES, (how) => this.#problems.push(how));
  readonly etcd: SimEtcd;
  readonly nodes: SimNode[];
  readonly volumes: SimVolume[];
  readonly settings: ReplicationSettings;
  readonly protocolVersion: number = VERSION_WITH_MARKS;
  writing = true;
  readonly #options: SimulationOptions;
  readonly #faults: Faults;
  readonly #problems: string[] = [];
  #languageError: string | undefined;
  readonly #counts: Record<string, number> = {};
  /** Nothing is written any more once all is healed, so that nothing is repaired by being overwritten. */
  readonly #healsQuietly: boolean;
  readonly #etcdIsRestored: boolean;
  readonly #lossIsAccepted: boolean;
  readonly garbling: SeededRandom | undefined;
  #quiet = false;

  constructor(options: SimulationOptions) {
    this.#options = options;
    const random = new SeededRandom(options.seed);
    this.random = random;
    this.settings = { ...randomSettings(random), ...options.settings };
    this.network = new Network(this.scheduler, random.fork(), {
      minDelayMs: 0.1,
      maxDelayMs: random.pick([1, 3, 20]),
      slow: random.pick([0, 0.001, 0.01]),
    });
    if (options.traceMessages === true) this.network.onSend = (...sent) => this.#traceMessage(...sent);
    this.etcd = new SimEtcd(this.network);
    const shape = options.scope === undefined ? randomCluster(random) : { nodes: 3, copies: [3] };
    this.nodes = Array.from({ length: shape.nodes }, (_, i) => {
      const disk = new StoresDisk({ scheduler: this.scheduler, random: random.fork(), blocks: VOLUME_BLOCKS });
      return new SimNode(this, `n${i + 1}` as NodeId, disk, random.between(0.99, 1.01));
    });
    this.volumes = shape.copies.map((copies, i) => this.#newVolume(i, copies, shape.copies.length));
    this.#faults = new Faults(this, random.fork());
    this.#healsQuietly = random.chance(0.4);
    this.#etcdIsRestored = options.scope === undefined && random.chance(0.06);
    // By a generator of its own: the other seeds keep their courses.
    const own = new SeededRandom(~options.seed);
    this.#lossIsAccepted = options.scope === undefined && own.chance(0.05);
    this.garbling = options.scope === undefined && own.chance(0.1) ? own : undefined;
    this.etcd.onChange = (record) => this.#onMembership(record);
  }

  #newVolume(i: number, copies: number, volumes: number): SimVolume {
    const { random } = this;
    const nodes = this.#options.scope === undefined ? random.shuffled(this.nodes) : this.nodes;
    const placements = nodes
      .slice(0, copies)
      .map(({ id }): Placement => ({ deployment: random.uuid() as DeploymentId, node: id }));
    const failureMode: FailureMode = random.chance(0.6)
      ? { kind: 'alwayson' }
      : random.pick<FailureMode>([{ kind: 'hard' }, { kind: 'soft' }, { kind: 'threshold', threshold: 1 }]);
    const durability = random.chance(0.25) ? 'writethrough' : 'writeback';
    const workload = randomWorkload(random, {
      volumeBlocks: VOLUME_BLOCKS,
      writethrough: durability === 'writethrough',
      volumes,
    });
    return new SimVolume(this, {
      number: i + 1,
      random: random.fork(),
      spec: { replicas: copies - 1, failureMode, durability, placements },
      // In a scope, nobody does anything by himself.
      workload: this.#options.scope === undefined ? workload : { ...workload, pauseMs: Number.MAX_SAFE_INTEGER },
    });
  }

  /* ---- what the cluster tells ---- */

  trace(who: string, what: string, fields?: Readonly<Record<string, unknown>>, volume?: number): void {
    this.#options.trace?.({
      at: this.scheduler.now,
      who,
      what,
      ...(fields !== undefined && { fields }),
      ...(volume !== undefined && { volume }),
    });
  }

  #traceMessage(from: string, to: string, sent: object): void {
    const { volume, message = sent } = sent as Partial<Envelope>;
    const { type, ...rest } = message as { type: string };
    const { fields, blocks } = summaryOf(rest);
    this.#options.trace?.({
      at: this.scheduler.now,
      who: from,
      what: `→ ${to} ${type}`,
      fields,
      ...(volume !== undefined && { volume: volume.number }),
      ...(blocks !== undefined && { blocks }),
    });
  }

  get damaged(): boolean {
    return this.nodes.some(({ disk }) => disk.damaged);
  }

  count(what: string, number: number): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + number;
  }

  failed(node: NodeId, error: unknown): void {
    const failure = error instanceof Error ? error : new Error(String(error));
    if (isOfTheDisk(failure)) {
      this.count('store failures', 1);
      return;
    }
    const problem = `${node} at ${this.scheduler.now.toFixed(1)}: ${failure.stack ?? failure.message}`;
    this.#problems.push(problem);
    if (isLanguageError(failure)) this.#languageError ??= problem;
  }

  node(id: NodeId): SimNode {
    return this.nodes.find((node) => node.id === id)!;
  }

  #onMembership(record: Membership): void {
    const volume = this.volumes.find(({ id }) => id === record.volume)!;
    volume.trace('etcd', `epoch ${record.epoch}`, {
      primary: record.primary.node,
      inSync: record.inSync.map((member) => volume.nodeOf(member)?.name ?? member),
      active: record.active,
      history: record.history.at(-1),
      readOnly: record.readOnly,
    });
    volume.onRecord(record);
    this.#faults.onMembershipChange();
  }

  /* ---- the run ---- */

  async run(): Promise<SimulationResult> {
    const { scheduler } = this;
    const copies = this.volumes.reduce((sum, volume) => sum + volume.spec.placements.length, 0);
    await this.#createVolumes();
    this.#watch();
    const { scope } = this.#options;
    if (scope === undefined) await this.#chaos();
    else await this.#runScope(scope);
    if (this.problems.length === 0) await this.#healAndCheck();
    const operations = this.volumes.flatMap(({ history }) => history.operations);
    return {
      seed: this.#options.seed,
      problems: this.problems,
      ...(this.#languageError !== undefined && { languageError: this.#languageError }),
      virtualMs: scheduler.now,
      copies,
      counts: {
        ...this.#counts,
        ...this.#faults.counts,
        events: scheduler.events,
        messages: this.network.messages,
        nodes: this.nodes.length,
        volumes: this.volumes.length,
        copies,
        frontends: this.volumes.reduce((sum, { clients }) => sum + clients.length, 0),
        operations: operations.length,
        'operations done': operations.filter(({ status }) => status === 'ok').length,
        'membership changes': this.etcd.swaps,
        'unknown swaps': this.etcd.unknownOutcomes,
        losses: this.volumes.reduce((sum, { history }) => sum + history.losses.length, 0),
      },
    };
  }

  get problems(): string[] {
    return [...this.#problems, ...this.volumes.flatMap(({ problems }) => problems)];
  }

  get #failed(): boolean {
    return this.#problems.length > 0 || this.volumes.some(({ problems }) => problems.length > 0);
  }

  async #createVolumes(): Promise<void> {
    const { scheduler, nodes, volumes, random } = this;
    for (const node of nodes) node.start();
    await scheduler.run(10_000, () => nodes.every((node) => node.links.begun));
    for (const volume of volumes) {
      for (const { deployment, node } of volume.spec.placements) void this.node(node).create(volume, deployment);
    }
    const made = (volume: SimVolume): boolean =>
      volume.spec.placements.every(({ deployment, node }) => this.node(node).copies.has(deployment));
    await scheduler.run(20_000, () => volumes.every(made));
    for (const volume of volumes) {
      const { placements } = volume.spec;
      const first = random.pick(placements);
      const { incarnation } = this.node(first.node).copies.get(first.deployment)!.store;
      this.etcd.create(
        initialMembership({
          volume: volume.id,
          primary: { ...first, incarnation },
          inSync: placements.map(({ deployment }) => deployment),
          etcdClusterId: this.etcd.clusterId,
        }),
      );
    }
  }

  async #chaos(): Promise<void> {
    for (const volume of this.volumes) volume.attach(this.random.pick(this.nodes));
    await this.#disturb(this.random.between(4_000, 18_000));
    if (!(this.#etcdIsRestored || this.#lossIsAccepted) || this.#failed) return;
    this.#faults.heal();
    if (!this.#lossIsAccepted && !(await this.#becomeWhole())) return;
    const etcd = new RestoredEtcd(this);
    const problem = await (this.#lossIsAccepted ? etcd.happenInTrouble() : etcd.happen());
    if (problem !== undefined) this.#problems.push(problem);
    else await this.#disturb(this.random.between(1_000, 5_000));
    if (!this.#lossIsAccepted || this.#failed) return;
    this.#faults.heal();
    const left = await etcd.allAreBack();
    if (left !== undefined) this.#problems.push(left);
  }

  async #disturb(ms: number): Promise<void> {
    const { scheduler } = this;
    const until = scheduler.now + ms;
    this.#faults.begin(until);
    await scheduler.run(until, () => this.#failed);
  }

  async #runScope(scope: Scope): Promise<void> {
    const [volume] = this.volumes;
    const { scheduler, network } = this;
    const primary = volume!.primary!;
    const nodes = [primary, ...this.nodes.filter((node) => node !== primary)];
    volume!.attach(nodes[scope.attached]!);
    const events = await disturb(scope, {
      scheduler,
      network,
      nodes,
      serving: () => volume!.serving,
      promote: () => volume!.controller.promote(),
      client: () => volume!.clients[0]!,
    });
    this.count('scope events', events);
  }

  /** What must hold at any moment. */
  #watch(): void {
    const look = (): void => {
      if (this.#quiet) return;
      for (const volume of this.volumes) checkPrimaries(this, volume);
      this.scheduler.after(WATCH_MS, look);
    };
    look();
  }

  /** Every volume is whole and used by the frontend of its last attachment; false and a problem if not in time. */
  async #becomeWhole(): Promise<boolean> {
    const { scheduler, nodes, volumes } = this;
    let done = false;
    const until = scheduler.now + HEAL_TIMEOUT_MS;
    const pump = (): void => {
      if (done) return;
      for (const node of nodes) node.start();
      for (const volume of volumes) {
        if (volume.client === undefined) volume.attach(this.random.pick(nodes.filter((node) => node.up)) ?? nodes[0]!);
      }
      scheduler.after(1_000, pump);
    };
    pump();
    const isWhole = (): boolean => volumes.every((volume) => volume.client !== undefined && volume.whole);
    await scheduler.run(until, () => this.#failed || isWhole());
    done = true;
    for (const volume of volumes) {
      if (volume.whole) continue;
      volume.problem(`not whole ${HEAL_TIMEOUT_MS} ms after healing: ${JSON.stringify(volume.record)}`);
    }
    return !this.#failed;
  }

  async #healAndCheck(): Promise<void> {
    const { scheduler, volumes } = this;
    this.trace('faults', 'all is healed');
    this.#faults.heal();
    if (this.#healsQuietly) this.writing = false;
    // A swap that somebody gave up long ago may still take effect, and name another primary.
    const landed = scheduler.now + MAX_LATE_MS;
    if (!(await this.#becomeWhole())) return;
    await scheduler.run(Math.max(landed, scheduler.now + 500));
    if (!(await this.#becomeWhole())) return;
    await this.#lookAtEverything();
    await scheduler.run(scheduler.now + 2_000);
    this.#quiet = true;
    for (const volume of volumes) {
      volume.controller.running = false;
      if (!volume.whole) volume.problem('did not stay whole');
      else await compareCopies(this, volume);
      // An older etcd may know neither of the copy nor that it was given up.
      if (!this.#etcdIsRestored && !this.#lossIsAccepted) checkLeftCopies(this, volume);
      volume.checkHistory();
    }
    this.#problems.push(...(await shutDown(this)));
  }

  /** A last look at every block through the frontends, then silence. */
  async #lookAtEverything(): Promise<void> {
    const { scheduler, volumes } = this;
    for (const volume of volumes) {
      for (const client of volume.clients) client.stop();
      for (let block = 0; block < volume.workload.blocks; block++) volume.client?.read(block, 1);
      volume.client?.flush();
    }
    const pending = (volume: SimVolume): number => volume.client?.pending ?? 0;
    await scheduler.run(scheduler.now + LAST_READS_MS, () => volumes.every((volume) => pending(volume) === 0));
    for (const volume of volumes) {
      if (pending(volume) > 0) volume.problem(`${pending(volume)} requests unanswered after healing`);
    }
  }
}
