/** etcd as its clients meet it: linearizable, sometimes away, sometimes late with success, watches that lag. */

import type { Membership } from '../../core/domain.js';
import { sameMembership } from '../../core/membership.js';
import type { SwapOutcome } from '../../core/ports.js';
import type { Network } from './network.js';
import type { SimProcess } from './scheduler.js';

const REQUEST_TIMEOUT_MS = 1_000;

interface Watcher {
  readonly name: string;
  readonly process: SimProcess;
  readonly told: (record: Membership | undefined) => void;
  sent: number;
}

export class SimEtcd {
  readonly #network: Network;
  record: Membership | undefined;
  readonly records: Membership[] = [];
  /** Nobody is answered while it is down. */
  down = false;
  /** Share of requests that get lost, are late, or whose answer gets lost. */
  trouble = 0;
  readonly #watchers = new Set<Watcher>();
  swaps = 0;
  unknownOutcomes = 0;
  onChange: (record: Membership, previous: Membership) => void = () => {};

  constructor(network: Network) {
    this.#network = network;
  }

  create(record: Membership): void {
    this.record = record;
    this.records.push(record);
  }

  #apply(expected: Membership, next: Membership): 'applied' | 'conflict' {
    if (this.record === undefined || !sameMembership(this.record, expected)) return 'conflict';
    const previous = this.record;
    this.record = next;
    this.records.push(next);
    this.swaps++;
    this.onChange(next, previous);
    for (const watcher of this.#watchers) this.#tell(watcher);
    return 'applied';
  }

  swap(client: string, process: SimProcess, expected: Membership, next: Membership): Promise<SwapOutcome> {
    return new Promise((resolve) => {
      const { scheduler, random } = this.#network;
      const answer = process.wrap(resolve);
      const unknown = (): void => {
        this.unknownOutcomes++;
        scheduler.after(REQUEST_TIMEOUT_MS, () => answer('unknown'));
      };
      const late = (): void => {
        // The request sits somewhere and lands later, if it still can; hardly so where nothing gets through.
        if (random.chance(this.#reachable(client) ? 0.6 : 0.1)) {
          scheduler.after(random.between(50, 6_000), () => {
            if (!this.down) this.#apply(expected, next);
          });
        }
      };
      scheduler.after(this.#network.delay(), () => {
        if (!this.#reachable(client) || random.chance(this.trouble)) {
          late();
          unknown();
          return;
        }
        const outcome = this.#apply(expected, next);
        if (random.chance(this.trouble)) unknown();
        else scheduler.after(this.#network.delay(), () => answer(outcome));
      });
    });
  }

  read(client: string, process: SimProcess): Promise<Membership | undefined> {
    return new Promise((resolve, reject) => {
      const { scheduler, random } = this.#network;
      scheduler.after(this.#network.delay(), () => {
        if (!this.#reachable(client) || random.chance(this.trouble)) {
          scheduler.after(REQUEST_TIMEOUT_MS, () => process.run(() => reject(new Error('etcd does not answer'))));
          return;
        }
        const { record } = this;
        scheduler.after(this.#network.delay(), () => process.run(() => resolve(record)));
      });
    });
  }

  /** The present record and every later one, after a while. */
  watch(name: string, process: SimProcess, told: (record: Membership | undefined) => void): void {
    const watcher: Watcher = { name, process, told, sent: Math.max(0, this.records.length - 1) };
    this.#watchers.add(watcher);
    this.#tell(watcher);
  }

  #tell(watcher: Watcher): void {
    const { scheduler, random } = this.#network;
    const delay = random.chance(0.05) ? random.between(100, 3_000) : this.#network.delay();
    const deliver = (): void => {
      if (!watcher.process.alive) {
        this.#watchers.delete(watcher);
        return;
      }
      if (!this.#reachable(watcher.name)) {
        scheduler.after(100, deliver);
        return;
      }
      while (watcher.sent < this.records.length) {
        const record = this.records[watcher.sent++];
        watcher.process.run(() => watcher.told(record));
      }
    };
    scheduler.after(delay, deliver);
  }

  #reachable(client: string): boolean {
    return !this.down && !this.#network.isBlocked(client, 'etcd') && !this.#network.isBlocked('etcd', client);
  }
}
