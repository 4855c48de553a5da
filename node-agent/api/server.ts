/** The API's listening socket. */

import { createServer, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { getRequestListener, RequestError } from '@hono/node-server';
import type { Hono } from 'hono';
import type { ApiEnvironment } from './request.js';
import type { TlsFiles } from './tls-files.js';

/** Connections at a time; more are refused. */
const MAX_CONNECTIONS = 4096;
/** Headers of one request, bytes. */
const MAX_HEADER_BYTES = 32 << 10;
/** Requests that are in progress when the server closes have this long to finish, ms. */
const CLOSE_GRACE_MS = 5000;
const SWEEP_INTERVAL_MS = 50;

/** Requests that never become any, because Node's parser refuses them. */
const PARSER_ERRORS: Readonly<Record<string, readonly [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, `the headers are longer than ${MAX_HEADER_BYTES} bytes`],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request did not arrive in time'],
};
const MALFORMED = [400, 'this is no HTTP request'] as const;

export interface ListenOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly tls?: Pick<TlsFiles, 'current' | 'follow' | 'close'>;
}

export interface ApiServer {
  readonly address: { readonly host: string; readonly port: number };
  /** Requests in progress are finished within five seconds or cut. */
  close(): Promise<void>;
}

/** Rejects with the socket's error if the address is taken or not this machine's. */
export async function listen(app: Hono<ApiEnvironment>, options: ListenOptions): Promise<ApiServer> {
  const { tls } = options;
  const common = {
    maxHeaderSize: MAX_HEADER_BYTES,
    // The application answers, with JSON, where Node would answer with nothing.
    requireHostHeader: false,
  };
  const listener = getRequestListener(app.fetch, { errorHandler: refusal });
  const server: Server | TlsServer =
    tls === undefined ? createServer(common, listener) : createTlsServer({ ...common, ...tls.current }, listener);
  if (tls !== undefined) tls.follow((certificate) => (server as TlsServer).setSecureContext(certificate));
  server.on('clientError', refuse);
  const unused = unusedConnections(server, tls === undefined ? 'connection' : 'secureConnection');
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
        tls?.close();
        const cut = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
        // A connection whose last request is answered now would be kept for the next one.
        const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_INTERVAL_MS);
        server.close(() => {
          clearTimeout(cut);
          clearInterval(sweep);
          resolve();
        });
        server.closeIdleConnections();
        for (const socket of unused) socket.destroy();
      }),
  };
}

/** Connections on which no request has come yet: Node counts them among those that are in use. */
function unusedConnections(server: Server | TlsServer, event: 'connection' | 'secureConnection'): ReadonlySet<Socket> {
  const unused = new Set<Socket>();
  server.on(event, (socket: Socket) => {
    unused.add(socket);
    socket.once('close', () => unused.delete(socket));
  });
  server.on('request', ({ socket }) => unused.delete(socket));
  return unused;
}

/** The answer to a request whose target or host is none; anything else is a defect. */
function refusal(error: unknown): Response {
  const malformed = error instanceof RequestError;
  return Response.json({ error: malformed ? error.message : 'internal error' }, { status: malformed ? 400 : 500 });
}

/**
 * Answers what could not be parsed, if the client still listens. `_httpMessage` is Node's: the answer that is on its
 * way, into which a second one must not come; Node's own handler looks at it as well.
 */
function refuse(error: NodeJS.ErrnoException, socket: Duplex & { readonly _httpMessage?: ServerResponse }): void {
  if (error.code === 'ECONNRESET' || !socket.writable || socket._httpMessage?.headersSent) {
    socket.destroy(error);
    return;
  }
  const [status, message] = PARSER_ERRORS[error.code ?? ''] ?? MALFORMED;
  const body = JSON.stringify({ error: message });
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'Connection: close',
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ].join('\r\n'),
  );
}
