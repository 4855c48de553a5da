/** Holds answers of the API against the definitions of its endpoints. */

import { isDeepStrictEqual } from 'node:util';
import { errorStatuses, type Route } from '../../../node-agent/api/route.js';
import { ROUTES } from '../../../node-agent/api/routes/index.js';

const PATTERNS = ROUTES.map((route) => ({
  route,
  pattern: new RegExp(`^/v2${route.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`),
}));

/** The endpoint that answers the request; the first of the list that matches, as in the server. */
export function routeOf(method: string, path: string): Route | undefined {
  const [pathname = ''] = path.split('?');
  return PATTERNS.find(({ route, pattern }) => route.method === method.toLowerCase() && pattern.test(pathname))?.route;
}

/** What is wrong with an answer by the endpoint's definition; undefined: nothing. `body` undefined: none. */
export function violation(route: Route, status: number, body: unknown): string | undefined {
  const where = `${route.operationId} answers ${status}`;
  if (status >= 400 && !(status in route.responses)) {
    if (!errorStatuses(route).includes(status)) return `${where}: not documented`;
    const isError = isDeepStrictEqual(Object.keys(body ?? {}), ['error']);
    return isError ? undefined : `${where} without {"error"}: ${JSON.stringify(body)}`;
  }
  const defined = route.responses[status];
  if (defined === undefined) return status === 202 && route.async ? undefined : `${where}: not documented`;
  if (defined.body === undefined) {
    return body === undefined || defined.media !== undefined ? undefined : `${where}: a body is not documented`;
  }
  const parsed = defined.body.safeParse(body);
  if (!parsed.success) return `${where}: ${parsed.error.message}`;
  return isDeepStrictEqual(parsed.data, body) ? undefined : `${where}: fields that are not documented`;
}
