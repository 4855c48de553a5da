import type { Clock, Timer } from '../../core/ports.js';

/** Timers end at multiples of this, ms. */
const GRID_MS = 50;
/** Timers at least so long are put on the grid, ms: shorter ones are meant to be exact. */
const ALIGNED_FROM_MS = 100;

interface Slot {
  readonly timer: Timer;
  readonly runs: Set<() => void>;
}

/**
 * A clock for things that all look around now and then, like the deployments of a node: what is due within the same
 * 50 ms runs in one turn, up to 50 ms later than asked. So a hundred idle volumes wake the process as often as one
 * does, and what they send to the same node in that turn leaves in one write.
 */
export class AlignedClock implements Clock {
  readonly #clock: Clock;
  readonly #late: (ms: number) => void;
  readonly #slots = new Map<number, Slot>();

  /** `late` is told, at the end of each of those turns' timers, how long after its time that is. */
  constructor(clock: Clock, late: (ms: number) => void = () => {}) {
    this.#clock = clock;
    this.#late = late;
  }

  now(): number {
    return this.#clock.now();
  }

  timestamp(): string {
    return this.#clock.timestamp();
  }

  after(delayMs: number, run: () => void): Timer {
    if (delayMs < ALIGNED_FROM_MS) return this.#clock.after(delayMs, run);
    const now = this.#clock.now();
    const due = Math.ceil((now + delayMs) / GRID_MS) * GRID_MS;
    let slot = this.#slots.get(due);
    if (slot === undefined) {
      const timer = this.#clock.after(due - now, () => this.#end(due));
      slot = { timer, runs: new Set() };
      this.#slots.set(due, slot);
    }
    // The same function may be asked for twice.
    const once = (): void => run();
    const { runs } = slot;
    runs.add(once);
    return {
      cancel: () => {
        runs.delete(once);
        if (runs.size > 0 || this.#slots.get(due)?.runs !== runs) return;
        this.#slots.get(due)!.timer.cancel();
        this.#slots.delete(due);
      },
    };
  }

  /** What is asked for meanwhile is due later; what is cancelled meanwhile does not run. */
  #end(due: number): void {
    const slot = this.#slots.get(due);
    this.#slots.delete(due);
    this.#late(Math.max(0, this.#clock.now() - due));
    for (const run of slot?.runs ?? []) run();
  }
}
