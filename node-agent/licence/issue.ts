import type { KeyObject } from 'node:crypto';
import type { LicenceTerms } from '../../core/licence.js';
import { signLicence } from './text.js';

/** The free licence of StorageOS: 5 TiB. */
export const DEVELOPER_KIND = 'developer';
export const DEVELOPER_CAPACITY_GIB = 5 * 1024;

const DAY_MS = 24 * 3_600_000;

/** The text of a licence that is valid for so many days from `now` on. Errors: DomainError('invalid'). */
export function issueLicence(terms: Omit<LicenceTerms, 'expiresAt'>, days: number, key: KeyObject, now: Date): string {
  return signLicence({ ...terms, expiresAt: new Date(now.getTime() + days * DAY_MS).toISOString() }, key);
}
