import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../client/errors.js';
import { ClusterError } from './errors.js';

/**
 * Asks until the answer is not undefined. Errors of `ask` count as "not yet".
 * Errors: ClusterError('timeout') naming what was waited for, with the last error as its cause.
 */
export async function waitFor<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  options: { readonly timeoutMs: number; readonly intervalMs?: number; readonly signal?: AbortSignal },
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  let last: unknown;
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      // A definite failure ends the wait; anything else may pass.
      if (error instanceof ClusterError || error instanceof ApiError) throw error;
      last = error;
    }
    if (performance.now() > deadline) {
      const why = last === undefined ? '' : `: ${(last as Error).message}`;
      throw new ClusterError('timeout', `${what}: not within ${options.timeoutMs / 1000} s${why}`, { cause: last });
    }
    await sleep(options.intervalMs ?? 100);
  }
}
