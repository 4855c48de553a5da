/** Password hashes: argon2id with the parameters that OWASP recommends (19 MiB, 2 passes, 1 lane). */

import { type Algorithm, hash, verify } from '@node-rs/argon2';
import { DomainError } from '../../core/errors.js';

export const MIN_PASSWORD_CHARS = 8;
export const MAX_PASSWORD_CHARS = 1024;

/** The library's enumeration exists for the compiler only. */
const ARGON2ID: Algorithm = 2;
const PARAMETERS = { algorithm: ARGON2ID, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

/** Hashes computed at a time: each takes 19 MiB and tens of milliseconds of a core. */
const MAX_RUNNING = 2;
/** Requests that wait for a hash at the most. */
const MAX_WAITING = 64;

export class PasswordHasher {
  #running = 0;
  readonly #waiting = new Set<() => void>();
  #decoy: Promise<string> | undefined;

  /** `signal`: whoever waits for its turn gives up. Errors: 'node-unavailable' if too many wait. */
  hash(password: string, signal?: AbortSignal): Promise<string> {
    return this.#limited(() => hash(password, PARAMETERS), signal);
  }

  /**
   * `known` undefined: takes as long as a comparison, so that names cannot be told by the time; then false.
   * `signal` and errors: as with `hash`.
   */
  async verify(known: string | undefined, password: string, signal?: AbortSignal): Promise<boolean> {
    this.#decoy ??= hash('', PARAMETERS);
    const compared = known ?? (await this.#decoy);
    const equal = await this.#limited(() => verify(compared, password), signal);
    return equal && known !== undefined;
  }

  async #limited<R>(run: () => Promise<R>, signal: AbortSignal | undefined): Promise<R> {
    if (this.#running >= MAX_RUNNING) await this.#turn(signal);
    else this.#running++;
    try {
      return await run();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) {
        this.#running--;
      } else {
        this.#waiting.delete(next);
        next();
      }
    }
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiting.size >= MAX_WAITING)
      throw new DomainError('node-unavailable', 'too many logins at a time; try again');
    await new Promise<void>((resolve, reject) => {
      const giveUp = () => {
        this.#waiting.delete(begin);
        reject(new DomainError('node-unavailable', 'the client has gone'));
      };
      const begin = () => {
        signal?.removeEventListener('abort', giveUp);
        resolve();
      };
      this.#waiting.add(begin);
      signal?.addEventListener('abort', giveUp, { once: true });
      if (signal?.aborted) giveUp();
    });
  }
}
