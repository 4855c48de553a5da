/** Virtual time: everything that happens in a simulation is an event of one queue, in an order that the seed decides. */

import type { Clock, Random, Timer } from '../../core/ports.js';
import { STATE } from './steps/fingerprint.js';

/** xoshiro128** seeded by splitmix32: small, fast, and the same everywhere. */
export class SeededRandom implements Random {
  readonly #state: Uint32Array;

  constructor(seed: number) {
    this.#state = new Uint32Array(4);
    let x = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.#state[i] = (z ^ (z >>> 16)) >>> 0;
    }
  }

  next(): number {
    const s = this.#state;
    const product = Math.imul(s[1]!, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result / 2 ** 32;
  }

  /** A whole number of [from, to]. */
  int(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.next() * from.length)]!;
  }

  shuffled<T>(from: readonly T[]): T[] {
    const rest = [...from];
    return from.map(() => rest.splice(Math.floor(this.next() * rest.length), 1)[0]!);
  }

  fork(): SeededRandom {
    return new SeededRandom(Math.floor(this.next() * 2 ** 32));
  }

  uuid(): string {
    const hex = Array.from({ length: 32 }, () => Math.floor(this.next() * 16).toString(16));
    hex[12] = '4';
    hex[16] = '8';
    const text = hex.join('');
    return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join('-');
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Of one turn of the event loop: each turn asks the kernel for I/O, which there is none of. */
const ACTS_OF_A_TURN = 64;

/** Calls `act` until it returns false. All promises that it has settled run before it is called again. */
function inTurns(act: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let over = false;
    // Node runs what is due of promises behind each immediate, not only behind a turn's last.
    const step = (): void => {
      if (over) return;
      try {
        over = !act();
        if (over) resolve();
      } catch (error) {
        over = true;
        reject(error);
      }
    };
    const turn = (): void => {
      if (over) return;
      for (let i = 0; i < ACTS_OF_A_TURN; i++) setImmediate(step);
      setImmediate(turn);
    };
    turn();
  });
}

interface Event {
  readonly at: number;
  readonly number: number;
  run: (() => void) | undefined;
  /** Whose timer it is. */
  readonly of: SimProcess | undefined;
  /** What `run` comes to. */
  readonly act: () => void;
}

export class Scheduler {
  now = 0;
  events = 0;
  /** Called behind every event. */
  onEvent: () => void = () => {};
  readonly #heap: Event[] = [];
  #number = 0;

  at(time: number, run: () => void, of?: SimProcess, act = run): Timer {
    const event: Event = { at: Math.max(time, this.now), number: this.#number++, run, of, act };
    this.#push(event);
    return {
      cancel: () => {
        event.run = undefined;
      },
    };
  }

  after(delayMs: number, run: () => void): Timer {
    return this.at(this.now + delayMs, run);
  }

  /** Timers of a process that are still to go off. */
  timersOf(process: SimProcess): number {
    return this.#heap.reduce((count, { run, of }) => (run !== undefined && of === process ? count + 1 : count), 0);
  }

  /** Runs events until the given time, or until `done` holds. */
  async run(until: number, done: () => boolean = () => false): Promise<void> {
    await settled();
    let last = false;
    await inTurns(() => {
      if (last) this.onEvent();
      last = !done() && this.#runNext(until);
      return last;
    });
    if (!done()) this.now = Math.max(this.now, until);
  }

  /** Runs the next event that was not cancelled; false if there is none before the given time. */
  #runNext(until: number): boolean {
    for (let event = this.#heap[0]; event !== undefined && event.at <= until; event = this.#heap[0]) {
      this.#pop();
      if (event.run === undefined) continue;
      this.now = event.at;
      this.events++;
      event.run();
      return true;
    }
    return false;
  }

  /** Processes have their timers as part of their own states: those of different ones have no order. */
  [STATE](): unknown {
    return [this.now, this.stateOf(undefined)];
  }

  /** Timers of a process, the first to go off first. */
  stateOf(process: SimProcess | undefined): unknown {
    const due = this.#heap.filter(({ run, of }) => run !== undefined && of === process);
    due.sort((a, b) => (this.#before(a, b) ? -1 : 1));
    return due.map(({ at, act }) => [at, act]);
  }

  #before(a: Event, b: Event): boolean {
    return a.at !== b.at ? a.at < b.at : a.number < b.number;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.#before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (heap.length === 0 || last === undefined) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#before(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

/** One life of one process: what it started runs only while it lives, and waits while it is stopped (SIGSTOP). */
export class SimProcess {
  readonly #scheduler: Scheduler;
  alive = true;
  #paused = false;
  #deferred: (() => void)[] = [];

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  get paused(): boolean {
    return this.#paused;
  }

  run(act: () => void): void {
    if (!this.alive) return;
    if (this.#paused) this.#deferred.push(act);
    else act();
  }

  /** Wraps a callback that arrives later. */
  wrap<A extends unknown[]>(act: (...args: A) => void): (...args: A) => void {
    return (...args) => this.run(() => act(...args));
  }

  /** What was promised, for whoever lives to hear it. */
  settle<T>(promised: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promised.then(this.wrap(resolve), this.wrap(reject));
    });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const act of deferred) this.#scheduler.after(0, () => this.run(act));
  }

  kill(): void {
    this.alive = false;
    this.#deferred = [];
  }

  [STATE](): unknown {
    return this.alive && [this.#paused, this.#deferred, this.#scheduler.stateOf(this)];
  }
}

/** Of the wall clocks at the beginning, ms. */
const EPOCH_MS = 1_700_000_000_000;

/** A process's clocks: their origins and their rate are its own. */
export class SimClock implements Clock {
  readonly #scheduler: Scheduler;
  readonly #process: SimProcess;
  readonly #rate: number;
  readonly #origin: number;
  readonly #wallOffsetMs: number;

  /** `rate`: of the monotonic clock; `wallOffsetMs`: how far the wall clock is off. */
  constructor(scheduler: Scheduler, process: SimProcess, rate: number, origin: number, wallOffsetMs = 0) {
    this.#scheduler = scheduler;
    this.#process = process;
    this.#rate = rate;
    this.#origin = origin;
    this.#wallOffsetMs = wallOffsetMs;
  }

  now(): number {
    return this.#origin + this.#scheduler.now * this.#rate;
  }

  timestamp(): string {
    return new Date(EPOCH_MS + Math.floor(this.#wallOffsetMs + this.#scheduler.now)).toISOString();
  }

  after(delayMs: number, run: () => void): Timer {
    const at = this.#scheduler.now + delayMs / this.#rate;
    let due: (() => void) | undefined = run;
    const timer = this.#scheduler.at(at, () => this.#process.run(() => due?.()), this.#process, run);
    return {
      // Also if it was due while the process was stopped: a timer whose callback has not run yet can be cleared.
      cancel: () => {
        due = undefined;
        timer.cancel();
      },
    };
  }
}
