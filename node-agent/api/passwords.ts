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
  readonly #waiting: (() => void)[] = [];
  #decoy: Promise<string> | undefined;

  hash(password: string): Promise<string> {
    return this.#limited(() => hash(password, PARAMETERS));
  }

  /** `known` undefined: takes as long as a comparison, so that names cannot be told by the time; then false. */
  async verify(known: string | undefined, password: string): Promise<boolean> {
    this.#decoy ??= hash('', PARAMETERS);
    const compared = known ?? (await this.#decoy);
    const equal = await this.#limited(() => verify(compared, password));
    return equal && known !== undefined;
  }

  /** Errors: 'node-unavailable' if too many wait. */
  async #limited<R>(run: () => Promise<R>): Promise<R> {
    if (this.#running >= MAX_RUNNING) {
      if (this.#waiting.length >= MAX_WAITING) {
        throw new DomainError('node-unavailable', 'too many logins at a time; try again');
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await run();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
