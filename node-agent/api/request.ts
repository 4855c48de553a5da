/** Reading requests: bodies, identifiers, and the query parameters that many endpoints share. */

import type { Context } from 'hono';
import { z } from 'zod';
import { parseDurationMs } from '../../core/duration.js';
import { DomainError } from '../../core/errors.js';
import { isUuid } from '../../core/types.js';
import { parseJson } from './json.js';

export interface ApiEnvironment {
  Variables: {
    requestId: string;
    /** Of the endpoint; unset where there is none. */
    operationId: string | undefined;
  };
}

export type ApiContext = Context<ApiEnvironment>;

/** Bytes of a request's body at the most. */
export const MAX_BODY_BYTES = 1 << 20;
/** Characters of a `version` at the most. */
const MAX_VERSION_CHARS = 30;
/** An operation is followed in the background for this long at the most; its workflow ends when it is done. */
const MAX_ASYNC_MS = 24 * 3_600_000;

/** Clients leave out what is zero, false or empty, or send null for it. */
export const optional = <S extends z.ZodType>(schema: S) => schema.nullish().transform((value) => value ?? undefined);

const NOT_SAFE = 'must be a whole number below 2^53';

/** A whole number that a double holds; larger ones come as bigints. */
export const wholeNumber = z
  .number({ error: ({ input }) => (typeof input === 'bigint' ? NOT_SAFE : undefined) })
  .int(NOT_SAFE)
  .min(0);

/** The id of an object in a path or in a body: an RFC 4122 UUID. */
export const id = <T extends string>(description: string) =>
  z
    .string()
    .refine(isUuid, 'is not an id')
    .transform((text) => text as T)
    .meta({ description, format: 'uuid' });

const TRUE = /^(1|t|T|TRUE|true|True)$/;
const BOOLEAN = /^(1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$/;

/** A boolean of the query in the forms of Go's strconv.ParseBool; false if it is absent. */
export const flag = (description: string) =>
  z
    .string()
    .regex(BOOLEAN, 'is not a boolean')
    .default('false')
    .transform((text) => TRUE.test(text))
    .meta({ description, wire: { type: 'boolean', default: false } });

/** What the schema makes of the value. Errors: 'invalid' that names up to five problems. */
export function check<S extends z.ZodType>(schema: S, value: unknown, whole = 'body'): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.slice(0, 5).map((issue) => `${issue.path.join('.') || whole}: ${issue.message}`);
  throw new DomainError('invalid', problems.join('; '));
}

/** An empty body is an empty object. Errors: 'invalid'. */
export async function readBody<S extends z.ZodType>(c: ApiContext, schema: S): Promise<z.output<S>> {
  const text = await c.req.text();
  let json: unknown = {};
  if (text !== '') {
    try {
      // Larger ones are the scheduler's, whose numbers nobody looks at; reading them exactly takes long.
      json = text.length > MAX_BODY_BYTES ? JSON.parse(text) : parseJson(text);
    } catch (cause) {
      throw new DomainError('invalid', 'the request body is not JSON', { cause });
    }
  }
  return check(schema, json);
}

const ignoreVersion = flag('carry the request out whatever version the object has');

/**
 * The version that the object must have for the request to be carried out; undefined: any.
 * `version` comes from the body, or from the query of a DELETE. Errors: 'invalid' if there is none although
 * `ignore-version` is not set.
 */
export function expectedVersion(c: ApiContext, version: string | undefined): string | undefined {
  if (check(ignoreVersion, c.req.query('ignore-version'), 'ignore-version')) return undefined;
  if (version === undefined || version === '') {
    throw new DomainError('invalid', 'version is required unless ignore-version is true');
  }
  if (version.length > MAX_VERSION_CHARS) {
    throw new DomainError('invalid', `version is longer than ${MAX_VERSION_CHARS} characters`);
  }
  return version;
}

export const versionField = optional(z.string());

/**
 * `async-max` of the query or, failing that, of the header, in ms; undefined: the client waits. Errors: 'invalid',
 * also for a header that the query overrides.
 */
export function asyncMaxMs(c: ApiContext): number | undefined {
  const [first] = [c.req.query('async-max'), c.req.header('async-max')].flatMap((text) => {
    if (text === undefined) return [];
    const duration = parseDurationMs(text);
    if (duration <= 0) throw new DomainError('invalid', 'async-max must be a positive duration');
    return [Math.min(duration, MAX_ASYNC_MS)];
  });
  return first;
}
