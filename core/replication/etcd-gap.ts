/**
 * Whether this copy knows more than etcd: an etcd that was restored from an older snapshot, or replaced. What the
 * watch tells lags behind by moments at any time, so that a gap counts only once it lasts.
 */

import type { Membership } from '../domain.js';
import type { Epoch } from '../types.js';

/** `epoch`: it has promised an epoch that etcd does not know. `cluster`: it belongs to another etcd. */
export type EtcdBehind = 'epoch' | 'cluster';

export interface Known {
  readonly promised: Epoch;
  /** The etcd that the copy belongs to, and the one that this process talks to. */
  readonly ownCluster: string;
  readonly presentCluster: string;
}

/** How `record`, as etcd has it, contradicts what is known here. */
export function behindOf(record: Membership | undefined, known: Known): EtcdBehind | undefined {
  if (known.ownCluster !== known.presentCluster) return 'cluster';
  if (record === undefined) return undefined;
  if (record.etcdClusterId !== known.ownCluster) return 'cluster';
  return record.epoch < known.promised ? 'epoch' : undefined;
}

export class EtcdGap {
  readonly #now: () => number;
  readonly #lastingMs: number;
  #watched: Membership | undefined;
  #since: number | undefined;

  constructor(now: () => number, lastingMs: number) {
    this.#now = now;
    this.#lastingMs = lastingMs;
  }

  /** What the watch says now. */
  watched(record: Membership | undefined, known: Known): void {
    this.#watched = record;
    if (behindOf(record, known) === undefined) this.#since = undefined;
    else this.#since ??= this.#now();
  }

  lasting(known: Known): EtcdBehind | undefined {
    if (this.#since === undefined || this.#now() - this.#since < this.#lastingMs) return undefined;
    return behindOf(this.#watched, known);
  }
}
