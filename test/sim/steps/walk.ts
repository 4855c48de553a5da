/**
 * A random walk through the steps of a stage, from a seed. Every seed has its own taste: some links are slow in it,
 * some faults frequent and others absent, and its taste changes now and then, so that long unlikely sequences come.
 */

import { SeededRandom } from '../scheduler.js';
import { bringAbout, drawSituation } from './beginnings.js';
import { Stage } from './stage.js';

/** Blocks that are used: few, so that everything overlaps. */
const BLOCKS = 4;
const MAX_PENDING = 6;

/** Kinds of steps, how often at most compared with each other, and in what share of the seeds at all. */
const KINDS = {
  deliver: { weight: 60, share: 1 },
  disk: { weight: 12, share: 1 },
  time: { weight: 6, share: 1 },
  // What is not overwritten shows whether it is what it should be.
  write: { weight: 10, share: 0.8 },
  trim: { weight: 2, share: 0.5 },
  read: { weight: 4, share: 0.8 },
  flush: { weight: 2, share: 0.6 },
  kill: { weight: 0.8, share: 0.6 },
  power: { weight: 0.8, share: 0.5 },
  start: { weight: 5, share: 1 },
  cut: { weight: 0.8, share: 0.5 },
  hold: { weight: 0.8, share: 0.3 },
  breakLink: { weight: 0.6, share: 0.4 },
  heal: { weight: 1.5, share: 1 },
  connect: { weight: 8, share: 1 },
  look: { weight: 4, share: 1 },
  impatient: { weight: 0.8, share: 0.5 },
  suspect: { weight: 0.8, share: 0.5 },
  stopWaiting: { weight: 2, share: 0.8 },
  attach: { weight: 0.6, share: 0.5 },
  disconnect: { weight: 0.8, share: 0.4 },
  loseAnswer: { weight: 1, share: 0.4 },
  falseAlarm: { weight: 2, share: 0.3 },
  syncFailure: { weight: 0.4, share: 0.15 },
} as const;
type Kind = keyof typeof KINDS;

export interface WalkOptions {
  readonly seed: number;
  readonly trace?: (line: string) => void;
}

export interface WalkResult {
  readonly problems: readonly string[];
  /** The first of them that was an error of the language itself: no check has found it. */
  readonly languageError?: string;
  /** What happened how often. */
  readonly counts: Readonly<Record<string, number>>;
}

export async function walk({ seed, trace }: WalkOptions): Promise<WalkResult> {
  const random = new SeededRandom(seed);
  const situation = drawSituation(random);
  const stage = new Stage({
    seed: Math.floor(random.next() * 2 ** 32),
    durability: random.chance(0.15) ? 'writethrough' : 'writeback',
    settings: {
      maxInFlightWrites: random.pick([2, 4_096]),
      catchUpBytes: random.pick([16, 4 << 20]),
      // One message, or all that there is, before the first one is confirmed.
      maxUnconfirmedBytes: random.pick([1, 4 << 20]),
      deadBlocksPerMessage: random.pick([1, 4_096]),
      drainTimeoutMs: random.pick([60, 2_000]),
      leaseMs: random.pick([60, 200, 200]),
      leaseRenewMs: 20,
      memberGraceMs: random.pick([20, 80, 400]),
      syncParallel: random.pick([1, 8]),
      openTimeoutMs: random.pick([20, 120]),
      ...situation?.settings,
    },
    ...(trace !== undefined && { trace }),
  });
  await stage.open();
  const walker = new Walker(stage, random);
  if (situation !== undefined) await bringAbout(situation, stage, random);
  await walker.go(random.pick([0, 60, 150, 600]));
  if (stage.problems.length === 0) await stage.calm();
  const { history, problems, languageError } = stage;
  const { operations, losses } = history;
  return {
    problems,
    ...(languageError !== undefined && { languageError }),
    counts: {
      ...walker.counts,
      steps: stage.steps,
      operations: operations.length,
      operationsDone: operations.filter(({ status }) => status === 'ok').length,
      promotions: stage.controller.promotions,
      syncs: stage.controller.syncs,
      losses: losses.length,
    },
  };
}

class Walker {
  readonly counts: Record<string, number> = {};
  readonly #stage: Stage;
  readonly #random: SeededRandom;
  readonly #absent: ReadonlySet<Kind>;
  readonly #kinds: Record<Kind, () => void | Promise<void>>;
  #weights: readonly (readonly [Kind, number])[] = [];
  #total = 0;
  /** How willing queues are, by name. */
  readonly #zeal = new Map<string, number>();

  constructor(stage: Stage, random: SeededRandom) {
    this.#stage = stage;
    this.#random = random;
    const kinds = Object.keys(KINDS) as Kind[];
    this.#absent = new Set(kinds.filter((kind) => !random.chance(KINDS[kind].share)));
    this.#kinds = {
      deliver: () => this.#deliver(),
      disk: () => this.#disk(),
      time: () => stage.pass(),
      write: () => this.#write(false),
      trim: () => this.#write(true),
      read: () => this.#read(),
      flush: () => this.#flush(),
      kill: () => this.#crash(false),
      power: () => this.#crash(true),
      start: () => this.#start(),
      cut: () => this.#cut(),
      hold: () => this.#hold(),
      breakLink: () => this.#break(),
      heal: () => stage.heal(),
      connect: () => this.#connect(),
      look: () => stage.look('look'),
      impatient: () => stage.look('impatient'),
      suspect: () => stage.look('suspect'),
      stopWaiting: () => stage.controller.stopWaiting(),
      attach: () => this.#attach(),
      disconnect: () => stage.client?.disconnect(this.#keep),
      loseAnswer: () => this.#loseAnswer(),
      falseAlarm: () => this.#falseAlarm(),
      syncFailure: () => random.pick(stage.nodes).failNextSync(),
    };
  }

