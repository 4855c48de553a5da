/** The HTTP API: `/v2` as StorageOS documents it, `/healthz` and `/metrics` beside it. */

import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { DomainError } from '../../core/errors.js';
import { ApiServices } from './context.js';
import { httpError } from './http-errors.js';
import type { ApiDependencies } from './ports.js';
import { type ApiContext, type ApiEnvironment, MAX_BODY_BYTES } from './request.js';
import { authenticate, authRoutes } from './routes/auth.js';
import { clusterRoutes } from './routes/cluster.js';
import { namespaceRoutes } from './routes/namespaces.js';
import { nodeRoutes } from './routes/nodes.js';
import { userRoutes } from './routes/users.js';
import { volumeRoutes } from './routes/volumes.js';

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);
const WITHOUT_LOGIN: ReadonlySet<string> = new Set(['/v2/auth/login']);

export function createApi(dependencies: ApiDependencies): Hono<ApiEnvironment> {
  const services = new ApiServices(dependencies);
  const { logger, metrics, random, state, clock, self, codec } = dependencies;
  // JSON has no Infinity: null means that nothing goes to worker threads.
  const offloadBytes = Number.isFinite(codec.offloadBytes) ? codec.offloadBytes : null;
  const app = new Hono<ApiEnvironment>();

  const failed = (c: ApiContext, error: unknown) => {
    const { status, message } = httpError(error);
    if (status === 500) logger.error({ requestId: c.get('requestId'), err: error }, 'request failed by a defect');
    return c.json({ error: message }, status);
  };

  app.use(async (c, next) => {
    c.set('requestId', random.uuid());
    const began = clock.now();
    await next();
    logger.debug(
      {
        requestId: c.get('requestId'),
        method: c.req.method,
        path: c.req.path,
        status: c.res.status,
        ms: Math.round(clock.now() - began),
      },
      'request',
    );
  });
  app.onError((error, c) => failed(c, error));
  app.notFound((c) => failed(c, new DomainError('not-found', `there is no ${c.req.method} ${c.req.path}`)));

  app.get('/healthz', (c) => {
    const etcd = state.reachable;
    const reached = etcd ? 'connected' : 'unreachable';
    const status = etcd ? 'ok' : 'degraded';
    return c.json({ status, node: self.node, etcd: reached, codec: { engine: codec.engine, offloadBytes } }, 200);
  });
  app.get('/metrics', async (c) => c.body(await metrics.metrics(), 200, { 'Content-Type': metrics.contentType }));

  const v2 = new Hono<ApiEnvironment>();
  v2.use(
    bodyLimit({
      maxSize: MAX_BODY_BYTES,
      onError: (c) => failed(c, new DomainError('invalid', `the request body is larger than ${MAX_BODY_BYTES} bytes`)),
    }),
  );
  v2.use(async (c, next) => {
    if (!WITHOUT_LOGIN.has(c.req.path)) c.set('user', (await authenticate(services, c)).value);
    await next();
  });
  v2.use(async (c, next) => {
    if (!READING.has(c.req.method) && !c.req.path.startsWith('/v2/auth/') && !state.reachable) {
      throw new DomainError('store-unavailable', 'etcd does not answer: nothing can be changed now, data is served on');
    }
    await next();
  });
  authRoutes(v2, services);
  userRoutes(v2, services);
  namespaceRoutes(v2, services);
  nodeRoutes(v2, services);
  clusterRoutes(v2, services);
  volumeRoutes(v2, services);
  app.route('/v2', v2);
  return app;
}
