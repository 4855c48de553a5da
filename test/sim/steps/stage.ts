/**
 * A volume with three copies in production code, whose next step is chosen from outside: which message arrives, whose
 * disk works, what fails. No step takes time but the one that lets time pass, so any order is possible that delays of
 * whatever length could make.
 */

import { createHash } from 'node:crypto';
import type { Durability, Membership } from '../../../core/domain.js';
import { initialMembership } from '../../../core/membership.js';
import type { IndexedBlock } from '../../../core/ports.js';
import { KIND_ZERO } from '../../../core/record.js';
import type { ReplicationSettings, VolumeSpec } from '../../../core/replication/replicated-deployment.js';
import type { BlockNumber } from '../../../core/types.js';
import { History } from '../history.js';
import { lackOfInSync, type ObservedCopy } from '../in-sync.js';
import { isLanguageError } from '../language-error.js';
import { Scheduler, SeededRandom } from '../scheduler.js';
import { StepClient } from './client.js';
import { type Mood, StepController } from './controller.js';
import { StepEtcd } from './etcd.js';
import { fingerprint } from './fingerprint.js';
import { Links } from './links.js';
import { ETCD_CLUSTER, StepNode, type StepWorld, VOLUME, VOLUME_BLOCKS } from './node.js';
import { Queues } from './queues.js';

/** Short, so that few steps of time are needed; their proportions are those of the real ones. */
const SETTINGS: Partial<ReplicationSettings> = {
  leaseMs: 200,
  leaseMarginMs: 10,
  leaseRenewMs: 60,
  memberTimeoutMs: 300,
  flushTimeoutMs: 600,
  memberGraceMs: 80,
  openTimeoutMs: 120,
  swapRetryMs: 40,
  greetRetryMs: 40,
  tickMs: 20,
  suspectRepeatMs: 400,
  syncTimeoutMs: 1_000,
  backfillBlocks: 1,
  syncMarkMs: 0,
  drainTimeoutMs: 200,
  fetchTimeoutMs: 200,
  mendIntervalMs: 50,
  mendTimeoutMs: 400,
  etcdBehindMs: 5_000,
};
export const TIME_STEP_MS = 20;
/** Rounds of everything in its order in which all has to be whole again. */
const CALM_ROUNDS = 400;
/** Without time nothing is repeated; what is under way is some hundred steps at most. */
const SETTLING_STEPS = 10_000;
/** Rounds of the disks' work from which nothing came: what was asked of them needs no more. */
const IDLE_ROUNDS = 3;
const ALL_BLOCKS = Array.from({ length: VOLUME_BLOCKS }, (_, block) => block as BlockNumber);

export interface StageOptions {
  readonly seed: number;
  readonly durability: Durability;
  readonly settings?: Partial<ReplicationSettings>;
  readonly trace?: (line: string) => void;
  /** Disks work, and the controller is answered, at once: that other things happen meanwhile shows without it, too. */
  readonly fewDelays?: boolean;
}

export class Stage implements StepWorld {
  readonly queues = new Queues();
  readonly timers = new Scheduler();
  readonly random: SeededRandom;
  readonly etcd = new StepEtcd(this.queues);
  readonly spec: VolumeSpec;
  readonly settings: Partial<ReplicationSettings>;
  readonly fewDelays: boolean;
  readonly nodes: readonly StepNode[];
  readonly links: Links;
  readonly controller: StepController;
  readonly history: History;
  readonly clients: StepClient[] = [];
  readonly problems: string[] = [];
  /** The first problem that was an error of the language itself. */
  languageError: string | undefined;
  steps = 0;
  /** Of nodes, since they changed last. */
  readonly #fingerprints = new Map<string, string>();
  readonly #trace: ((line: string) => void) | undefined;