  async go(steps: number): Promise<void> {
    const stage = this.#stage;
    if (stage.client === undefined) stage.attach(this.#random.pick(stage.nodes));
    for (let step = 0; step < steps && stage.problems.length === 0; step++) {
      if (step % 40 === 0) this.#changeTaste();
      const kind = this.#pick();
      this.counts[kind] = (this.counts[kind] ?? 0) + 1;
      stage.steps++;
      await this.#kinds[kind]();
    }
  }

  #changeTaste(): void {
    const random = this.#random;
    this.#zeal.clear();
    this.#weights = (Object.keys(KINDS) as Kind[])
      .filter((kind) => !this.#absent.has(kind))
      .map((kind) => [kind, KINDS[kind].weight * random.pick([0.2, 1, 1, 3])] as const);
    this.#total = this.#weights.reduce((sum, [, weight]) => sum + weight, 0);
  }

  #pick(): Kind {
    let at = this.#random.next() * this.#total;
    for (const [kind, weight] of this.#weights) {
      at -= weight;
      if (at < 0) return kind;
    }
    return 'deliver';
  }

  /** Of what is under way when a connection ends, some first part still arrives. */
  readonly #keep = (queue: string): number => {
    const random = this.#random;
    return random.chance(0.3) ? random.int(0, this.#stage.queues.length(queue)) : random.chance(0.5) ? 0 : 1e9;
  };

  async #deliver(): Promise<void> {
    const { queues } = this.#stage;
    const ready = queues.ready();
    if (ready.length === 0) return this.#stage.pass();
    const zeals = ready.map((queue) => this.#zealOf(queue));
    let at = this.#random.next() * zeals.reduce((sum, zeal) => sum + zeal, 0);
    const i = zeals.findIndex((zeal) => {
      at -= zeal;
      return at < 0;
    });
    await this.#stage.take(ready[i] ?? ready[0]!);
  }

  #zealOf(queue: string): number {
    let zeal = this.#zeal.get(queue);
    if (zeal === undefined) {
      zeal = this.#random.pick([0.005, 0.2, 1, 1, 3]);
      this.#zeal.set(queue, zeal);
    }
    return zeal;
  }

  async #disk(): Promise<void> {
    const node = this.#random.pick(this.#stage.nodes);
    if (node.up) await this.#stage.disk(node);
  }

  #busy(): boolean {
    const { client } = this.#stage;
    return client === undefined || !client.alive || client.pending >= MAX_PENDING;
  }

  /** Now and then through an attachment that is fenced, or about to be. */
  #anyClient() {
    const { clients, client } = this.#stage;
    return this.#random.chance(0.2) ? this.#random.pick(clients) : client!;
  }

  #write(zero: boolean): void {
    const client = this.#anyClient();
    if (!client.alive || client.pending >= MAX_PENDING) return;
    const first = this.#random.int(0, BLOCKS - 1);
    const blocks = this.#random.int(1, Math.min(2, BLOCKS - first));
    client.write(first, blocks, zero, this.#random.chance(0.1));
  }

  #read(): void {
    const client = this.#anyClient();
    if (!client.alive || client.pending >= MAX_PENDING) return;
    client.read(this.#random.int(0, BLOCKS - 1), 1);
  }

  #flush(): void {
    if (!this.#busy()) this.#stage.client!.flush();
  }

  #crash(power: boolean): void {
    const { nodes } = this.#stage;
    if (nodes.filter(({ up }) => up).length === 1 && this.#random.chance(0.7)) return;
    this.#stage.crash(this.#random.pick(nodes), power, this.#keep);
  }

  async #start(): Promise<void> {
    const down = this.#stage.nodes.filter(({ up }) => !up);
    if (down.length > 0) await this.#stage.start(this.#random.pick(down));
    else if (this.#busy()) this.#attach(0.3);
  }

  #cut(): void {
    const { nodes } = this.#stage;
    const node = this.#random.pick(nodes);
    for (const other of nodes) {
      if (other !== node && this.#random.chance(0.6)) this.#stage.cut(node, other, this.#keep);
    }
  }

  #hold(): void {
    if (this.#random.chance(0.3)) {
      this.#stage.mute(this.#random.pick(this.#stage.nodes));
      return;
    }
    const [from, to] = this.#pair();
    this.#stage.links.hold(from, to);
  }

  #break(): void {
    const [a, b] = this.#pair();
    this.#stage.links.break(a, b, this.#keep);
  }

  #pair(): readonly [string, string] {
    const { nodes } = this.#stage;
    const from = this.#random.pick(nodes);
    return [from.name, this.#random.pick(nodes.filter((node) => node !== from)).name];
  }

  #connect(): void {
    const pairs = this.#stage.links.connectable();
    if (pairs.length > 0) this.#stage.links.connect(...this.#random.pick(pairs));
  }

  #attach(chance = 1): void {
    const up = this.#stage.nodes.filter((node) => node.up);
    if (up.length > 0 && this.#random.chance(chance)) this.#stage.attach(this.#random.pick(up));
  }

  #loseAnswer(): void {
    const { waiting } = this.#stage.etcd;
    if (waiting.length > 0) this.#stage.etcd.loseAnswer(this.#random.pick(waiting));
  }

  /** A disk that could not read a block for a moment: the copy asks others for it. */
  async #falseAlarm(): Promise<void> {
    await this.#random.pick(this.#stage.nodes).suspectBlock(this.#random.int(0, BLOCKS - 1));
  }
}
