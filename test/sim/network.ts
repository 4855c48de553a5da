/**
 * Connections between the processes of a simulation. Messages of a connection arrive in order, late, or never
 * (when it breaks). A blocked direction holds everything back, until the ends give the connection up at
 * different moments; a dead process's connections break soon.
 */

import type { Timer } from '../../core/ports.js';
import { copied, hold } from './leases.js';
import type { Scheduler, SeededRandom, SimProcess } from './scheduler.js';

export interface NetworkSettings {
  /** Usual delay of a message, ms. */
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  /** Share of messages that take up to 200 ms. */
  readonly slow: number;
}

/** Silence after which an end gives a connection up, ms. */
const DETECT_MIN_MS = 600;
const DETECT_MAX_MS = 2_500;
/** A process that is gone is noticed within. */
const DEATH_MS = 60;

export class Network {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly #settings: NetworkSettings;
  /** Directions that are blocked, and by how many faults. */
  readonly #blocked = new Map<string, number>();
  readonly #connections = new Set<Connection>();
  /** Told of every message that is sent; for the trace. */
  onSend: ((from: string, to: string, message: object) => void) | undefined;
  messages = 0;

  constructor(scheduler: Scheduler, random: SeededRandom, settings: NetworkSettings) {
    this.scheduler = scheduler;
    this.random = random;
    this.#settings = settings;
  }

  /** Nothing gets from one to the other until what is returned is called, and every other fault that blocks it is over. */
  block(from: string, to: string): () => void {
    const direction = `${from}>${to}`;
    this.#blocked.set(direction, (this.#blocked.get(direction) ?? 0) + 1);
    this.changed();
    let over = false;
    return () => {
      const faults = this.#blocked.get(direction);
      if (over || faults === undefined) return;
      over = true;
      if (faults === 1) this.#blocked.delete(direction);
      else this.#blocked.set(direction, faults - 1);
      this.changed();
    };
  }

  /** All faults are over. */
  heal(): void {
    this.#blocked.clear();
    this.changed();
  }

