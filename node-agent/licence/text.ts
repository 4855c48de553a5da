/**
 * The text of a licence: its terms in YAML, one to a line for people to read, followed by an Ed25519 signature (RFC
 * 8032) of exactly the bytes before it:
 *
 *     clusterCapacityGiB: 5120
 *     clusterID: 8d4cfc21-…
 *     customerName: Example Ltd
 *     expiresAt: 2027-01-01T00:00:00.000Z
 *     features: []
 *     kind: developer
 *     -----BEGIN LICENCE SIGNATURE-----
 *     (base64)
 *     -----END LICENCE SIGNATURE-----
 */

import { type KeyObject, sign, verify } from 'node:crypto';
import { isMap, parseDocument, stringify } from 'yaml';
import { z } from 'zod';
import { DomainError } from '../../core/errors.js';
import type { LicenceTerms } from '../../core/licence.js';
import { isUuid } from '../../core/types.js';
import { MAX_LICENCE_CHARS } from '../state/schemas.js';

/** A capacity of a licence at the most: 2^53 bytes. */
export const MAX_CAPACITY_GIB = 2 ** 23;

const BEGIN = '-----BEGIN LICENCE SIGNATURE-----';
const END = '-----END LICENCE SIGNATURE-----';
/** Of base64 in a line, as in PEM. */
const LINE_CHARS = 64;

const line = z
  .string()
  .max(253)
  .regex(/^[^\p{Cc}]*$/u, 'must be one line');

export const termsSchema = z.strictObject({
  clusterCapacityGiB: z.number().int().min(1).max(MAX_CAPACITY_GIB),
  clusterID: z.string().refine(isUuid, 'must be the id of a cluster'),
  customerName: line,
  expiresAt: z.iso.datetime({ offset: true }),
  features: z.array(line.min(1)).max(100).readonly(),
  kind: line.min(1),
});

/** Errors: DomainError('invalid') for terms that no licence can have. */
export function signLicence(terms: LicenceTerms, privateKey: KeyObject): string {
  const parsed = termsSchema.safeParse(terms);
  if (!parsed.success) throw malformed(parsed.error);
  const body = stringify(parsed.data, { sortMapEntries: true, lineWidth: 0 });
  const signature = sign(null, Buffer.from(body), privateKey).toString('base64');
  const lines = signature.match(new RegExp(`.{1,${LINE_CHARS}}`, 'g')) ?? [];
  return `${body}${[BEGIN, ...lines, END].join('\n')}\n`;
}

/**
 * The terms of a licence that one of the keys has signed. Line ends of other systems and empty space around the text
 * are put up with. Errors: DomainError('invalid') that says what is wrong, never what the text says.
 */
export function openLicence(text: string, publicKeys: readonly KeyObject[]): LicenceTerms {
  if (text.length > MAX_LICENCE_CHARS) throw invalid(`it is longer than ${MAX_LICENCE_CHARS} characters`);
  const plain = `${text.replaceAll('\r\n', '\n').trim()}\n`;
  const begin = plain.indexOf(`${BEGIN}\n`);
  const end = plain.indexOf(`\n${END}\n`);
  if (begin < 0 || end < begin) throw invalid(`it has no "LICENCE SIGNATURE" block`);
  const body = plain.slice(0, begin);
  const signature = Buffer.from(plain.slice(begin + BEGIN.length, end), 'base64');
  if (!publicKeys.some((key) => verify(null, Buffer.from(body), key, signature))) {
    throw invalid('it is not signed with a key that this cluster accepts, or was changed');
  }
  return readTerms(body);
}

/** The terms, whoever has signed them. */
export function readTerms(text: string): LicenceTerms {
  const [body = ''] = text.split(BEGIN, 1);
  const document = parseDocument(body, { schema: 'core', uniqueKeys: true });
  if (document.errors.length > 0 || !isMap(document.contents)) throw invalid('its terms are no YAML');
  const parsed = termsSchema.safeParse(document.toJS({ maxAliasCount: 0 }));
  if (!parsed.success) throw malformed(parsed.error);
  return parsed.data;
}

function malformed(error: z.ZodError): DomainError {
  const [first] = error.issues;
  return invalid(`${first?.path.join('.') || 'its terms'}: ${first?.message}`);
}

function invalid(why: string): DomainError {
  return new DomainError('invalid', `this is not a valid licence: ${why}`);
}
