/** Reading requests: bodies, identifiers, and the query parameters that many endpoints share. */

import type { Context } from 'hono';
import { z } from 'zod';
import type { User } from '../../core/domain.js';
import { parseDurationMs } from '../../core/duration.js';
import { DomainError } from '../../core/errors.js';
import { isUuid } from '../../core/types.js';

export interface ApiEnvironment {
  Variables: {
    requestId: string;
    /** Who asks; set on all endpoints that need a login. */
    user: User;
  };
}

export type ApiContext = Context<ApiEnvironment>;

/** Bytes of a request's body at the most. */
export const MAX_BODY_BYTES = 1 << 20;
/** Characters of a `version` at the most. */
const MAX_VERSION_CHARS = 30;
/** An asynchronous operation goes on in the background for this long at the most. */
const MAX_ASYNC_MS = 24 * 3_600_000;

/** Clients leave out what is zero, false or empty, or send null for it. */
export const optional = <S extends z.ZodType>(schema: S) => schema.nullish().transform((value) => value ?? undefined);

/** A whole number that JSON carried without loss. */
export const wholeNumber = z.number().refine(Number.isSafeInteger, 'must be a whole number below 2^53').min(0);

/** An empty body is an empty object. Errors: 'invalid'. */
export async function readBody<S extends z.ZodType>(c: ApiContext, schema: S): Promise<z.output<S>> {
  const text = await c.req.text();
  let json: unknown = {};
  if (text !== '') {
    try {
      json = JSON.parse(text);
    } catch (cause) {
      throw new DomainError('invalid', 'the request body is not JSON', { cause });
    }
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`);
  throw new DomainError('invalid', problems.join('; '));
}

/** Errors: 'invalid' if the path's parameter is no UUID. */
export function pathId<T extends string>(c: ApiContext, name: string): T {
  const text = c.req.param(name) ?? '';
  if (!isUuid(text)) throw new DomainError('invalid', `"${text.slice(0, 64)}" is not an id`);
  return text as T;
}

/** A boolean of the query in the forms of Go's strconv.ParseBool; false if it is absent or empty. */
export function queryFlag(c: ApiContext, name: string): boolean {
  const text = c.req.query(name) ?? '';
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)?$/.test(text)) return false;
  throw new DomainError('invalid', `${name}: "${text.slice(0, 64)}" is not a boolean`);
}

/**
 * The version that the object must have for the request to be carried out; undefined: any.
 * `version` comes from the body, or from the query of a DELETE. Errors: 'invalid' if there is none although
 * `ignore-version` is not set.
 */
export function expectedVersion(c: ApiContext, version: string | undefined): string | undefined {
  if (queryFlag(c, 'ignore-version')) return undefined;
  if (version === undefined || version === '') {
    throw new DomainError('invalid', 'version is required unless ignore-version is true');
  }
  if (version.length > MAX_VERSION_CHARS) {
    throw new DomainError('invalid', `version is longer than ${MAX_VERSION_CHARS} characters`);
  }
  return version;
}

export const versionField = optional(z.string());

/** `async-max` of the query or, failing that, of the header, in ms; undefined: the client waits. */
export function asyncMaxMs(c: ApiContext): number | undefined {
  const text = c.req.query('async-max') ?? c.req.header('async-max');
  if (text === undefined) return undefined;
  const duration = parseDurationMs(text);
  if (duration <= 0) throw new DomainError('invalid', 'async-max must be a positive duration');
  return Math.min(duration, MAX_ASYNC_MS);
}

/** Success without a body; the content type is there nevertheless, as some clients insist on one. */
export function noContent(c: ApiContext): Response {
  return c.body(null, 200, { 'Content-Type': 'application/json' });
}
