/** Sessions: JWTs of five minutes, signed with a key that every node derives from the cluster key. */

import { hkdfSync } from 'node:crypto';
import { jwtVerify, SignJWT } from 'jose';
import type { User } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { Random } from '../../core/ports.js';
import { isUuid, type UserId } from '../../core/types.js';

export const SESSION_SECONDS = 300;
const ISSUER = 'storageos';

export interface Session {
  readonly user: UserId;
  /** Wall clock, ms since 1970. */
  readonly issuedAtMs: number;
}

export class TokenService {
  readonly #key: Uint8Array;
  readonly #random: Random;

  /** `secret`: the cluster key. HKDF-SHA256 (RFC 5869), HS256 (RFC 7518). */
  constructor(secret: Uint8Array, random: Random) {
    this.#key = new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(), 'storageos api session tokens', 32));
    this.#random = random;
  }

  issue(user: User, nowMs: number): Promise<string> {
    // The moment from which sessions are valid may have been given by a node whose clock is ahead of this one's.
    const seconds = Math.max(nowMs, Date.parse(user.sessionsValidFrom)) / 1000;
    // Numeric dates may have fractions (RFC 7519): a session that was ended and one begun in the same second differ.
    return new SignJWT({
      sub: user.id,
      iss: ISSUER,
      iat: seconds,
      exp: seconds + SESSION_SECONDS,
      jti: this.#random.uuid(),
    })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .sign(this.#key);
  }

  /** Errors: 'unauthenticated' for anything but a token of this cluster that has not expired. */
  async verify(token: string, nowMs: number): Promise<Session> {
    try {
      const { payload } = await jwtVerify(token, this.#key, {
        algorithms: ['HS256'],
        issuer: ISSUER,
        currentDate: new Date(nowMs),
        requiredClaims: ['sub', 'iat', 'exp'],
      });
      const { sub, iat } = payload;
      if (sub !== undefined && iat !== undefined && isUuid(sub)) return { user: sub as UserId, issuedAtMs: iat * 1000 };
    } catch (cause) {
      throw new DomainError('unauthenticated', 'authentication required', { cause });
    }
    throw new DomainError('unauthenticated', 'authentication required');
  }
}
