/** The API's listening socket. */

import { createServer, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
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
        server.close(() => {
          clearTimeout(cut);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

/** The answer to a request whose target or host is none; anything else is a defect. */
function refusal(error: unknown): Response {
  const malformed = error instanceof RequestError;
  return Response.json({ error: malformed ? error.message : 'internal error' }, { status: malformed ? 400 : 500 });
}

/** Answers what could not be parsed, if the client still listens. */
function refuse(error: NodeJS.ErrnoException, socket: Duplex & { readonly _httpMessage?: ServerResponse }): void {
  // An answer that is on its way must not get a second one into the middle.
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
