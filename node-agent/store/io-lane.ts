/**
 * Bounds what one file system has in the process's thread pool. All disks share that pool (and so do name look-ups and
 * password hashes): without a bound, one disk that does not answer would soon hold every thread.
 */

import { Fifo } from '../../core/fifo.js';
import type { DiskError } from '../../core/ports.js';

/**
 * For an agent, whoever starts it sets UV_THREADPOOL_SIZE to this: by the time that the agent's own code runs, loading
 * it has started the pool. A thread that waits costs some KiB.
 */
export const AGENT_POOL_THREADS = 32;
/** What libuv takes when nothing is said. */
const DEFAULT_THREADS = 4;
/** Threads of the pool per thread that one file system may hold with reads, syncs, and whatever waits for its journal. */
const SHARE = 4;
const MIN_OPERATIONS = 2;
/** The same for writes into the page cache, which are short: they don't wait behind syncs. */
const WRITE_SHARE = 8;
const MIN_WRITES = 1;

/** Threads of this process's pool, as libuv reads it from the environment at the first use. */
export function poolThreads(environment: NodeJS.ProcessEnv = process.env): number {
  const threads = Number(environment.UV_THREADPOOL_SIZE);
  return Number.isInteger(threads) && threads > 0 ? threads : DEFAULT_THREADS;
}

export type Settle<T> = (error: NodeJS.ErrnoException | null, result?: T) => void;

export class IoLane {
  readonly #errorOf: (path: string, error: unknown) => DiskError;
  readonly #limit: number;
  readonly #waiting = new Fifo<() => void>();
  #running = 0;

  /** `errorOf` says what an error of an operation on a path is for the caller; `limit`: operations at a time. */
  constructor(errorOf: (path: string, error: unknown) => DiskError, limit: number) {
    this.#errorOf = errorOf;
    this.#limit = limit;
  }

  /** Runs the operation when it is its turn; in the order of the calls. Rejects with the error that it settles with. */
  run<T = void>(path: string, operation: (settle: Settle<T>) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const start = (): void => {
        this.#running++;
        operation((error, result) => {
          this.#running--;
          if (error === null) resolve(result as T);
          else reject(this.#errorOf(path, error));
          this.#waiting.shift()?.();
        });
      };
      if (this.#running < this.#limit) start();
      else this.#waiting.push(start);
    });
  }
}

/** The lanes of all file systems, by their numbers: one that does not answer has no threads of the others. */
export class IoLanes {
  readonly #errorOf: (path: string, error: unknown) => DiskError;
  readonly #writes = new Map<number, IoLane>();
  readonly #others = new Map<number, IoLane>();

  constructor(errorOf: (path: string, error: unknown) => DiskError) {
    this.#errorOf = errorOf;
  }

  /** Writes into the page cache. */
  writes(device: number): IoLane {
    return this.#lane(this.#writes, device, Math.max(MIN_WRITES, Math.floor(poolThreads() / WRITE_SHARE)));
  }

  /** Everything else. */
  others(device: number): IoLane {
    return this.#lane(this.#others, device, Math.max(MIN_OPERATIONS, Math.floor(poolThreads() / SHARE)));
  }

  #lane(lanes: Map<number, IoLane>, device: number, limit: number): IoLane {
    let lane = lanes.get(device);
    if (lane === undefined) {
      lane = new IoLane(this.#errorOf, limit);
      lanes.set(device, lane);
    }
    return lane;
  }
}
