/** Turns many requests for durability into few rounds: one at a time, each for all who asked before it began. */

interface Waiting {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #round: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Waiting | undefined;
  #failure: { readonly error: unknown } | undefined;

  /** `round` makes durable what there is when it is called. After one has failed, it is never called again. */
  constructor(round: () => Promise<void>) {
    this.#round = round;
  }

  /** Resolves when a round that began after this call has succeeded. */
  request(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    this.#next ??= waiting();
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

  #take(): Waiting | undefined {
    const next = this.#next;
    this.#next = undefined;
    return next;
  }
}

function waiting(): Waiting {
  let resolve: () => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
