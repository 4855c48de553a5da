import { DomainError } from '../../core/errors.js';

/** Work that waits for its turn at the most. */
const MAX_WAITING = 4096;

/**
 * One piece of work at a time, in the order of the calls: for transactions of this process that would fail each other.
 * When etcd does not answer one, those that wait are not made to find that out one after the other.
 */
export class Turns {
  readonly #waiting: { readonly begin: () => void; readonly refuse: (error: DomainError) => void }[] = [];
  #busy = false;

  /** Errors: those of `work`; 'store-unavailable' if etcd does not answer, or too many wait. */
  async run<R>(work: () => Promise<R>): Promise<R> {
    if (this.#busy) await this.#turn();
    this.#busy = true;
    try {
      return await work();
    } catch (error) {
      if (error instanceof DomainError && error.code === 'store-unavailable') this.#refuseAll(error);
      throw error;
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy = false;
      else next.begin();
    }
  }

  #turn(): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING) {
      throw new DomainError('store-unavailable', `${MAX_WAITING} transactions wait for etcd already; try again`);
    }
    return new Promise((begin, refuse) => this.#waiting.push({ begin, refuse }));
  }

  #refuseAll(cause: DomainError): void {
    for (const { refuse } of this.#waiting.splice(0)) {
      refuse(new DomainError('store-unavailable', 'etcd does not answer: nothing was changed', { cause }));
    }
  }
}
