/** One HTTP exchange, by Node's own modules: `fetch` takes longer to load than a command of the CLI to run. */

import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';

export interface HttpRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Of the whole exchange, the answer's body included. */
  readonly timeoutMs: number;
}

export interface HttpAnswer {
  readonly status: number;
  /** Undefined if it is not there. `name` in lower case. */
  header(name: string): string | undefined;
  /** To be read to its end, or to be destroyed. */
  readonly body: IncomingMessage;
  /** Aborted when the time of the exchange is over, which breaks the body off. */
  readonly deadline: AbortSignal;
}

/**
 * A request that changes something has a connection of its own and is sent once. One that only reads may use a
 * connection that was kept, and is sent anew if the server had given that up (RFC 9110, 9.2.2).
 * Errors: those of the system; a time-out has the name `TimeoutError`, also while the body is read.
 */
export async function exchange(url: string, request: HttpRequest): Promise<HttpAnswer> {
  const deadline = AbortSignal.timeout(request.timeoutMs);
  try {
    return await attempt(url, request, deadline);
  } catch (error) {
    if (!(error instanceof StaleConnectionError)) throw error;
    // The server has probably closed the connection before it saw this request; if not, reading twice is no harm.
    return attempt(url, request, deadline);
  }
}

class StaleConnectionError extends Error {}

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** The connection was reset before any answer: on one that was kept, the server may have given it up. */
function isStale(error: NodeJS.ErrnoException, reused: boolean): boolean {
  return reused && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
}

async function attempt(url: string, { method, headers, body }: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
  const send = url.startsWith('https:') ? (await import('node:https')).request : httpRequest;
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  const connection = READING.has(method) ? {} : { agent: false as const };
  const options: RequestOptions = { method, headers: { ...headers, ...length }, signal, ...connection };
  return new Promise((resolve, reject) => {
    const sent = send(url, options, (message) => {
      // Whoever reads the body is told; nobody may be reading it.
      message.on('error', () => undefined);
      resolve({
        status: message.statusCode ?? 0,
        header: (name) => {
          const value = message.headers[name];
          return Array.isArray(value) ? value[0] : value;
        },
        body: message,
        deadline: signal,
      });
    });
    sent.on('error', (error: NodeJS.ErrnoException) => {
      if (signal.aborted) reject(signal.reason);
      else reject(isStale(error, sent.reusedSocket) ? new StaleConnectionError(error.message) : error);
    });
    sent.end(body);
  });
}

/** The whole body as text. Errors: those of the system; RangeError if it has more bytes than `maxBytes`. */
export async function readText({ body, deadline }: HttpAnswer, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new RangeError(`the answer has more than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw deadline.aborted ? deadline.reason : error;
  }
  return Buffer.concat(chunks).toString('utf8');
}
