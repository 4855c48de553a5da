/** etcd as its clients meet it: linearizable, sometimes away, sometimes late with success, watches that lag. */

import type { Membership } from '../../core/domain.js';
import { sameMembership } from '../../core/membership.js';
import type { SwapOutcome } from '../../core/ports.js';
import type { VolumeId } from '../../core/types.js';
import type { Network } from './network.js';
import type { SimProcess } from './scheduler.js';

const REQUEST_TIMEOUT_MS = 1_000;
/** Of a request that was given up and lands after all. */
const MIN_LATE_MS = 50;
export const MAX_LATE_MS = 6_000;
/** Share of changes that a watch shows late, and by how much. */
const LATE_WATCH = 0.05;
const LATE_WATCH_MS = { min: 100, max: 3_000 };

interface Watcher {
  readonly name: string;
  readonly process: SimProcess;
  readonly volume: VolumeId;
  readonly told: (record: Membership | undefined) => void;
  /** Changes of the record that it has been told. */
  sent: number;
}

export interface EtcdClient {
  readonly name: string;
  readonly process: SimProcess;
  /** Of the etcd that it found at its start: what another one answers to a swap counts for nothing. */
  readonly etcdClusterId: string;
}

export class SimEtcd {
  readonly #network: Network;
  /** Of each volume's record: all that it has been, the present one last. */
  readonly #records = new Map<VolumeId, Membership[]>();
  clusterId = 'sim-1';
  #clusters = 1;
  /** Nobody is answered while it is down. */
  down = false;
  /** Share of requests that get lost, are late, or whose answer gets lost. */
  trouble = 0;
  readonly #watchers = new Set<Watcher>();
  swaps = 0;
  unknownOutcomes = 0;
  /** Told of every record that is written, also of the first. */
  onChange: (record: Membership) => void = () => {};

  constructor(network: Network) {
    this.#network = network;
  }

  record(volume: VolumeId): Membership | undefined {
    return this.#records.get(volume)?.at(-1);
  }

  /** How many times the record has changed. */
  changes(volume: VolumeId): number {
    return this.#records.get(volume)?.length ?? 0;
  }

  create(record: Membership): void {
    this.#put(record);
    this.onChange(record);
  }

  #put(record: Membership): void {
    const records = this.#records.get(record.volume);
    if (records === undefined) this.#records.set(record.volume, [record]);
    else records.push(record);
    for (const watcher of this.#watchers) if (watcher.volume === record.volume) this.#tell(watcher);
  }

  /**
   * An older snapshot takes its place: of each record, what it was `changes` changes ago. With `replaced`, the cluster
   * that is made of the snapshot is another one: watches of the old one's clients show nothing any more.
   */
  rollBack(changes: (volume: VolumeId) => number, replaced: boolean): void {
    if (replaced) {
      this.clusterId = `sim-${++this.#clusters}`;
      this.#watchers.clear();
    }
    for (const [volume, records] of this.#records) {
      const older = records[Math.max(0, records.length - 1 - changes(volume))]!;
      if (older !== records.at(-1)) this.#put(older);
    }
  }

  #apply(expected: Membership, next: Membership): 'applied' | 'conflict' {
    const previous = this.record(expected.volume);
    if (previous === undefined || !sameMembership(previous, expected)) return 'conflict';
    this.swaps++;
    this.#put(next);
    this.onChange(next);
    return 'applied';
  }

  swap(client: EtcdClient, expected: Membership, next: Membership): Promise<SwapOutcome> {
    return this.#request(client, () => this.#apply(expected, next));
  }

  /** A change of something else that etcd has. Rejects without an answer: it may have been made, or be made yet. */
  async write(client: EtcdClient, change: () => void): Promise<void> {
    if ((await this.#request(client, change)) === 'unknown') throw new Error('etcd does not answer');
  }

  #request<T>(client: EtcdClient, take: () => T): Promise<T | 'unknown'> {
    return new Promise((resolve) => {
      const { scheduler, random } = this.#network;
      const answer = client.process.wrap(resolve);
      const unknown = (): void => {
        this.unknownOutcomes++;
        scheduler.after(REQUEST_TIMEOUT_MS, () => answer('unknown'));
      };
      const late = (): void => {
        // The request sits somewhere and lands later, if it still can; hardly so where nothing gets through.
        if (random.chance(this.#reachable(client.name) ? 0.6 : 0.1)) {
          scheduler.after(random.between(MIN_LATE_MS, MAX_LATE_MS), () => {
            if (!this.down) take();
          });
        }
      };
      scheduler.after(this.#network.delay(), () => {
        if (!this.#reachable(client.name) || random.chance(this.trouble)) {
          late();
          unknown();
          return;
        }
        const outcome = take();
        if (this.clusterId !== client.etcdClusterId || random.chance(this.trouble)) unknown();
        else scheduler.after(this.#network.delay(), () => answer(outcome));
      });
    });
  }

  read({ name, process }: Pick<EtcdClient, 'name' | 'process'>, volume: VolumeId): Promise<Membership | undefined> {
    return new Promise((resolve, reject) => {
      const { scheduler, random } = this.#network;
      scheduler.after(this.#network.delay(), () => {
        if (!this.#reachable(name) || random.chance(this.trouble)) {
          scheduler.after(REQUEST_TIMEOUT_MS, () => process.run(() => reject(new Error('etcd does not answer'))));
          return;
        }
        const record = this.record(volume);
        scheduler.after(this.#network.delay(), () => process.run(() => resolve(record)));
      });
    });
  }

  /** The present record and every later one, after a while. */
  watch(name: string, process: SimProcess, volume: VolumeId, told: (record: Membership | undefined) => void): void {
    const watcher: Watcher = { name, process, volume, told, sent: Math.max(0, this.changes(volume) - 1) };
    this.#watchers.add(watcher);
    this.#tell(watcher);
  }

  #tell(watcher: Watcher): void {
    const { scheduler, random } = this.#network;
    const { min, max } = LATE_WATCH_MS;
    const delay = random.chance(LATE_WATCH) ? random.between(min, max) : this.#network.delay();
    const deliver = (): void => {
      if (!watcher.process.alive) {
        this.#watchers.delete(watcher);
        return;
      }
      const records = this.#records.get(watcher.volume) ?? [];
      if (watcher.sent >= records.length) return;
      if (!this.#reachable(watcher.name)) {
        scheduler.after(100, deliver);
        return;
      }
      while (watcher.sent < records.length) {
        const record = records[watcher.sent++];
        watcher.process.run(() => watcher.told(record));
      }
    };
    scheduler.after(delay, deliver);
  }

  #reachable(client: string): boolean {
    return !this.down && !this.#network.isCut(client, 'etcd');
  }
}
