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
/** Threads of the pool per thread that one file system may hold. */
const SHARE = 4;
const MIN_OPERATIONS = 2;

/** Threads of this process's pool, as libuv reads it from the environment at the first use. */
export function poolThreads(environment: NodeJS.ProcessEnv = process.env): number {
  const threads = Number(environment.UV_THREADPOOL_SIZE);
  return Number.isInteger(threads) && threads > 0 ? threads : DEFAULT_THREADS;
}

type Settle<T> = (error: NodeJS.ErrnoException | null, result?: T) => void;

export class IoLane {
  readonly #errorOf: (path: string, error: unknown) => DiskError;
  readonly #limit = Math.max(MIN_OPERATIONS, Math.floor(poolThreads() / SHARE));
  readonly #waiting = new Fifo<() => void>();
  #running = 0;

  /** `errorOf` says what an error of an operation on a path is for the caller. */
  constructor(errorOf: (path: string, error: unknown) => DiskError) {
    this.#errorOf = errorOf;
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
