/** Turns many requests for durability into few rounds: one at a time, each for all who asked before it began. */

import { type Deferred, deferred } from '../../core/deferred.js';

export class GroupCommit {
  readonly #round: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Deferred | undefined;
  #failure: { readonly error: unknown } | undefined;

  /** `round` makes durable what there is when it is called. After one has failed, it is never called again. */
  constructor(round: () => Promise<void>) {
    this.#round = round;
  }

  /** Resolves when a round that began after this call has succeeded. */
  request(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    this.#next ??= deferred();
    const { promise } = this.#next;
    this.#running ??= this.#run();
    return promise;
  }

  /** Resolves when no round is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let mine = this.#take(); mine !== undefined; mine = this.#take()) {
      try {
        await this.#round();
        mine.resolve();
      } catch (error) {
        this.#failure = { error };
        mine.reject(error);
        this.#take()?.reject(error);
      }
    }
    this.#running = undefined;
  }

  #take(): Deferred | undefined {
    const next = this.#next;
    this.#next = undefined;
    return next;
  }
}
