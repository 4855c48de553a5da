/**
 * So many at a time in the whole cluster: a counting semaphore in etcd (its lock recipe with more than one holder).
 * Whoever wants a slot makes a key below a prefix; the first `limit` of them, by the revision in which they were made,
 * have one. So slots are given in the order of asking, nobody starves, and the keys of an agent that has died go with
 * their leases. An agent that etcd takes for dead keeps its slot until it gives it back: for so long there may be more.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DomainError } from '../../core/errors.js';
import type { Clock } from '../../core/ports.js';
import type { EtcdConnection } from './etcd.js';
import { LeasedKey } from './leased-key.js';

/** A slot is free so long after its holder has died, seconds. */
const TTL_SECONDS = 10;
/** How often those who wait look for their turn, ms. */
const LOOK_INTERVAL_MS = 500;

export interface ClusterSlotsOptions {
  readonly etcd: EtcdConnection;
  readonly clock: Clock;
  readonly onTrouble: (error: unknown) => void;
  /** Of the keys, with the slash at its end. */
  readonly prefix: string;
  readonly limit: number;
}

export class ClusterSlots {
  readonly #options: ClusterSlotsOptions;

  constructor(options: ClusterSlotsOptions) {
    this.#options = options;
  }

  /**
   * Waits for a slot under the name `id`, which is for people; etcd is waited for as well. The slot is held until it is
   * given back by calling what this resolves to, which never rejects. Rejects with the signal's reason.
   */
  async take(id: string, signal: AbortSignal): Promise<() => Promise<void>> {
    const { etcd, clock, prefix, onTrouble } = this.#options;
    // A primary that was deposed while it waited may wait beside the next one, for the same target.
    const key = `${prefix}${id}/${randomUUID()}`;
    const slot = new LeasedKey({
      etcd,
      clock,
      key,
      value: Buffer.from('{}'),
      what: `the slot ${key}`,
      ttlSeconds: TTL_SECONDS,
      onTrouble,
    });
    try {
      let there = false;
      for (;;) {
        signal.throwIfAborted();
        try {
          if (!there) await slot.start();
          there = true;
          if (await this.#isTurnOf(key)) return () => slot.stop();
        } catch (error) {
          if (!(error instanceof DomainError) || error.code !== 'store-unavailable') throw error;
          onTrouble(error);
        }
        await sleep(LOOK_INTERVAL_MS, undefined, { signal }).catch(() => {});
      }
    } catch (error) {
      await slot.stop();
      throw error;
    }
  }

  async #isTurnOf(key: string): Promise<boolean> {
    const { etcd, prefix, limit } = this.#options;
    const { items } = await etcd.list(prefix);
    const place = items.sort((a, b) => Number(a.revision) - Number(b.revision)).findIndex((item) => item.key === key);
    // Its lease was lost: the key comes back with the next renewal, at the end.
    return place >= 0 && place < limit;
  }
}
