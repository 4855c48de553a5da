/** Speaks with the API: one login when it is needed, one more when the token is refused. */

import type { ApiNamespace, ApiNode, ApiVolume } from './api-types.js';
import { ApiError, CliError, EXIT } from './errors.js';
import { SessionCache } from './session-cache.js';
import type { Settings } from './settings.js';
import { VERSION } from './version.js';

/** Bytes of an answer at the most. */
const MAX_ANSWER_BYTES = 256 << 20;

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
  /** A conflict then means that it exists already. */
  readonly creating?: boolean;
}

export interface Answer<T> {
  readonly status: number;
  readonly body: T;
}

export class Client {
  readonly settings: Settings;
  readonly #cache: SessionCache | undefined;
  readonly #deadline: number;
  #token: string | undefined;

  constructor(settings: Settings) {
    this.settings = settings;
    this.#deadline = Date.now() + settings.timeoutMs;
    if (settings.cacheDir !== undefined) {
      this.#cache = new SessionCache(settings.cacheDir, settings.username, settings.endpoints);
    }
  }

  get<T>(path: string): Promise<T> {
    return this.request<T>('GET', path).then(({ body }) => body);
  }

  /** Errors: ApiError, CliError. An answer without a body is undefined. */
  async request<T>(method: string, path: string, options: RequestOptions = {}): Promise<Answer<T>> {
    this.#token ??= this.#cache?.load(Date.now()) ?? (await this.#login());
    let response = await this.#send(method, path, options, this.#token);
    if (response.status === 401) {
      this.#cache?.forget();
      this.#token = await this.#login();
      response = await this.#send(method, path, options, this.#token);
    }
    return { status: response.status, body: (await this.#read(response, options.creating === true)) as T };
  }

  async #login(): Promise<string> {
    const { username, password } = this.settings;
    const response = await this.#send('POST', '/auth/login', { body: { username, password: password() } }, undefined);
    const body = (await this.#read(response, false)) as { session?: { token?: unknown; expiresInSeconds?: unknown } };
    const token = body?.session?.token ?? response.headers.get('authorization')?.replace(/^Bearer /, '');
    if (typeof token !== 'string') throw new CliError(EXIT.internal, 'the API answered the login without a token');
    const seconds = Number(body?.session?.expiresInSeconds ?? 0);
    if (seconds > 0) this.#cache?.save(token, Date.now() + seconds * 1000);
    return token;
  }

  async #send(method: string, path: string, options: RequestOptions, token: string | undefined): Promise<Response> {
    const [endpoint] = this.settings.endpoints;
    if (endpoint === undefined) throw new CliError(EXIT.invalidInput, 'no endpoint is given');
    const parameters = new URLSearchParams();
    for (const [key, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined) parameters.set(key, value);
    }
    const query = parameters.toString();
    const remainingMs = Math.max(1, Math.ceil(this.#deadline - Date.now()));
    try {
      return await fetch(`${endpoint}/v2${path}${query === '' ? '' : `?${query}`}`, {
        method,
        headers: {
          'User-Agent': `storageos-cli/${VERSION}`,
          ...(options.body !== undefined && { 'Content-Type': 'application/json' }),
          ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        },
        ...(options.body !== undefined && { body: JSON.stringify(options.body) }),
        signal: AbortSignal.timeout(remainingMs),
      });
    } catch (cause) {
      throw this.#transportError(endpoint, cause);
    }
  }

  #transportError(endpoint: string, cause: unknown): CliError {
    if (cause instanceof Error && cause.name === 'TimeoutError') {
      return new CliError(EXIT.timedOut, `timed out after ${this.settings.timeoutMs / 1000}s`, { cause });
    }
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const code = inner instanceof Error && 'code' in inner ? ` (${String(inner.code)})` : '';
    return new CliError(EXIT.other, `${endpoint} does not answer${code}; is a node running there?`, { cause });
  }

  async #read(response: Response, creating: boolean): Promise<unknown> {
    const length = Number(response.headers.get('content-length') ?? 0);
    if (length > MAX_ANSWER_BYTES) throw new CliError(EXIT.internal, `the API answered with ${length} bytes`);
    let text: string;
    try {
      text = await response.text();
    } catch (cause) {
      throw this.#transportError(response.url, cause);
    }
    let body: unknown;
    try {
      body = text === '' ? undefined : JSON.parse(text);
    } catch (cause) {
      throw new CliError(EXIT.internal, `the API answered ${response.status} with something other than JSON`, {
        cause,
      });
    }
    if (response.ok) return body;
    const said = (body as { error?: unknown } | undefined)?.error;
    throw new ApiError(
      response.status,
      typeof said === 'string' && said !== '' ? said : `status ${response.status}`,
      creating,
    );
  }

  /* ---- names and ids ---- */

  namespaces(): Promise<ApiNamespace[]> {
    return this.get('/namespaces');
  }

  nodes(): Promise<ApiNode[]> {
    return this.get('/nodes');
  }

  volumes(namespaceId: string): Promise<ApiVolume[]> {
    return this.get(`/namespaces/${namespaceId}/volumes`);
  }

  /** The namespace of `--namespace`. Errors: CliError, also if `--use-ids` is given with a name. */
  async namespace(): Promise<ApiNamespace> {
    return this.find('namespace', this.settings.namespace, await this.namespaces(), (item) => item.name);
  }

  /** The object that the user means by name, or by id with `--use-ids`. Errors: CliError('not found'). */
  find<T extends { readonly id: string }>(
    noun: string,
    reference: string,
    among: readonly T[],
    nameOf: (item: T) => string,
  ): T {
    const { useIds } = this.settings;
    const found = among.find((item) => (useIds ? item.id : nameOf(item)) === reference);
    if (found === undefined) {
      throw new CliError(EXIT.notFound, `${noun} with ${useIds ? 'id' : 'name'} "${reference}" not found`);
    }
    return found;
  }

  async findVolume(reference: string): Promise<{ readonly namespace: ApiNamespace; readonly volume: ApiVolume }> {
    const namespace = await this.namespace();
    const volume = this.find('volume', reference, await this.volumes(namespace.id), (item) => item.name);
    return { namespace, volume };
  }

  async findNode(reference: string): Promise<ApiNode> {
    return this.find('node', reference, await this.nodes(), (item) => item.name);
  }
}
