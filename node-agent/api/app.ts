/** The HTTP API: `/v2` as StorageOS documents it, `/healthz` and `/metrics` beside it. */

import { Hono } from 'hono';
import { DomainError } from '../../core/errors.js';
import { exposition } from '../metrics/exposition.js';
import { withContext } from '../operation-context.js';
import { ApiServices } from './context.js';
import { failed, serveRoutes } from './dispatch.js';
import type { ApiDependencies } from './ports.js';
import type { ApiEnvironment } from './request.js';
import { ROUTES } from './routes/index.js';

export function createApi(dependencies: ApiDependencies): Hono<ApiEnvironment> {
  const services = new ApiServices(dependencies);
  const { logger, metrics, requests, tracer, random, state, clock, self, codec } = dependencies;
  // JSON has no Infinity: null means that nothing goes to worker threads.
  const offloadBytes = Number.isFinite(codec.offloadBytes) ? codec.offloadBytes : null;
  const app = new Hono<ApiEnvironment>();

  app.use(async (c, next) => {
    const requestId = random.uuid();
    c.set('requestId', requestId);
    c.header('X-Request-Id', requestId);
    const began = clock.now();
    const { method, path } = c.req;
    await tracer.within(
      { name: `${method} ${path}`, kind: 'server', attributes: { 'http.request.method': method, 'url.path': path } },
      c.req.header('traceparent'),
      (traceparent) => withContext({ requestId, ...(traceparent !== undefined && { traceparent }) }, () => next()),
    );
    const operation = c.get('operationId') ?? 'other';
    requests.observe((clock.now() - began) / 1000, { operation, status: String(c.res.status) });
    logger.debug(
      {
        requestId,
        method,
        path,
        status: c.res.status,
        ms: Math.round(clock.now() - began),
      },
      'request',
    );
  });
  app.onError((error, c) => failed(services, c, error));
  app.notFound((c) => failed(services, c, new DomainError('not-found', `there is no ${c.req.method} ${c.req.path}`)));

  app.get('/healthz', (c) => {
    const etcd = state.reachable;
    const reached = etcd ? 'connected' : 'unreachable';
    const status = etcd ? 'ok' : 'degraded';
    return c.json({ status, node: self.node, etcd: reached, codec: { engine: codec.engine, offloadBytes } }, 200);
  });
  app.get('/metrics', async (c) => c.body(await exposition(metrics), 200, { 'Content-Type': metrics.contentType }));

  const v2 = new Hono<ApiEnvironment>();
  serveRoutes(v2, services, ROUTES);
  app.route('/v2', v2);
  return app;
}
