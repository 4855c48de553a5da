/** Requests to the HTTP API of any node of a cluster: one login when it is needed, one more when a token is refused. */

import { ApiError } from './errors.js';
import { exchange, type HttpAnswer, readText } from './http.js';

/** Bytes of a JSON answer at the most. */
const MAX_ANSWER_BYTES = 256 << 20;
/** Errors of connections that were not made: the request can't have had an effect. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** Where a token is kept between logins. */
export interface SessionStore {
  load(): string | undefined;
  save(token: string, expiresAtMs: number): void;
  forget(): void;
}

export interface TransportOptions {
  /** URLs without a path, or host:port for http; best first; asked before every request. */
  readonly endpoints: () => readonly string[];
  /** Asked when a login is needed. */
  readonly credentials: () => { readonly username: string; readonly password: string };
  /** How long one attempt of a request may take; what the request itself says comes first, ms. */
  readonly timeoutMs: (method: string) => number;
  readonly userAgent?: string;
  readonly sessions?: SessionStore;
}

export type Query = Readonly<Record<string, string | undefined>>;

export interface RequestOptions {
  readonly query?: Query;
  readonly body?: unknown;
  /** A conflict then means that the object exists already. */
  readonly creating?: boolean;
  readonly timeoutMs?: number;
  readonly accept?: string;
}

export interface Answer<T> {
  readonly status: number;
  readonly body: T;
}

export class ApiTransport {
  readonly #options: TransportOptions;
  readonly #failedAt = new Map<string, number>();
  #token: string | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** Errors: ApiError. An answer without a body is undefined. */
  async request<T>(method: string, path: string, options: RequestOptions = {}): Promise<Answer<T>> {
    const response = await this.send(method, path, options);
    return { status: response.status, body: (await readAnswer(response, `${method} ${path}`, options.creating)) as T };
  }

  /** The answer itself, whatever its status. Errors: ApiError if there is none. */
  async send(method: string, path: string, options: RequestOptions = {}): Promise<HttpAnswer> {
    this.#token ??= this.#options.sessions?.load() ?? (await this.#login());
    const response = await this.#try(method, path, options, this.#token);
    if (response.status !== 401) return response;
    response.body.resume();
    this.#options.sessions?.forget();
    this.#token = undefined;
    this.#token = await this.#login();
    return this.#try(method, path, options, this.#token);
  }

  async #login(): Promise<string> {
    const path = '/auth/login';
    const { username, password } = this.#options.credentials();
    const response = await this.#try('POST', path, { body: { username, password } }, undefined);
    const body = (await readAnswer(response, `POST ${path}`)) as
      | { readonly session?: { readonly token?: unknown; readonly expiresInSeconds?: unknown } }
      | undefined;
    const token = body?.session?.token ?? response.header('authorization')?.replace(/^Bearer /, '');
    if (typeof token !== 'string') throw new ApiError('malformed', `POST ${path}`, 'the answer has no token');
    const seconds = Number(body?.session?.expiresInSeconds ?? 0);
    if (seconds > 0) this.#options.sessions?.save(token, Date.now() + seconds * 1000);
    return token;
  }

  /**
   * Asks one endpoint after the other. A request that may have had an effect is not sent again: only one that reads,
   * and one that could not even be sent, go on to the next.
   */
  async #try(method: string, path: string, options: RequestOptions, token: string | undefined): Promise<HttpAnswer> {
    const { userAgent } = this.#options;
    const parameters = Object.entries(options.query ?? {}).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value] as [string, string]],
    );
    const query = parameters.length === 0 ? '' : `?${new URLSearchParams(parameters)}`;
    let failure = new ApiError('unreachable', `${method} ${path}`, 'no node is running');
    for (const endpoint of this.#inOrder()) {
      const timeoutMs = Math.max(1, Math.ceil(options.timeoutMs ?? this.#options.timeoutMs(method)));
      try {
        return await exchange(`${withScheme(endpoint)}/v2${path}${query}`, {
          method,
          headers: {
            ...(userAgent !== undefined && { 'user-agent': userAgent }),
            ...(options.accept !== undefined && { accept: options.accept }),
            ...(options.body !== undefined && { 'content-type': 'application/json' }),
            ...(token !== undefined && { authorization: `Bearer ${token}` }),
          },
          ...(options.body !== undefined && { body: JSON.stringify(options.body) }),
          timeoutMs,
        });
      } catch (cause) {
        this.#failedAt.set(endpoint, performance.now());
        failure = noAnswer(`${method} ${path}`, endpoint, cause);
        if (method !== 'GET' && !NEVER_SENT.has(codeOf(cause))) break;
      }
    }
    throw failure;
  }

  /** Nodes that did not answer lately come last. */
  #inOrder(): readonly string[] {
    const failure = (endpoint: string): number => this.#failedAt.get(endpoint) ?? 0;
    return [...this.#options.endpoints()].sort((a, b) => failure(a) - failure(b));
  }
}

function withScheme(endpoint: string): string {
  return endpoint.includes('://') ? endpoint : `http://${endpoint}`;
}

/** The system's code of a failed exchange, '' if it has none. */
function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function noAnswer(request: string, endpoint: string, cause: unknown): ApiError {
  if (cause instanceof Error && (cause.name === 'TimeoutError' || cause.name === 'AbortError')) {
    return new ApiError('timeout', request, `${endpoint} did not answer in time`, { cause });
  }
  const code = codeOf(cause);
  const detail = code === '' ? '' : ` (${code})`;
  return new ApiError('unreachable', request, `${endpoint} does not answer${detail}; is a node running there?`, {
    cause,
  });
}

/** The JSON of a good answer. Errors: ApiError. */
export async function readAnswer(answer: HttpAnswer, request: string, creating = false): Promise<unknown> {
  const { status } = answer;
  let text: string;
  try {
    text = await readText(answer, MAX_ANSWER_BYTES);
  } catch (cause) {
    if (cause instanceof RangeError) throw new ApiError('malformed', request, cause.message, { status, cause });
    throw noAnswer(request, 'the node', cause);
  }
  let body: unknown;
  try {
    body = text === '' ? undefined : JSON.parse(text);
  } catch (cause) {
    throw new ApiError('malformed', request, 'the answer is something other than JSON', { status, cause });
  }
  if (status >= 200 && status < 300) return body;
  const said = (body as { error?: unknown } | null | undefined)?.error;
  const reason = typeof said === 'string' && said !== '' ? said : `status ${status}`;
  throw new ApiError('refused', request, reason, { status, creating });
}
