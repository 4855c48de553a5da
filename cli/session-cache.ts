/** The token of the last login, kept in a file that only its user can read. */

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionStore } from '../client/transport.js';

/** A token counts as expired this long before it is, so that it does not expire on the way. */
const EARLY_MS = 5000;

export class SessionCache implements SessionStore {
  readonly #directory: string;
  readonly #file: string;

  constructor(directory: string, username: string, endpoints: readonly string[]) {
    this.#directory = directory;
    const name = createHash('sha512')
      .update([username, ...[...endpoints].sort()].join(''))
      .digest('hex');
    this.#file = join(directory, name);
  }

  /** Undefined if there is none that is still good. */
  load(): string | undefined {
    try {
      const { token, expiresAt } = JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, unknown>;
      if (typeof token !== 'string' || typeof expiresAt !== 'string') return undefined;
      return Date.parse(expiresAt) - EARLY_MS > Date.now() ? token : undefined;
    } catch {
      return undefined;
    }
  }

  /** A cache that cannot be written costs a login at the next command and is no error. */
  save(token: string, expiresAtMs: number): void {
    const temporary = `${this.#file}.${process.pid}`;
    try {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      writeFileSync(temporary, JSON.stringify({ token, expiresAt: new Date(expiresAtMs).toISOString() }), {
        mode: 0o600,
      });
      renameSync(temporary, this.#file);
    } catch {
      rmSync(temporary, { force: true });
    }
  }

  forget(): void {
    rmSync(this.#file, { force: true });
  }
}
