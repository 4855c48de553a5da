/**
 * Session tokens: JWTs (RFC 7519) that live for five minutes, signed with HMAC-SHA-256. The signing key changes every
 * hour and is derived from the cluster key, so that all nodes have the same one without storing or sending it, and
 * one that leaked is of no use for longer than two hours.
 */

import { jwtVerify, SignJWT } from 'jose';
import type { User } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { Random } from '../../core/ports.js';
import { isUuid, type UserId } from '../../core/types.js';
import { deriveKey } from '../keys/index.js';

/** Life of a token, seconds. */
export const SESSION_SECONDS = 300;
/** A signing key signs for this long, seconds. */
export const KEY_SECONDS = 3600;
const ISSUER = 'storageos';

export interface Session {
  readonly user: UserId;
  /** The `sessionGeneration` that the user had when the token was issued; of no use if it is another one now. */
  readonly generation: number;
}

export class TokenService {
  readonly #secret: Uint8Array;
  readonly #random: Random;
  /** By period; those around the last one used. */
  readonly #keys = new Map<number, Uint8Array>();

  /** `secret`: the cluster key. */
  constructor(secret: Uint8Array, random: Random) {
    this.#secret = secret;
    this.#random = random;
  }

  /** `nowMs`: Unix time. */
  issue(user: User, nowMs: number): Promise<string> {
    const seconds = Math.floor(nowMs / 1000);
    const period = periodOf(nowMs);
    return new SignJWT({
      sub: user.id,
      iss: ISSUER,
      iat: seconds,
      exp: seconds + SESSION_SECONDS,
      jti: this.#random.uuid(),
      gen: user.sessionGeneration,
    })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT', kid: String(period) })
      .sign(this.#key(period));
  }

  /** Errors: 'unauthenticated' for anything but a token of this cluster that has not expired. */
  async verify(token: string, nowMs: number): Promise<Session> {
    try {
      const { payload } = await jwtVerify(token, ({ kid }) => this.#keyNamed(kid, nowMs), {
        algorithms: ['HS256'],
        issuer: ISSUER,
        currentDate: new Date(nowMs),
        requiredClaims: ['sub', 'iat', 'exp', 'gen'],
      });
      const { sub, gen } = payload;
      if (sub !== undefined && isUuid(sub) && typeof gen === 'number') return { user: sub as UserId, generation: gen };
    } catch (cause) {
      throw new DomainError('unauthenticated', 'authentication required', { cause });
    }
    throw new DomainError('unauthenticated', 'authentication required');
  }

  /** Only the keys of this period and its neighbours count; nodes' clocks may differ a little. */
  #keyNamed(kid: string | undefined, nowMs: number): Uint8Array {
    const period = /^\d{1,9}$/.test(kid ?? '') ? Number(kid) : Number.NaN;
    if (!(Math.abs(period - periodOf(nowMs)) <= 1)) throw new DomainError('unauthenticated', 'not a key of this time');
    return this.#key(period);
  }

  #key(period: number): Uint8Array {
    const known = this.#keys.get(period);
    if (known !== undefined) return known;
    const key = deriveKey(this.#secret, `api session tokens ${period}`);
    for (const other of this.#keys.keys()) if (Math.abs(other - period) > 2) this.#keys.delete(other);
    this.#keys.set(period, key);
    return key;
  }
}

function periodOf(nowMs: number): number {
  return Math.floor(nowMs / (KEY_SECONDS * 1000));
}
