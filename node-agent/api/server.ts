/** The API's listening socket. */

import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import type { Hono } from 'hono';
import type { ApiEnvironment } from './request.js';

/** Connections at a time; more are refused. */
const MAX_CONNECTIONS = 4096;
/** Headers of one request, bytes. */
const MAX_HEADER_BYTES = 32 << 10;
/** Requests that are in progress when the server closes have this long to finish, ms. */
const CLOSE_GRACE_MS = 5000;

export interface ListenOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** PEM. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
}

export interface ApiServer {
  readonly address: { readonly host: string; readonly port: number };
  /** Requests in progress are finished within five seconds or cut. */
  close(): Promise<void>;
}

/** Rejects with the socket's error if the address is taken or not this machine's. */
export async function listen(app: Hono<ApiEnvironment>, options: ListenOptions): Promise<ApiServer> {
  const common = { maxHeaderSize: MAX_HEADER_BYTES };
  const server = createAdaptorServer({
    fetch: app.fetch,
    ...(options.tls === undefined
      ? { createServer, serverOptions: common }
      : { createServer: createTlsServer, serverOptions: { ...common, ...options.tls } }),
  }) as Server;
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { port } = server.address() as AddressInfo;
  return {
    address: { host: options.host, port },
    close: () =>
      new Promise<void>((resolve) => {
        const cut = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
        server.close(() => {
          clearTimeout(cut);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}
