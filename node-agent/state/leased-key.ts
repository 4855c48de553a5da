/** A key that is there as long as somebody lives: bound to a lease that is renewed. */

import { DomainError } from '../../core/errors.js';
import type { Clock } from '../../core/ports.js';
import { type EtcdConnection, toDomainError } from './etcd.js';

/** Renewals within one TTL. */
const RENEWALS_PER_TTL = 3;
/** Taken off the lease's end for the difference in rate between this clock and etcd's. */
const MARGIN_MS = 500;
/** After a failed renewal, ms. */
const RETRY_MS = 500;

export interface LeasedKeyOptions {
  readonly etcd: EtcdConnection;
  readonly clock: Clock;
  readonly key: string;
  readonly value: Buffer;
  /** What the key says, for messages: "the sign of life of this node". */
  readonly what: string;
  /** At least 2. */
  readonly ttlSeconds: number;
  /** Renewals fail from now on, told once; the registration is renewed again when etcd answers. */
  readonly onTrouble: (error: unknown) => void;
}

/**
 * Keeps the key there until `stop`. A lease that etcd has lost or revoked is replaced by a new one.
 *
 * `validUntil` rests on the moment at which the last successful renewal was sent, so the key cannot have
 * expired before it; the client library's own notice of a lost lease comes up to two TTLs too late.
 */
export class LeasedKey {
  readonly #options: LeasedKeyOptions;
  #leaseId: string | undefined;
  #validUntil = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #failing = false;
  #stopped = false;

  constructor(options: LeasedKeyOptions) {
    this.#options = options;
  }

  /** On `clock`, ms: until then the key is certainly there. */
  get validUntil(): number {
    return this.#validUntil;
  }

  /** Resolves when the key is there. Errors: 'store-unavailable'. */
  async start(): Promise<void> {
    await this.#grant();
    this.#schedule(this.#intervalMs);
  }

  /** Removes the key at once if etcd answers; else it goes with its lease. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#validUntil = Number.NEGATIVE_INFINITY;
    if (this.#leaseId === undefined) return;
    try {
      await this.#options.etcd.client.leaseClient.leaseRevoke({ ID: this.#leaseId });
    } catch (error) {
      this.#options.onTrouble(toDomainError(error, `revoking ${this.#options.what}`));
    }
  }

  get #intervalMs(): number {
    return (this.#options.ttlSeconds * 1000) / RENEWALS_PER_TTL;
  }

  #schedule(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#renew().then(
        () => {
          this.#failing = false;
          this.#schedule(this.#intervalMs);
        },
        (error) => {
          if (!this.#failing) this.#options.onTrouble(toDomainError(error, `renewing ${this.#options.what}`));
          this.#failing = true;
          this.#schedule(RETRY_MS);
        },
      );
    }, delayMs);
  }

  async #grant(): Promise<void> {
    const { etcd, clock, key, value, ttlSeconds } = this.#options;
    const sent = clock.now();
    try {
      const lease = await etcd.client.leaseClient.leaseGrant({ TTL: ttlSeconds });
      this.#leaseId = lease.ID;
      await etcd.transaction([], [{ put: key, value, lease: lease.ID }]);
    } catch (error) {
      throw toDomainError(error, `granting ${this.#options.what}`);
    }
    this.#extend(sent);
  }

  async #renew(): Promise<void> {
    const leaseId = this.#leaseId;
    if (leaseId === undefined) return this.#grant();
    const sent = this.#options.clock.now();
    const remainingSeconds = await this.#keepAlive(leaseId);
    if (this.#stopped) return;
    if (remainingSeconds > 0) {
      this.#extend(sent);
      return;
    }
    this.#leaseId = undefined;
    await this.#grant();
  }

  #extend(sent: number): void {
    this.#validUntil = sent + this.#options.ttlSeconds * 1000 - MARGIN_MS;
  }

  /** The lease's new time to live in seconds, 0 if etcd does not know it. */
  async #keepAlive(leaseId: string): Promise<number> {
    const { etcd, ttlSeconds } = this.#options;
    const stream = await etcd.client.leaseClient.leaseKeepAlive({ deadline: Date.now() + ttlSeconds * 1000 });
    return new Promise<number>((resolve, reject) => {
      stream.on('data', (answer) => {
        resolve(Number(answer.TTL));
        stream.end();
      });
      stream.on('error', reject);
      stream.on('end', () => reject(new DomainError('store-unavailable', 'etcd ended the renewal without an answer')));
      stream.write({ ID: leaseId });
    });
  }
}
