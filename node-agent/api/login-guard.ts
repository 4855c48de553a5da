/**
 * Slows down guessing of passwords. Failed logins are counted by the address that they come from and by the name that
 * they are for, whether or not there is such a user. Who has used up the allowance has to wait, also with the right
 * password, so that an answer tells nothing about it; an allowance grows back with time. A user who has logged in
 * from an address lately is counted there apart from everybody else, so that nobody else can lock them out.
 *
 * Every node counts for itself. The allowances are divided by the number of nodes, so that asking all of them in turn
 * gains nothing.
 */

import { isIPv6 } from 'node:net';
import { DomainError } from '../../core/errors.js';

export interface LoginLimits {
  /** Failures in quick succession. */
  readonly burst: number;
  /** Time after which one more is allowed, ms. */
  readonly intervalMs: number;
}

/** Ten a minute from one address in the long run. */
export const ADDRESS_LIMITS: LoginLimits = { burst: 60, intervalMs: 6_000 };
/** One in half a minute for one name: below 3,000 guesses a day. */
export const NAME_LIMITS: LoginLimits = { burst: 30, intervalMs: 30_000 };
/** However many nodes there are, so many failures are allowed on each. */
const LEAST_BURST = 5;
/** Addresses and names that are remembered, each; the one used longest ago is forgotten first. */
const MAX_REMEMBERED = 10_000;
/** An address counts as known to a user for so long after a login, ms. */
const KNOWN_MS = 24 * 3_600_000;

/** Too many failed logins. The same attempt may be made after `retryAfterSeconds`. */
export class TooManyAttempts extends DomainError {
  readonly retryAfterSeconds: number;
  constructor(retryAfterSeconds: number) {
    super('too-many-requests', `too many failed logins; try again in ${retryAfterSeconds} s`);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** A login that has been let through. If neither is called, it stays counted as failed. */
export interface Attempt {
  succeeded(): void;
  /** It was not told whether the password is right. */
  abandoned(): void;
}

export class LoginGuard {
  readonly #now: () => number;
  readonly #addresses: Allowances;
  readonly #names: Allowances;
  /** Of users at addresses from which they have logged in. */
  readonly #pairs: Allowances;
  readonly #known = new RecentlyUsed<number>();

  /** `now`: monotonic, ms. `nodes`: how many nodes take logins. */
  constructor(options: { readonly now: () => number; readonly nodes: () => number }) {
    this.#now = options.now;
    this.#addresses = new Allowances(ADDRESS_LIMITS, options);
    this.#names = new Allowances(NAME_LIMITS, options);
    this.#pairs = new Allowances(NAME_LIMITS, options);
  }

  /**
   * Counts the attempt as failed until it is known better, so that attempts at the same time are counted too.
   * `address` undefined: not known. Errors: TooManyAttempts.
   */
  admit(username: string, address: string | undefined): Attempt {
    const from = network(address);
    const pair = JSON.stringify([from, username]);
    const knownUntil = this.#known.get(pair) ?? Number.NEGATIVE_INFINITY;
    const counted: readonly (readonly [Allowances, string])[] =
      knownUntil > this.#now()
        ? [[this.#pairs, pair]]
        : [
            [this.#addresses, from],
            [this.#names, username],
          ];
    const waitMs = Math.max(...counted.map(([allowances, key]) => allowances.waitMs(key)));
    if (waitMs > 0) throw new TooManyAttempts(Math.ceil(waitMs / 1000));
    for (const [allowances, key] of counted) allowances.take(key);
    const giveBack = () => {
      for (const [allowances, key] of counted) allowances.giveBack(key);
    };
    return {
      abandoned: giveBack,
      succeeded: () => {
        giveBack();
        this.#known.set(pair, this.#now() + KNOWN_MS);
      },
    };
  }
}

/** A host with IPv6 has 2^64 addresses: they count as one. */
function network(address: string | undefined): string {
  if (address === undefined) return 'unknown';
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
  if (!isIPv6(plain)) return plain;
  const { hostname } = new URL(`http://[${plain.replace(/%.*$/, '')}]`);
  const [head = '', tail] = hostname.slice(1, -1).split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - groups.length - rest.length;
  return [...groups, ...Array.from({ length: zeros }, () => '0'), ...rest].slice(0, 4).join(':');
}

/** Token buckets by key. */
class Allowances {
  readonly #limits: LoginLimits;
  readonly #now: () => number;
  readonly #nodes: () => number;
  /** `spent`: failures that have not grown back at `atMs`. Without an entry: none. */
  readonly #buckets = new RecentlyUsed<{ readonly spent: number; readonly atMs: number }>();

  constructor(limits: LoginLimits, options: { readonly now: () => number; readonly nodes: () => number }) {
    this.#limits = limits;
    this.#now = options.now;
    this.#nodes = options.nodes;
  }

  /** 0: an attempt is allowed now. */
  waitMs(key: string): number {
    const burst = Math.max(LEAST_BURST, Math.ceil(this.#limits.burst / this.#share));
    return Math.max(0, this.#spent(key) + 1 - burst) * this.#intervalMs;
  }

  take(key: string): void {
    this.#buckets.set(key, { spent: this.#spent(key) + 1, atMs: this.#now() });
  }

  giveBack(key: string): void {
    this.#buckets.set(key, { spent: Math.max(0, this.#spent(key) - 1), atMs: this.#now() });
  }

  get #share(): number {
    return Math.max(1, this.#nodes());
  }

  get #intervalMs(): number {
    return this.#limits.intervalMs * this.#share;
  }

  #spent(key: string): number {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return 0;
    return Math.max(0, bucket.spent - (this.#now() - bucket.atMs) / this.#intervalMs);
  }
}

/** A map that forgets what was set longest ago. */
class RecentlyUsed<V> {
  readonly #entries = new Map<string, V>();

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= MAX_REMEMBERED) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }
}