  constructor(options: StageOptions) {
    this.#trace = options.trace;
    this.random = new SeededRandom(options.seed);
    this.settings = { ...SETTINGS, ...options.settings };
    this.fewDelays = options.fewDelays === true;
    this.nodes = ['a', 'b', 'c'].map((name) => new StepNode(this, name, this.random.between(0.99, 1.01)));
    const { durability } = options;
    const placements = this.nodes.map(({ placement }) => placement);
    this.spec = { replicas: placements.length - 1, failureMode: { kind: 'alwayson' }, durability, placements };
    this.links = new Links(this.queues, this.nodes);
    this.controller = new StepController(this);
    if (this.fewDelays) this.queues.atOnce.add(this.controller.name);
    this.history = new History(durability === 'writethrough');
    this.etcd.onChange = (record, previous) => this.#onChange(record, previous);
  }

  trace(who: string, what: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#trace?.(
      `${String(this.steps).padStart(5)} ${who.padEnd(12)} ${what}${fields === undefined ? '' : ` ${JSON.stringify(fields)}`}`,
    );
  }

  problem(what: string, error?: unknown): void {
    this.trace('problem', what);
    this.problems.push(what);
    if (isLanguageError(error)) this.languageError ??= what;
  }

  /** These have changed; undefined: everybody may have. */
  changed(names: readonly string[] | undefined): void {
    if (names === undefined) this.#fingerprints.clear();
    else for (const name of names) this.#fingerprints.delete(this.#processOf(name));
  }

  #processOf(name: string): string {
    return this.clients.find((client) => client.name === name)?.node.name ?? name;
  }

  /** Of how it is, not of how it came to that: neither the number of steps nor what was told on the way. */
  fingerprint(): string {
    const { links, etcd, controller, history, timers, queues, random } = this;
    const named = { links, etcd, controller, history, timers, queues, random };
    const parts = new Map<object, string>([[this, 'stage']]);
    for (const part of [...this.nodes, ...this.clients]) parts.set(part, part.name);
    for (const [name, part] of Object.entries(named)) parts.set(part, name);
    let all = '';
    for (const [part, name] of parts) {
      if (part === this) continue;
      const isNode = part instanceof StepNode;
      const print = (isNode ? this.#fingerprints.get(name) : undefined) ?? fingerprint(part, parts);
      if (isNode) this.#fingerprints.set(name, print);
      all += print;
    }
    return createHash('sha1').update(all).digest('base64');
  }

  /** The newest attachment. */
  get client(): StepClient | undefined {
    return this.clients.at(-1);
  }

  node(name: string): StepNode {
    return this.nodes.find((node) => node.name === name)!;
  }

  #onChange(record: Membership, previous: Membership): void {
    this.trace('etcd', `epoch ${record.epoch}`, {
      primary: record.primary.node,
      inSync: this.nodes
        .filter(({ placement }) => record.inSync.includes(placement.deployment))
        .map(({ name }) => name),
      active: record.active,
      history: record.history.at(-1),
    });
    const primary = this.node(record.primary.node);
    const named = primary.store?.incarnation === record.primary.incarnation;
    const clean = this.nodes.filter(
      ({ placement, unclean }) => record.inSync.includes(placement.deployment) && !unclean,
    );
    if (!record.active && named && primary.unclean && clean.length > 0) {
      this.problem(`${primary.name} is unclean and was chosen though ${clean.map(({ name }) => name)} is not`);
    }
    if (record.lossVerifier !== previous.lossVerifier) {
      this.history.losses.push({ at: this.steps, everything: false });
      for (const client of this.clients) if (client.alive) client.onLoss();
    }
  }

  /** All nodes run, are connected, and the first one serves. */
  async open(): Promise<void> {
    for (const node of this.nodes) await node.start();
    const [first] = this.nodes;
    this.etcd.create(
      initialMembership({
        volume: VOLUME,
        primary: { ...first!.placement, incarnation: first!.store!.incarnation },
        inSync: this.nodes.map(({ placement }) => placement.deployment),
        etcdClusterId: ETCD_CLUSTER,
      }),
    );
    for (let round = 0; round < CALM_ROUNDS && first!.status()?.serving !== true; round++) {
      this.connectAll();
      await this.settle();
      await this.pass();
    }
  }

  connectAll(): void {
    for (const [a, b] of this.links.connectable()) this.links.connect(a, b);
  }

  attach(node: StepNode): StepClient {
    const client = new StepClient(this, this.history, () => this.steps, node, this.clients.length + 1);
    this.trace(client.name, `on ${node.name}`);
    this.clients.push(client);
    return client;
  }

  /** The head of a queue happens. */
  async take(queue: string): Promise<void> {
    this.steps++;
    if (this.#trace !== undefined) this.trace(queue, described(this.queues.head(queue)));
    await this.queues.take(queue);
    await settled();
    this.#watch();
  }

  async disk(node: StepNode): Promise<void> {
    this.steps++;
    await node.workDisk();
    this.#watch();
  }

  /** Time passes on all nodes: timers run. */
  async pass(ms = TIME_STEP_MS): Promise<void> {
    this.steps++;
    await this.timers.run(this.timers.now + ms);
    this.#watch();
  }

  crash(node: StepNode, power: boolean, keep: (queue: string) => number): void {
    this.steps++;
    if (!node.up) return;
    for (const client of this.clients) {
      if (client.server === node) client.disconnect(keep);
      if (client.node === node) client.end();
    }
    node.crash(power, keep);
    this.controller.lost(node);
  }

  /** No connection between these nodes, and those of frontends neither, until all is healed. */
  cut(a: StepNode, b: StepNode, keep: (queue: string) => number): void {
    this.links.cut(a.name, b.name, keep);
    for (const client of this.clients) {
      const { server } = client;
      if (server !== undefined && this.links.isCut(client.node.name, server.name)) client.disconnect(keep);
    }
  }

  cutOff(node: StepNode, keep: (queue: string) => number): void {
    for (const other of this.nodes) if (other !== node) this.cut(node, other, keep);
  }

  /** Nothing reaches it and nothing comes from it, not even word of a new record; nobody notices. */
  mute(node: StepNode): void {
    for (const { name } of this.nodes) {
      if (name === node.name) continue;
      this.links.hold(node.name, name);
      this.links.hold(name, node.name);
    }
    this.queues.block(`watch>${node.name}`);
  }

  heal(): void {
    this.links.heal();
    for (const { name } of this.nodes) this.queues.unblock(`watch>${name}`);
  }

  async start(node: StepNode): Promise<void> {
    this.steps++;
    if (!node.up) await node.start();
  }

  look(mood: Mood): void {
    this.controller.look(mood);
  }

  /** While one primary serves, no other does: leases. And what it counts as committed, every copy in sync has. */
  #watch(): void {
    const serving = this.nodes.filter((node) => node.status()?.serving === true);
    if (serving.length > 1) this.problem(`two primaries serve: ${serving.map(({ name }) => name)}`);
    const lack = this.etcd.record && lackOfInSync(this.etcd.record, this.openCopies);
    if (lack !== undefined) this.problem(lack);
  }

  get openCopies(): ObservedCopy[] {
    return this.nodes.flatMap(({ name, deployment }) =>
      deployment === undefined ? [] : [{ name, replicated: deployment }],
    );
  }

  /** Everything that is under way arrives, in turns, and disks do their work, until nothing is left, or something is wrong. */
  async settle(): Promise<void> {
    const until = this.steps + SETTLING_STEPS;
    for (let idle = 0; idle < IDLE_ROUNDS && this.problems.length === 0; idle++) {
      if (this.steps > until) this.problem('no end of messages, though no time passes');
      for (const queue of this.queues.ready()) {
        idle = 0;
        if (this.queues.length(queue) > 0) await this.take(queue);
      }
      for (const node of this.nodes) if (node.up) await this.disk(node);
    }
  }

  /** All faults are over: everything has to become whole, and what was promised to be true. */
  async calm(): Promise<void> {
    this.trace('stage', 'all is healed');
    const whole = (): boolean => {
      const { record } = this.etcd;
      const isWhole = record?.inSync.length === this.nodes.length && record.active && !record.readOnly;
      if (!isWhole || this.nodes.some(({ unclean }) => unclean)) return false;
      return this.nodes.some((node) => node.status()?.serving === true);
    };
    const { client } = this;
    let reader = client?.alive === true ? client : undefined;
    for (let round = 0; ; round++) {
      if (this.problems.length > 0) return;
      if (round === CALM_ROUNDS) {
        this.problem(
          `not whole after ${round} rounds: ${JSON.stringify(this.etcd.record)}, ${reader?.pending} requests wait`,
        );
        return;
      }
      this.heal();
      for (const node of this.nodes) {
        node.heal();
        if (!node.up) await this.start(node);
      }
      this.connectAll();
      if (reader === undefined || !reader.alive) reader = this.attach(this.nodes[0]!);
      if (round % 3 === 2) this.controller.stopWaiting();
      if (round % 3 === 2) this.look(round > CALM_ROUNDS / 4 ? 'impatient' : 'look');
      await this.settle();
      for (const node of this.nodes) if (node.up) await this.disk(node);
      if (whole() && reader.pending === 0 && this.queues.ready().length === 0) break;
      await this.pass();
    }
    await this.#lookAtAll(reader);
    await this.#compareCopies();
    if (this.problems.length === 0) this.problems.push(...this.history.problems(VOLUME_BLOCKS));
    for (const block of ALL_BLOCKS) for (const line of this.history.ofBlock(block)) this.trace(`block ${block}`, line);
  }

  async #lookAtAll(reader: StepClient): Promise<void> {
    for (const block of ALL_BLOCKS) reader.read(block, 1);
    reader.flush();
    for (let round = 0; round < CALM_ROUNDS && reader.pending > 0; round++) {
      await this.settle();
      for (const node of this.nodes) await this.disk(node);
      await this.pass();
    }
    if (reader.pending > 0) this.problem(`${reader.pending} requests unanswered after healing`);
  }

  /** All copies hold the same blocks under the same orders. */
  async #compareCopies(): Promise<void> {
    let indexes: string[][] | undefined;
    const identities = ({ store }: StepNode): Promise<string[]> =>
      store!.look(ALL_BLOCKS, (lookup) => ALL_BLOCKS.map((block) => identity(lookup(block))));
    void Promise.all(this.nodes.map(identities)).then((found) => {
      indexes = found;
    });
    for (let round = 0; round < CALM_ROUNDS && indexes === undefined; round++) {
      for (const node of this.nodes) await this.disk(node);
    }
    const [expected, ...others] = indexes ?? [];
    if (expected === undefined) this.problem('the index of a copy cannot be read');
    for (const found of others) {
      for (const block of ALL_BLOCKS) {
        if (found[block] !== expected![block]) {
          this.problem(`copies differ in block ${block}: ${expected![block]} and ${found[block]}`);
        }
      }
    }
  }
}

function identity(indexed: IndexedBlock | undefined): string {
  if (indexed === undefined) return 'never written';
  const { order, kind, checksumLow, checksumHigh } = indexed;
  const what = kind === KIND_ZERO ? 'zeroes' : `data ${checksumLow.toString(16)} ${checksumHigh.toString(16)}`;
  return `(${order.epoch}, ${order.sequence}) ${what}`;
}

/** Too long for a trace. */
const UNTOLD = new Set(['batch', 'history']);

/** What a trace says of what arrives. */
function described(what: string | object = ''): string {
  if (typeof what === 'string') return what;
  const { type, ...rest } = what as Record<string, unknown>;
  return `${type} ${JSON.stringify(rest, (name, value: unknown) => (UNTOLD.has(name) ? undefined : value))}`;
}

function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
