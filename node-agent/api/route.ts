/**
 * What an endpoint is. Every one of the API is a value of this type, listed in routes/index.ts; from the list come
 * the server (dispatch.ts), the OpenAPI document (openapi.ts), and the tests of access and conformance.
 *
 * To add an endpoint: write `route({ … })` in the file of its resource below routes/ and put it into that file's
 * list. Input is checked by the schemas before the handler runs; the compiler checks what the handler answers.
 */

import type { z } from 'zod';
import type { AccessRequest } from '../../core/access.js';
import type { Namespace, User } from '../../core/domain.js';
import type { Versioned } from '../state/cluster-state.js';
import type { Access } from './access.js';
import type { ApiServices } from './context.js';

export type Method = 'get' | 'post' | 'put' | 'delete';

/** Parameters by name. Values of paths, queries and headers come as text; a schema may turn them into something else. */
export type Shape = Readonly<Record<string, z.ZodType>>;
type Output<S extends Shape> = { readonly [K in keyof S]: z.output<S[K]> };

/** Names in braces: `/namespaces/{namespaceID}/volumes/{id}`. */
type PathParameter<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? Name | PathParameter<Rest>
  : never;

/** `body`: a JSON body, `media`: another one, neither: none. */
export interface ResponseDefinition {
  readonly description: string;
  readonly body?: z.ZodType;
  readonly media?: 'application/octet-stream' | 'application/gzip' | 'text/yaml';
  readonly headers?: Readonly<Record<string, string>>;
}
export type Responses = Readonly<Record<number, ResponseDefinition>>;

/** Statuses of errors that are not common to all endpoints, or that the definition does not imply. */
export type ExtraError = 401 | 404 | 409 | 412 | 422 | 423 | 429 | 451 | 503 | 507;

/** Schemas make arrays that may be changed; views have none of those. */
type Immutable<T> = T extends readonly (infer E)[]
  ? readonly Immutable<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Immutable<T[K]> }
    : T;

interface WithHeaders {
  readonly headers?: Readonly<Record<string, string>>;
}
export type RawBody = string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;

export interface Accepted extends WithHeaders {
  readonly status: 202;
  readonly body: { readonly msg: string };
}

/** What a handler may answer: one of the declared responses with its body. */
export type Reply<R extends Responses> = {
  [S in keyof R & number]: WithHeaders & { readonly status: S } & (R[S] extends {
      readonly body: infer B extends z.ZodType;
    }
      ? { readonly body: Immutable<z.input<B>> }
      : R[S] extends { readonly media: string }
        ? { readonly raw: RawBody }
        : { readonly body?: undefined });
}[keyof R & number];

/** One request, checked. */
export interface Call<A extends Access, P extends Shape, Q extends Shape, B extends z.ZodType | undefined> {
  readonly requestId: string;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
  /** Who asks. */
  readonly user: A extends 'public' ? undefined : User;
  /** Whether the caller may do something else than this request; for what a list shows. */
  readonly may: (request: AccessRequest) => boolean;
  /** That of the path, which the user may use. */
  readonly namespace: A extends { readonly namespaced: true } ? Versioned<Namespace> : undefined;
  readonly params: Output<P>;
  readonly query: Output<Q>;
  readonly header: (name: string) => string | undefined;
  /** The address that the request came from; undefined if it did not come over a socket. */
  readonly remoteAddress: string | undefined;
  readonly body: B extends z.ZodType ? z.output<B> : undefined;
  /** The version that the object must have; undefined: any. Only with `versioned`. */
  readonly expectedVersion: string | undefined;
  /** `async-max` in ms; undefined: the client waits. Only with `async`. */
  readonly asyncMs: number | undefined;
}

export interface RouteDefinition<
  Path extends string,
  A extends Access,
  P extends Shape,
  Q extends Shape,
  B extends z.ZodType | undefined,
  R extends Responses,
> {
  /** As in the original API where it has the endpoint: generated clients name their methods after it. */
  readonly operationId: string;
  readonly method: Method;
  /** Below `/v2`. Of two paths that match a request, the one that is listed first is taken. */
  readonly path: Path;
  readonly summary: string;
  readonly description?: string;
  /** Checked before anything else of the request is looked at. */
  readonly access: A;
  readonly params?: P & { readonly [K in PathParameter<Path>]: z.ZodType };
  readonly query?: Q;
  /** An empty body is an empty object. */
  readonly body?: B;
  /** Bytes of the body at the most; MAX_BODY_BYTES if absent. */
  readonly maxBodyBytes?: number;
  /** Requests at a time at the most, the reading of their bodies included; more get 503. Implies 503. */
  readonly maxConcurrent?: number;
  /**
   * The request names the version of the object that it changes, in the `version` of its body or of its query, or
   * says `ignore-version`. Implies 400 and 412.
   */
  readonly versioned?: 'body' | 'query';
  /** `async-max` is accepted. Implies 202. */
  readonly async?: true;
  readonly responses: R;
  readonly errors?: readonly ExtraError[];
  readonly handler: (call: Call<A, P, Q, B>, services: ApiServices) => Promise<Reply<R> | Accepted>;
}

/** A reply whose route is not known to the compiler. */
export interface AnyReply extends WithHeaders {
  readonly status: number;
  readonly body?: unknown;
  readonly raw?: RawBody;
}
type AnyCall = Call<Access, Shape, Shape, z.ZodType | undefined>;

/** A definition whose types have been checked and are forgotten. */
export interface Route
  extends Omit<
    RouteDefinition<string, Access, Shape, Shape, z.ZodType | undefined, Responses>,
    'handler' | 'params' | 'query'
  > {
  readonly params: Shape;
  readonly query: Shape;
  readonly handler: (call: AnyCall, services: ApiServices) => Promise<AnyReply>;
}

export function route<
  const Path extends string,
  const A extends Access,
  const R extends Responses,
  // biome-ignore lint/complexity/noBannedTypes: no parameters at all.
  const P extends Shape = {},
  // biome-ignore lint/complexity/noBannedTypes: no parameters at all.
  const Q extends Shape = {},
  B extends z.ZodType | undefined = undefined,
>(definition: RouteDefinition<Path, A, P, Q, B, R>): Route {
  return { params: {}, query: {}, ...definition } as unknown as Route;
}

export const ok = <const B>(body: B) => ({ status: 200, body }) as const;
export const created = <const B>(body: B) => ({ status: 201, body }) as const;
/** Success without a body. */
export const done = { status: 200 } as const;

/** Statuses that a request to the route may be answered with, besides those of its `responses`. */
export function errorStatuses(route: Route): number[] {
  const open = route.access === 'public';
  const hasParams = Object.keys(route.params).length > 0;
  const hasInput = hasParams || Object.keys(route.query).length > 0 || route.body !== undefined;
  const statuses = new Set<number>([500, ...(route.errors ?? [])]);
  if (!open) for (const status of [401, 403, 503]) statuses.add(status);
  if (hasInput || route.versioned !== undefined || route.async) statuses.add(400);
  if (route.maxConcurrent !== undefined) statuses.add(503);
  if (hasParams) statuses.add(404);
  if (route.versioned !== undefined) statuses.add(412);
  return [...statuses].sort((a, b) => a - b);
}