  /** A direction was blocked or is free again; a process has ended, was stopped, or goes on. */
  changed(): void {
    for (const connection of [...this.#connections]) connection.look();
  }

  /** What is blocked for a node is blocked for the processes on it, `node/process`, too. */
  isBlocked(from: string, to: string): boolean {
    if (this.#blocked.size === 0) return false;
    if (this.#blocked.has(`${from}>${to}`)) return true;
    const [a, b] = [nodeOf(from), nodeOf(to)];
    return this.#blocked.has(`${a}>${to}`) || this.#blocked.has(`${from}>${b}`) || this.#blocked.has(`${a}>${b}`);
  }

  /** Whether no answer comes: blocked in one direction or the other. */
  isCut(a: string, b: string): boolean {
    return this.isBlocked(a, b) || this.isBlocked(b, a);
  }

  delay(): number {
    const { minDelayMs, maxDelayMs, slow } = this.#settings;
    return this.random.chance(slow)
      ? this.random.between(maxDelayMs, 200)
      : this.random.between(minDelayMs, maxDelayMs);
  }

  opened(connection: Connection): void {
    this.#connections.add(connection);
  }

  broken(connection: Connection): void {
    this.#connections.delete(connection);
  }

  get connections(): number {
    return this.#connections.size;
  }
}

export function nodeOf(name: string): string {
  const slash = name.indexOf('/');
  return slash < 0 ? name : name.slice(0, slash);
}

export interface End {
  readonly name: string;
  readonly process: SimProcess;
  /** The connection exists. */
  opened?(connection: Connection): void;
  /** In order; never after `down`. */
  message(message: unknown): void;
  down(): void;
}

/** A message that has come as far as a blocked direction. */
interface Held {
  arrive(): void;
  /** It never arrives. */
  drop(): void;
}

/** A connection that exists; both ends have been told. */
export class Connection {
  readonly #network: Network;
  readonly #ends: readonly [End, End];
  readonly #within: boolean;
  readonly #open: [boolean, boolean] = [true, true];
  readonly #lastArrival: [number, number] = [0, 0];
  readonly #cut: [boolean, boolean] = [false, false];
  readonly #held: [Held[], Held[]] = [[], []];
  /** How long silence lasts until it is given up. */
  readonly #patienceMs: number;
  #giveUp: Timer | undefined;
  /** One end's process is gone. */
  #dying = false;
  #broken = false;

  constructor(network: Network, a: End, b: End) {
    this.#network = network;
    this.#ends = [a, b];
    this.#within = nodeOf(a.name) === nodeOf(b.name);
    this.#patienceMs = network.random.between(DETECT_MIN_MS, DETECT_MAX_MS);
    network.opened(this);
    a.opened?.(this);
    b.opened?.(this);
    this.look();
  }

  get broken(): boolean {
    return this.#broken;
  }

  /** Sends from end 0 or 1 to the other. */
  send(from: 0 | 1, message: object): void {
    if (!this.#open[from]) return;
    const to = (1 - from) as 0 | 1;
    const network = this.#network;
    network.messages++;
    network.onSend?.(this.#ends[from].name, this.#ends[to].name, message);
    const at = Math.max(this.#lastArrival[to], network.scheduler.now + network.delay());
    this.#lastArrival[to] = at;
    const sent = this.#within ? hold(message) : { message: copied(message), arrived: () => {} };
    network.scheduler.at(at, () => this.#deliver(from, to, sent));
  }

  #deliver(from: 0 | 1, to: 0 | 1, { message, arrived }: ReturnType<typeof hold>): void {
    const [sender, receiver] = [this.#ends[from], this.#ends[to]];
    const arrive = (): void => {
      receiver.process.run(() => {
        if (this.#open[to]) receiver.message(message);
        arrived();
      });
    };
    // What a dead process had sent arrives up to some point, and nothing behind it.
    if (!sender.process.alive && this.#network.random.chance(0.3)) this.#cut[to] = true;
    const held = this.#held[to].length > 0 || this.#network.isBlocked(sender.name, receiver.name);
    if (this.#cut[to] || (held && this.#broken)) arrived();
    else if (held) this.#held[to].push({ arrive, drop: arrived });
    else arrive();
  }

  /** Breaks it; each end learns it in its own time. */
  #break(): void {
    if (this.#broken) return;
    this.#over();
    for (const end of [0, 1] as const) {
      this.#network.scheduler.after(this.#network.random.between(0, 30), () => this.#down(end));
    }
  }

  #over(): void {
    this.#broken = true;
    this.#giveUp?.cancel();
    this.#network.broken(this);
    for (const held of this.#held.flat()) held.drop();
  }

  /** The end closes it by itself. */
  close(end: 0 | 1): void {
    if (!this.#open[end]) return;
    this.#open[end] = false;
    this.#over();
    this.#network.scheduler.after(this.#network.delay(), () => this.#down((1 - end) as 0 | 1));
  }

  #down(end: 0 | 1): void {
    this.#ends[end].process.run(() => {
      if (!this.#open[end]) return;
      this.#open[end] = false;
      this.#ends[end].down();
    });
  }

  /** What lies between the ends, or one of them, has changed. */
  look(): void {
    if (this.#broken) return;
    const { scheduler, random } = this.#network;
    const [a, b] = this.#ends;
    if (this.#dying) return;
    if (!a.process.alive || !b.process.alive) {
      this.#dying = true;
      this.#giveUp?.cancel();
      this.#giveUp = scheduler.after(random.between(0, DEATH_MS), () => this.#break());
      return;
    }
    const blocked = [this.#network.isBlocked(b.name, a.name), this.#network.isBlocked(a.name, b.name)] as const;
    for (const to of [0, 1] as const) if (!blocked[to]) for (const held of this.#held[to].splice(0)) held.arrive();
    const silent = blocked[0] || blocked[1] || a.process.paused || b.process.paused;
    if (!silent) {
      this.#giveUp?.cancel();
      this.#giveUp = undefined;
    } else this.#giveUp ??= scheduler.after(this.#patienceMs, () => this.#break());
  }
}
