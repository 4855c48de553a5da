/**
 * Tells the log why requests of a volume's device end with an error. An application sees no more than EIO or ENOSPC,
 * a file system turns read-only, and what made it so may be on any node.
 */

import type { IoStatus } from '../../core/messages.js';
import type { Clock } from '../../core/ports.js';
import type { OperationKind } from './stats.js';

/** The same error of the same operation is told again after this time, with how often it came meanwhile. */
export const REPEAT_MS = 60_000;

/** `malformed`: out of range, or what the device does not do; the client is at fault. */
export type Refusal = Exclude<IoStatus, 'ok'> | 'malformed';

export interface RefusalsOptions {
  readonly clock: Clock;
  readonly log: (level: 'warn', message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** Of one device; bounded by the pairs of operation and error. */
export class Refusals {
  readonly #options: RefusalsOptions;
  readonly #told = new Map<string, { readonly atMs: number; untold: number }>();

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  add(operation: OperationKind, error: Refusal): void {
    const { clock, log } = this.#options;
    const cause = `${operation} ${error}`;
    const atMs = clock.now();
    const last = this.#told.get(cause);
    if (last !== undefined && atMs - last.atMs < REPEAT_MS) {
      last.untold++;
      return;
    }
    log('warn', 'a request is answered with an error', { operation, error, before: last?.untold ?? 0 });
    this.#told.set(cause, { atMs, untold: 0 });
  }
}
