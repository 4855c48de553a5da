/**
 * Everything that may happen next, in queues. Each is consumed in its order; which queue goes next is chosen from
 * outside, so that every order of messages can be had, and had again.
 */

import { STATE } from './fingerprint.js';

interface Item {
  /** Counts everything that was ever posted. */
  readonly number: number;
  /** What arrives. */
  readonly what: string | object;
  readonly run: () => void | Promise<void>;
}

interface Queue {
  readonly consumer: string;
  readonly items: Item[];
}

export class Queues {
  readonly #queues = new Map<string, Queue>();
  readonly #blocked = new Set<string>();
  /** Whoever is never late: what is for them happens as it is posted. */
  readonly atOnce = new Set<string>();
  #posted = 0;

  /** `consumer`: whose state `run` changes. What it causes elsewhere goes through queues again. */
  post(queue: string, consumer: string, what: Item['what'], run: Item['run']): void {
    if (this.atOnce.has(consumer)) return void run();
    let present = this.#queues.get(queue);
    if (present === undefined) {
      present = { consumer, items: [] };
      this.#queues.set(queue, present);
    }
    present.items.push({ number: this.#posted++, what, run });
  }

  /** The queues that can go on, the one that has waited longest first. */
  ready(): string[] {
    const heads: [name: string, number: number][] = [];
    for (const [name, { items }] of this.#queues) {
      const [head] = items;
      if (head !== undefined && !this.#blocked.has(name)) heads.push([name, head.number]);
    }
    return heads.sort(([, a], [, b]) => a - b).map(([name]) => name);
  }

  /** All that waits, the longest first. */
  waiting(): string[] {
    const all = [...this.#queues].flatMap(([name, { items }]) => items.map(({ number }) => [name, number] as const));
    return all.sort(([, a], [, b]) => a - b).map(([name]) => name);
  }

  consumerOf(queue: string): string {
    return this.#queues.get(queue)!.consumer;
  }

  length(queue: string): number {
    return this.#queues.get(queue)?.items.length ?? 0;
  }

  /** Runs the head of a queue; says what it was. */
  async take(queue: string): Promise<void> {
    const item = this.#queues.get(queue)?.items.shift();
    if (item === undefined) throw new Error(`nothing is in ${queue}`);
    await item.run();
  }

  /** What the head of a queue is. */
  head(queue: string): Item['what'] | undefined {
    return this.#queues.get(queue)?.items[0]?.what;
  }

  /** Only the first `keep` arrive. */
  cut(queue: string, keep: number): void {
    this.#queues.get(queue)?.items.splice(keep);
  }

  /** All of them at the same time, for whoever is gone. */
  clear(consumer: string): void {
    for (const queue of this.#queues.values()) if (queue.consumer === consumer) queue.items.length = 0;
  }

  block(queue: string): void {
    this.#blocked.add(queue);
  }

  unblock(queue: string): void {
    this.#blocked.delete(queue);
  }

  /** Not who has waited longest: all choices are made from outside. */
  [STATE](): unknown {
    const names = [...this.#queues.keys()].filter((name) => this.length(name) > 0 || this.#blocked.has(name)).sort();
    return names.map((name) => [
      name,
      this.#blocked.has(name),
      this.#queues.get(name)?.items.map(({ what, run }) => [what, run]),
    ]);
  }
}
