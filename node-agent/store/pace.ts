/** Spreads work in the background over time, so many bytes per second, and gives way to everything else between. */

import type { Clock, Timer } from '../../core/ports.js';

export class Pace {
  readonly #clock: Clock;
  /** When all that was spent is paid for, by the clock. */
  #due = Number.NEGATIVE_INFINITY;
  #waiting: { readonly timer: Timer; readonly resolve: () => void } | undefined;
  #stopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What runs at this pace should end. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Resolves when work of so many bytes is paid for; one turn of the event loop later at the least. One caller at a time. */
  spend(bytes: number, bytesPerSecond: number): Promise<void> {
    const now = this.#clock.now();
    this.#due = Math.max(this.#due, now) + (bytes / bytesPerSecond) * 1000;
    return this.wait(this.#due - now);
  }

  /** Resolves after the time, or when the pace is stopped. */
  wait(delayMs: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting = undefined;
        resolve();
      };
      this.#waiting = { timer: this.#clock.after(delayMs, done), resolve: done };
    });
  }

  /** Ends the present waiting and all later ones. */
  stop(): void {
    this.#stopped = true;
    this.#waiting?.timer.cancel();
    this.#waiting?.resolve();
  }
}
