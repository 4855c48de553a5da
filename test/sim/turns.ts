/** A long list of tasks in several runs: each goes on where the one before it has stopped. */

export class Turns<Task> {
  readonly #tasks: Iterator<Task>;
  readonly #until: number;
  #next: IteratorResult<Task>;
  #number = 0;
  #stopped = false;

  /** From the task with the number `from` on, for so many minutes, or until SIGINT or SIGTERM. */
  constructor(tasks: Iterable<Task>, from: number, minutes = Number.POSITIVE_INFINITY) {
    this.#tasks = tasks[Symbol.iterator]();
    this.#until = performance.now() + minutes * 60_000;
    this.#next = this.#tasks.next();
    while (this.#number < from && this.#next.done !== true) this.#advance();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => this.stop());
  }

  #advance(): void {
    this.#next = this.#tasks.next();
    this.#number++;
  }

  /** Nothing is taken any more. */
  stop(): void {
    this.#stopped = true;
  }

  readonly take = (): Task | undefined => {
    if (this.#next.done === true || this.#stopped || performance.now() >= this.#until) return undefined;
    const { value } = this.#next;
    this.#advance();
    return value;
  };

  /** The number of the first task that was not taken; undefined if there is none. */
  get rest(): number | undefined {
    return this.#next.done === true ? undefined : this.#number;
  }
}
