/**
 * Ends all waits for the parts of something when the whole is over. What a wait needs for that goes with the wait:
 * `Promise.race` with a promise of the whole would keep something of each part as long as the whole lasts.
 */
export class Cancellation {
  readonly #waits = new Set<(error: unknown) => void>();
  #error: unknown;

  /** Why it is over; undefined until then. */
  get error(): unknown {
    return this.#error;
  }

  /** Waits that have not ended. */
  get pending(): number {
    return this.#waits.size;
  }

  /** All present and later waits reject with `error`, which is not undefined. The first one counts. */
  cancel(error: unknown): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    for (const end of [...this.#waits]) end(error);
  }

  /** Settles as `promise` does, unless the whole is over before. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    if (this.#error !== undefined) {
      // Nobody hears of its failure any more.
      promise.catch(() => {});
      throw this.#error;
    }
    let end: (error: unknown) => void = () => {};
    const cancelled = new Promise<never>((_, reject) => {
      end = reject;
    });
    this.#waits.add(end);
    try {
      return await Promise.race([promise, cancelled]);
    } finally {
      this.#waits.delete(end);
    }
  }
}
