/** How values become bytes in etcd, and revisions become the API's `version`. */

import { Buffer } from 'node:buffer';
import type { z } from 'zod';
import { DomainError } from '../../core/errors.js';

/** Bytes of one value at the most; etcd's own limit for a request is 1.5 MiB. */
export const MAX_VALUE_BYTES = 1 << 20;

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return Object.fromEntries(entries.map(([key, member]) => [key, sorted(member)]));
}

/**
 * JSON with sorted keys: equal values have equal bytes, so that a transaction can compare a whole value.
 * Errors: DomainError('invalid') if it is longer than MAX_VALUE_BYTES.
 */
export function encodeValue(key: string, value: unknown): Buffer {
  const bytes = Buffer.from(JSON.stringify(sorted(value)));
  if (bytes.length > MAX_VALUE_BYTES) {
    throw new DomainError('invalid', `${key}: ${bytes.length} bytes, at most ${MAX_VALUE_BYTES} can be stored`);
  }
  return bytes;
}

/** Errors: DomainError('internal') that names the key if the bytes are not a value of the schema. */
export function decodeValue<S extends z.ZodType>(key: string, bytes: Uint8Array, schema: S): z.output<S> {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'));
  } catch (cause) {
    throw new DomainError('internal', `etcd key ${key} holds no JSON`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join('.') || '(value)'}: ${issue.message}`);
  throw new DomainError('internal', `etcd key ${key} holds a malformed value: ${where.join('; ')}`);
}

/** The API's opaque version of an object: unpadded base64 of its modification revision in decimal. */
export function versionOf(revision: string): string {
  return Buffer.from(revision, 'latin1').toString('base64').replace(/=+$/, '');
}

/** The revision that a version stands for; undefined if it never came from here. */
export function revisionOf(version: string): string | undefined {
  const text = Buffer.from(version, 'base64').toString('latin1');
  return /^[1-9]\d{0,18}$/.test(text) && versionOf(text) === version ? text : undefined;
}
