/** etcd as its clients meet it, one request after the other; an answer may get lost, and what was asked happen late. */

import type { Membership } from '../../../core/domain.js';
import { sameMembership } from '../../../core/membership.js';
import type { SwapOutcome } from '../../../core/ports.js';
import type { Queues } from './queues.js';

interface Watcher {
  readonly client: string;
  readonly told: (record: Membership) => void;
}

export class StepEtcd {
  readonly #queues: Queues;
  record: Membership | undefined;
  readonly #watchers = new Map<string, Watcher>();
  /** Swaps whose clients may be told that nobody knows their outcome. */
  readonly #unanswered = new Map<string, () => void>();
  unknownOutcomes = 0;
  onChange: (record: Membership, previous: Membership) => void = () => {};

  constructor(queues: Queues) {
    this.#queues = queues;
  }

  swap(client: string, expected: Membership, next: Membership): Promise<SwapOutcome> {
    return new Promise((resolve) => {
      const answer = (outcome: SwapOutcome): void => {
        if (this.#unanswered.get(client) !== unknown) return;
        this.#unanswered.delete(client);
        this.#queues.post(`etcd>${client}`, client, `swap: ${outcome}`, () => resolve(outcome));
      };
      const unknown = (): void => answer('unknown');
      this.#unanswered.set(client, unknown);
      this.#queues.post(`${client}>etcd`, 'etcd', { type: 'swap', expected, next }, () => {
        const outcome = this.#apply(expected, next);
        if (this.#unanswered.get(client) === unknown) answer(outcome);
      });
    });
  }

  /** Those who wait for the outcome of a swap. */
  get waiting(): string[] {
    return [...this.#unanswered.keys()];
  }

  /** The request of this client stays where it is and may take effect later. */
  loseAnswer(client: string): void {
    this.unknownOutcomes++;
    this.#unanswered.get(client)?.();
  }

  read(client: string): Promise<Membership | undefined> {
    return new Promise((resolve) => {
      this.#queues.post(`${client}>etcd`, 'etcd', 'read', () => {
        const { record } = this;
        this.#queues.post(`etcd>${client}`, client, { type: 'record', record }, () => resolve(record));
      });
    });
  }

  /** The present record and every later one. `name`: of this watch. */
  watch(name: string, client: string, told: (record: Membership) => void): void {
    this.#watchers.set(name, { client, told });
    if (this.record !== undefined) this.#tell(name, this.record);
  }

  /** The client is gone. */
  forget(name: string): void {
    this.#unanswered.delete(name);
    this.#watchers.delete(name);
    this.#queues.cut(`watch>${name}`, 0);
  }

  #tell(name: string, record: Membership): void {
    const { client, told } = this.#watchers.get(name)!;
    this.#queues.post(`watch>${name}`, client, { type: 'watch', record }, () => told(record));
  }

  create(record: Membership): void {
    this.record = record;
    for (const name of this.#watchers.keys()) this.#tell(name, record);
  }

  #apply(expected: Membership, next: Membership): 'applied' | 'conflict' {
    if (this.record === undefined || !sameMembership(this.record, expected)) return 'conflict';
    const previous = this.record;
    this.record = next;
    this.onChange(next, previous);
    for (const name of this.#watchers.keys()) this.#tell(name, next);
    return 'applied';
  }
}
