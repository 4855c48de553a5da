import type { Clock, Timer } from '../ports.js';

/**
 * Lifeguard's local health: a node that finds itself slow distrusts its own judgement and gives others more time.
 * 0 is well; every time-out is multiplied by one more than the score.
 */
export class LocalHealth {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #lagMs: number;
  #score = 0;

  constructor(clock: Clock, options: { max: number; lagMs: number }) {
    this.#clock = clock;
    this.#max = options.max;
    this.#lagMs = options.lagMs;
  }

  get score(): number {
    return this.#score;
  }

  change(by: number): void {
    this.#score = Math.max(0, Math.min(this.#max, this.#score + by));
  }

  scale(ms: number): number {
    return ms * (this.#score + 1);
  }

  /**
   * A timer whose expiry is to be held against somebody else. If it fires late, this process stood still, and the
   * answer may lie unread in its socket: it then waits once more for `graceMs`.
   */
  judge(delayMs: number, graceMs: number, run: () => void): Timer {
    const due = this.#clock.now() + delayMs;
    let timer = this.#clock.after(delayMs, () => {
      if (this.#clock.now() - due <= this.#lagMs) {
        run();
        return;
      }
      this.change(1);
      timer = this.#clock.after(graceMs, run);
    });
    return { cancel: () => timer.cancel() };
  }
}
