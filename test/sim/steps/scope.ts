/** A small scope of a stage: two writes in flight, and faults that happen at some moment each. */

import { Stage } from './stage.js';
import type { StepInfo, System } from './states.js';

/**
 * `kill a`: kill -9, and a return as soon as nothing else can happen; `power a`: with the loss of what was not synced;
 * `cut a`: from the other nodes; `promotion`: the controller passes the primary over. What is under way arrives where
 * it was going, or `lost`: nothing of it does.
 */
export type Fault = 'promotion' | `${'kill' | 'power' | 'cut'} ${'a' | 'b'}${'' | ', all lost'}`;

const SEED = 1;
/** Leases are not renewed within a scope: their messages would come with every one. */
const SETTINGS = { leaseMs: 600, leaseMarginMs: 10, leaseRenewMs: 400, openTimeoutMs: 60, memberGraceMs: 60 };
const TIME_STEP_MS = 20;
/** Time that may pass before a scope is over. */
const SCOPE_MS = 160;
const OPENING_ROUNDS = 200;
/** Where nothing is under way. */
const PASS = 'time passes';

export class Scope implements System {
  readonly #stage: Stage;
  readonly #faults: Set<Fault>;
  #passedMs = 0;

  private constructor(stage: Stage, faults: readonly Fault[]) {
    this.#stage = stage;
    this.#faults = new Set(faults);
  }

  static async open(attached: string, faults: readonly Fault[], trace?: (line: string) => void): Promise<Scope> {
    const options = { seed: SEED, durability: 'writeback', settings: SETTINGS, fewDelays: true } as const;
    const stage = new Stage({ ...options, ...(trace !== undefined && { trace }) });
    await stage.open();
    const client = stage.attach(stage.node(attached));
    client.read(0, 1);
    for (let round = 0; round < OPENING_ROUNDS && client.pending > 0; round++) {
      await stage.settle();
      await stage.pass();
    }
    await stage.settle();
    client.write(0, 1);
    client.write(1, 1);
    return new Scope(stage, faults);
  }

  get problems(): readonly string[] {
    return this.#stage.problems;
  }

  steps(): string[] {
    const ready = this.#stage.queues.ready();
    if (ready.length === 0 && this.#passedMs < SCOPE_MS && (this.#faults.size === 0 || this.#busy)) ready.push(PASS);
    return [...ready, ...this.#faults];
  }

  /** Whether time brings anything but a later moment for what is left of the faults. */
  get #busy(): boolean {
    const { nodes, clients } = this.#stage;
    return nodes.some(({ up }) => !up) || clients.some(({ alive, pending }) => alive && pending > 0);
  }

  info(name: string): StepInfo {
    const { queues } = this.#stage;
    if (name === PASS) return { name, touches: undefined };
    if (name === 'promotion') return { name, touches: ['controller', 'etcd'] };
    if (this.#faults.has(name as Fault)) {
      // Whoever is killed takes nothing along but what runs on it; the controller notices whether it does.
      const alone = name.startsWith('kill') && !name.endsWith('lost');
      const node = nodeOf(name);
      const clients = this.#stage.clients.flatMap((client) => (client.node.name === node ? [client.name] : []));
      return { name, touches: alone ? [node, 'controller', ...clients] : undefined };
    }
    const touches = [queues.consumerOf(name)];
    // Who is asked answers at once.
    if (name.startsWith('controller>')) touches.push('controller');
    return { name, touches, deviates: queues.ready()[0] !== name };
  }

  usualOrder(): string {
    return this.#stage.queues.waiting().join();
  }

  async take(name: string): Promise<void> {
    const stage = this.#stage;
    const touches = this.info(name).touches;
    if (name === PASS) await this.#pass();
    else if (this.#faults.delete(name as Fault)) await this.#disturb(name as Fault);
    else await stage.take(name);
    for (const node of stage.nodes) if (node.up && touches?.includes(node.name) !== false) await node.workDisk();
    this.#stage.changed(touches);
  }

  fingerprint(): string {
    return `${this.#passedMs} ${[...this.#faults]} ${this.#stage.fingerprint()}`;
  }

  async #pass(): Promise<void> {
    const stage = this.#stage;
    this.#passedMs += TIME_STEP_MS;
    for (const node of stage.nodes) if (!node.up) await stage.start(node);
    stage.connectAll();
    if (stage.queues.ready().length === 0) await stage.pass(TIME_STEP_MS);
  }

  async #disturb(fault: Fault): Promise<void> {
    const stage = this.#stage;
    stage.trace('fault', fault);
    if (fault === 'promotion') {
      stage.look('suspect');
      return stage.take('controller>etcd');
    }
    const node = stage.node(nodeOf(fault));
    const keep = (): number => (fault.endsWith('lost') ? 0 : Number.POSITIVE_INFINITY);
    if (fault.startsWith('cut')) stage.cutOff(node, keep);
    else stage.crash(node, fault.startsWith('power'), keep);
  }

  /** All faults over: what is wrong then. */
  async finish(): Promise<readonly string[]> {
    if (this.#stage.problems.length === 0) await this.#stage.calm();
    return this.#stage.problems;
  }
}

function nodeOf(fault: string): string {
  return fault.split(/[ ,]/)[1]!;
}
