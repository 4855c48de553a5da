/** From the list of endpoints to a server: login, access, checked input, the handler, the answer. */

import { getConnInfo } from '@hono/node-server/conninfo';
import type { Hono, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { ContentfulStatusCode, StatusCode } from 'hono/utils/http-status';
import { z } from 'zod';
import { type AccessRequest, mayAccess } from '../../core/access.js';
import { DomainError } from '../../core/errors.js';
import { authorise, isChange, resolveCaller } from './access.js';
import { authenticate } from './authentication.js';
import type { ApiServices } from './context.js';
import { httpError } from './http-errors.js';
import { formatJson } from './json.js';
import { TooManyAttempts } from './login-guard.js';
import {
  type ApiContext,
  type ApiEnvironment,
  asyncMaxMs,
  check,
  expectedVersion,
  MAX_BODY_BYTES,
  readBody,
} from './request.js';
import type { AnyReply, Call, Route, Shape } from './route.js';

/** An agent has its watch again up to a second and a half after etcd is back: no client has to try again for that. */
const STORE_RETURNS_MS = 2_000;

/** The error as its JSON answer; a defect is logged, the client is not told of it. */
export function failed(services: ApiServices, c: ApiContext, error: unknown): Response {
  const { status, message } = httpError(error);
  if (status === 500) {
    const requestId = c.get('requestId');
    services.dependencies.logger.error({ requestId, err: error }, 'request failed by a defect');
  }
  if (error instanceof TooManyAttempts) c.header('Retry-After', String(error.retryAfterSeconds));
  if (status === 401) c.header('WWW-Authenticate', 'Bearer');
  return c.json({ error: message }, status);
}

/** Adds all routes to the app, whose paths begin where theirs do; other methods on their paths are refused. */
export function serveRoutes(app: Hono<ApiEnvironment>, services: ApiServices, routes: readonly Route[]): void {
  const methods = new Map<string, string[]>();
  for (const route of routes) {
    const maxSize = route.maxBodyBytes ?? MAX_BODY_BYTES;
    const tooLarge = new DomainError('invalid', `the request body is larger than ${maxSize} bytes`);
    const limit = bodyLimit({ maxSize, onError: (c) => failed(services, c, tooLarge) });
    const path = route.path.replaceAll(/\{(\w+)\}/g, ':$1');
    const method = route.method.toUpperCase();
    app.on(method, path, atMost(route.maxConcurrent), limit, handlerOf(route, services));
    methods.set(path, [...(methods.get(path) ?? []), ...(method === 'GET' ? ['GET', 'HEAD'] : [method])]);
  }
  for (const [path, allowed] of methods) {
    const headers = { Allow: allowed.join(', ') };
    app.all(path, (c) => c.json({ error: `${c.req.method} is not possible here` }, 405, headers));
  }
}

/** Lets so many requests in at a time. */
function atMost(max = Number.POSITIVE_INFINITY): MiddlewareHandler<ApiEnvironment> {
  let running = 0;
  return async (_, next) => {
    if (running >= max)
      throw new DomainError('node-unavailable', 'too many requests of this kind at a time; try again');
    running++;
    try {
      await next();
    } finally {
      running--;
    }
  };
}

function handlerOf(route: Route, services: ApiServices): (c: ApiContext) => Promise<Response> {
  const { access } = route;
  const params = z.object(route.params as Record<string, z.ZodType>);
  const query = z.object(route.query as Record<string, z.ZodType>);
  return async (c) => {
    c.set('operationId', route.operationId);
    const { state } = services.dependencies;
    const identify = async () =>
      access === 'public' ? undefined : await resolveCaller(state, (await authenticate(services, c)).value);
    const { reachable } = state;
    let caller = await identify();
    if (isChange(access) && !(reachable && state.reachable)) {
      await requireStore(services);
      // Without etcd, callers are those that were last known: one may have lost his rights since.
      caller = await identify();
    }
    const given = check(params, c.req.param());
    const namespace =
      access === 'public' || caller === undefined ? undefined : await authorise(state, caller, access, given);
    const asked = check(query, c.req.query());
    const body = route.body === undefined ? undefined : await readBody(c, route.body);
    const version = route.versioned === 'query' ? c.req.query('version') : versionOfBody(body);
    // Only this function knows that a route's call has what its definition promises to its handler.
    const call = {
      requestId: c.get('requestId'),
      signal: c.req.raw.signal,
      user: caller?.user,
      may: (request: AccessRequest) => caller !== undefined && mayAccess(caller, request),
      namespace,
      params: given,
      query: asked,
      header: (name: string) => c.req.header(name),
      remoteAddress: remoteAddress(c),
      body,
      expectedVersion: route.versioned === undefined ? undefined : expectedVersion(c, version),
      asyncMs: route.async ? asyncMaxMs(c) : undefined,
    } as Call<{ resource: 'self'; action: 'read' }, Shape, Shape, z.ZodType | undefined>;
    const reply = await route.handler(call, services);
    return answer(c, reply, route.responses[reply.status]?.media);
  };
}

function versionOfBody(body: unknown): string | undefined {
  return (body as { readonly version?: string } | undefined)?.version;
}

/** Errors: 'store-unavailable'. */
async function requireStore({ dependencies }: ApiServices): Promise<void> {
  if (await dependencies.state.whenReachable(STORE_RETURNS_MS)) return;
  throw new DomainError('store-unavailable', 'etcd does not answer: nothing can be changed now, data is served on');
}

function remoteAddress(c: ApiContext): string | undefined {
  const overSocket = typeof c.env === 'object' && c.env !== null && 'incoming' in c.env;
  return overSocket ? getConnInfo(c).remote.address : undefined;
}

function answer(c: ApiContext, reply: AnyReply, media: string | undefined): Response {
  // Tokens are in answers, and what the rest says is old when it is read again.
  c.header('Cache-Control', 'no-store');
  if (media !== undefined) c.header('Content-Type', media);
  for (const [name, value] of Object.entries(reply.headers ?? {})) c.header(name, value);
  if (reply.raw !== undefined) return c.body(reply.raw, reply.status as ContentfulStatusCode);
  // Also where there is no body: some clients insist on a content type.
  c.header('Content-Type', 'application/json');
  if (reply.body === undefined) return c.body(null, reply.status as StatusCode);
  return c.body(formatJson(reply.body), reply.status as ContentfulStatusCode);
}
