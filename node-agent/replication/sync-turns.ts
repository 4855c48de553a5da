/**
 * When a sync may copy: so many at a time from this node, in the cluster, and to the node of its target. They are asked
 * for in this order and nobody who holds one waits for somebody who waits for it: a target's node that has no room is
 * not waited for, but asked again later with nothing in hand.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { ReplicationError } from '../../core/replication/context.js';
import type { SyncSlots } from './sync-slots.js';

/** How long a target's node that takes in as many syncs as it can is left alone, ms; with as much jitter. */
const BUSY_PAUSE_MS = 500;

/** Something that goes on and can be ended. */
export interface Running<T> {
  readonly done: Promise<T>;
  cancel(): void;
}

/** Slots that all nodes share. `take` rejects with the signal's reason. */
export interface SharedSlots {
  take(id: string, signal: AbortSignal): Promise<() => Promise<void>>;
}

export interface SyncTurnsOptions {
  readonly local: SyncSlots;
  /** Absent: no limit in the cluster. */
  readonly cluster?: SharedSlots | undefined;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export class SyncTurns {
  readonly #options: SyncTurnsOptions;

  constructor(options: SyncTurnsOptions) {
    this.#options = options;
  }

  /**
   * Calls `begin` when it is the turn of `id`, and again if the target's node was busy. `done` rejects with what `begin`
   * throws or its `done` rejects with, and with ReplicationError('cancelled').
   */
  run<T>(id: string, begin: () => Running<T>): Running<T> {
    const abort = new AbortController();
    return {
      done: this.#run(id, begin, abort.signal),
      cancel: () => abort.abort(new ReplicationError('cancelled', 'the sync was cancelled')),
    };
  }

  async #run<T>(id: string, begin: () => Running<T>, signal: AbortSignal): Promise<T> {
    const { local, cluster, random } = this.#options;
    for (;;) {
      const free = await local.take(signal);
      try {
        const give = await cluster?.take(id, signal);
        try {
          return await untilCancelled(begin(), signal);
        } finally {
          await give?.();
        }
      } catch (error) {
        if (!(error instanceof ReplicationError) || error.code !== 'target-busy') throw error;
      } finally {
        free();
      }
      await sleep(BUSY_PAUSE_MS * (1 + random()), undefined, { signal }).catch(() => {});
      signal.throwIfAborted();
    }
  }
}

async function untilCancelled<T>(running: Running<T>, signal: AbortSignal): Promise<T> {
  const cancel = (): void => running.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) cancel();
  try {
    return await running.done;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}
