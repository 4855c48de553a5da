/**
 * Connections between the processes of a simulation. Messages of a connection arrive in order, late, or never
 * (when it breaks). A blocked direction holds everything back, until the ends give the connection up at
 * different moments; a dead process's connections break soon.
 */

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
const RETRY_MS = 60;

export class Network {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly #settings: NetworkSettings;
  readonly #blocked = new Set<string>();
  readonly #waiting: (() => void)[] = [];
  messages = 0;

  constructor(scheduler: Scheduler, random: SeededRandom, settings: NetworkSettings) {
    this.scheduler = scheduler;
    this.random = random;
    this.#settings = settings;
  }

  block(from: string, to: string): void {
    this.#blocked.add(`${from}>${to}`);
  }

  heal(): void {
    this.#blocked.clear();
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** What is blocked for a node is blocked for the processes on it, `node/process`, too. */
  isBlocked(from: string, to: string): boolean {
    if (this.#blocked.size === 0) return false;
    for (const a of new Set([from, nodeOf(from)])) {
      for (const b of new Set([to, nodeOf(to)])) if (this.#blocked.has(`${a}>${b}`)) return true;
    }
    return false;
  }

  delay(): number {
    const { minDelayMs, maxDelayMs, slow } = this.#settings;
    return this.random.chance(slow)
      ? this.random.between(maxDelayMs, 200)
      : this.random.between(minDelayMs, maxDelayMs);
  }

  onHeal(wake: () => void): void {
    this.#waiting.push(wake);
  }
}

function nodeOf(name: string): string {
  return name.split('/')[0]!;
}

export interface End {
  readonly name: string;
  readonly process: SimProcess;
  /** In order; never after `down`. */
  message(message: unknown): void;
  down(): void;
}

/** A connection that exists; both ends have been told. */
export class Connection {
  readonly #network: Network;
  readonly #ends: readonly [End, End];
  readonly #open: [boolean, boolean] = [true, true];
  readonly #lastArrival: [number, number] = [0, 0];
  #broken = false;

  constructor(network: Network, a: End, b: End) {
    this.#network = network;
    this.#ends = [a, b];
    this.#watch();
  }

  get broken(): boolean {
    return this.#broken;
  }

  /** Sends from end 0 or 1 to the other. */
  send(from: 0 | 1, message: unknown): void {
    if (!this.#open[from]) return;
    const to = (1 - from) as 0 | 1;
    this.#network.messages++;
    const at = Math.max(this.#lastArrival[to], this.#network.scheduler.now + this.#network.delay());
    this.#lastArrival[to] = at;
    const within = nodeOf(this.#ends[0].name) === nodeOf(this.#ends[1].name);
    const sent = within ? hold(message) : { message: copied(message), arrived: () => {} };
    this.#deliverAt(at, from, to, sent);
  }

  readonly #cut: [boolean, boolean] = [false, false];
  readonly #held: [(() => void)[], (() => void)[]] = [[], []];

  #deliverAt(at: number, from: 0 | 1, to: 0 | 1, { message, arrived }: ReturnType<typeof hold>): void {
    const { scheduler } = this.#network;
    scheduler.at(at, () => {
      const arrive = (): void => {
        this.#ends[to].process.run(() => {
          if (this.#open[to]) this.#ends[to].message(message);
          arrived();
        });
      };
      // What a dead process had sent arrives up to some point, and nothing behind it.
      if (!this.#ends[from].process.alive && this.#network.random.chance(0.3)) this.#cut[to] = true;
      if (this.#cut[to]) return;
      if (this.#network.isBlocked(this.#ends[from].name, this.#ends[to].name) || this.#held[to].length > 0) {
        if (this.#held[to].push(arrive) === 1) this.#network.onHeal(() => this.#release(to));
      } else {
        arrive();
      }
    });
  }

  #release(to: 0 | 1): void {
    const held = this.#held[to].splice(0);
    for (const arrive of held) arrive();
  }

  /** Breaks it; each end learns it in its own time. */
  break(): void {
    if (this.#broken) return;
    this.#broken = true;
    for (const end of [0, 1] as const) {
      this.#network.scheduler.after(this.#network.random.between(0, 30), () => this.#down(end));
    }
  }

  /** The end closes it by itself. */
  close(end: 0 | 1): void {
    if (!this.#open[end]) return;
    this.#open[end] = false;
    this.#broken = true;
    this.#network.scheduler.after(this.#network.delay(), () => this.#down((1 - end) as 0 | 1));
  }

  #down(end: 0 | 1): void {
    this.#ends[end].process.run(() => {
      if (!this.#open[end]) return;
      this.#open[end] = false;
      this.#ends[end].down();
    });
  }

  #watch(): void {
    const { scheduler, random } = this.#network;
    let silentSince: number | undefined;
    const limit = random.between(DETECT_MIN_MS, DETECT_MAX_MS);
    const look = (): void => {
      if (this.#broken) return;
      const [a, b] = this.#ends;
      if (!a.process.alive || !b.process.alive) {
        this.break();
        return;
      }
      const silent =
        this.#network.isBlocked(a.name, b.name) ||
        this.#network.isBlocked(b.name, a.name) ||
        a.process.paused ||
        b.process.paused;
      silentSince = silent ? (silentSince ?? scheduler.now) : undefined;
      if (silentSince !== undefined && scheduler.now - silentSince > limit) this.break();
      else scheduler.after(RETRY_MS, look);
    };
    scheduler.after(random.between(0, RETRY_MS), look);
  }
}
