/** The HTTP API as the cluster's own commands use it: `/v2` of any node, with the first user's credentials. */

import { ClusterError } from './errors.js';

const REQUEST_TIMEOUT_MS = 15_000;
/** A read that one node does not answer goes to the next. */
const READ_TIMEOUT_MS = 5_000;
/** Errors of connections that were not made: the request can't have had an effect. */
const NEVER_SENT = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']);

export interface ApiDeployment {
  readonly id: string;
  readonly nodeID: string;
  readonly health: string;
  readonly promotable?: boolean;
  readonly syncProgress?: { readonly bytesRemaining?: number };
}

export interface ApiVolume {
  readonly id: string;
  readonly name: string;
  readonly namespaceID: string;
  /** "" when detached. */
  readonly attachedOn: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly sizeBytes: number;
  readonly fsType: string;
  readonly master: ApiDeployment;
  readonly replicas: readonly ApiDeployment[] | null;
  readonly version: string;
}

export interface ApiNode {
  readonly id: string;
  readonly name: string;
  readonly health: string;
}

export interface ApiNamespace {
  readonly id: string;
  readonly name: string;
}

/** The API answered with an error status, or not at all (`status` 0). */
export class ApiError extends ClusterError {
  readonly status: number;
  constructor(status: number, message: string, options?: { cause?: unknown }) {
    super('api', message, options);
    this.name = 'ApiError';
    this.status = status;
  }
}

export interface NewVolume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly fsType?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export class ApiClient {
  readonly #endpoints: () => readonly string[];
  readonly #credentials: { readonly username: string; readonly password: string };
  readonly #failedAt = new Map<string, number>();
  #token: string | undefined;

  /** `endpoints` gives host:port of nodes that may answer, best first; asked before every request. */
  constructor(
    endpoints: () => readonly string[],
    credentials: { readonly username: string; readonly password: string },
  ) {
    this.#endpoints = endpoints;
    this.#credentials = credentials;
  }

  /** Errors: ApiError. A request that no node answered is not repeated, unless it could not even be sent. */
  async request<T>(method: string, path: string, body?: unknown, timeoutMs = REQUEST_TIMEOUT_MS): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      this.#token ??= await this.#login();
      const response = await this.#send(method, path, body, this.#token, timeoutMs);
      // Tokens live for minutes; a session that was ended is begun again once.
      if (response.status === 401 && attempt === 0) {
        this.#token = undefined;
        continue;
      }
      return (await this.#read(response, `${method} ${path}`)) as T;
    }
  }

  async #login(): Promise<string> {
    const response = await this.#send('POST', '/auth/login', this.#credentials, undefined, REQUEST_TIMEOUT_MS);
    const session = (await this.#read(response, 'login')) as { session?: { token?: string } };
    if (typeof session.session?.token !== 'string') throw new ApiError(response.status, 'login: no token');
    return session.session.token;
  }

  async #send(
    method: string,
    path: string,
    body: unknown,
    token: string | undefined,
    timeoutMs: number,
  ): Promise<Response> {
    let failure: unknown;
    for (const endpoint of this.#inOrder()) {
      try {
        return await fetch(`http://${endpoint}/v2${path}`, {
          method,
          headers: {
            ...(body !== undefined && { 'content-type': 'application/json' }),
            ...(token !== undefined && { authorization: `Bearer ${token}` }),
          },
          ...(body !== undefined && { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(method === 'GET' ? READ_TIMEOUT_MS : timeoutMs),
        });
      } catch (error) {
        failure = error;
        this.#failedAt.set(endpoint, performance.now());
        if (method !== 'GET' && !NEVER_SENT.has((error as { cause?: { code?: string } }).cause?.code ?? '')) break;
      }
    }
    const reason = failure instanceof Error ? failure.message : 'no node is running';
    throw new ApiError(0, `${method} ${path}: ${reason}`, { cause: failure });
  }

  /** Nodes that did not answer lately come last. */
  #inOrder(): readonly string[] {
    const failure = (endpoint: string): number => this.#failedAt.get(endpoint) ?? 0;
    return [...this.#endpoints()].sort((a, b) => failure(a) - failure(b));
  }

  async #read(response: Response, what: string): Promise<unknown> {
    const text = await response.text();
    let parsed: unknown;
    try {
      parsed = text === '' ? undefined : JSON.parse(text);
    } catch {
      throw new ApiError(response.status, `${what}: HTTP ${response.status} with a body that is not JSON`);
    }
    if (response.ok) return parsed;
    const reason = (parsed as { error?: string } | undefined)?.error ?? 'no reason given';
    throw new ApiError(response.status, `${what}: HTTP ${response.status}: ${reason}`);
  }

  nodes(): Promise<ApiNode[]> {
    return this.request('GET', '/nodes');
  }

  namespaces(): Promise<ApiNamespace[]> {
    return this.request('GET', '/namespaces');
  }

  /** Errors: ClusterError('api') if there is none of this name. */
  async namespaceId(name: string): Promise<string> {
    const found = (await this.namespaces()).find((namespace) => namespace.name === name);
    if (found === undefined) throw new ApiError(404, `namespace "${name}" not found`);
    return found.id;
  }

  volumes(namespaceId: string): Promise<ApiVolume[]> {
    return this.request('GET', `/namespaces/${namespaceId}/volumes`);
  }

  volume(namespaceId: string, id: string): Promise<ApiVolume> {
    return this.request('GET', `/namespaces/${namespaceId}/volumes/${id}`);
  }

  createVolume(namespaceId: string, volume: NewVolume): Promise<ApiVolume> {
    const body = { namespaceID: namespaceId, fsType: 'ext4', labels: {}, ...volume };
    return this.request('POST', `/namespaces/${namespaceId}/volumes`, body, 120_000);
  }

  attach(volume: Pick<ApiVolume, 'namespaceID' | 'id'>, nodeId: string): Promise<void> {
    const path = `/namespaces/${volume.namespaceID}/volumes/${volume.id}/attach`;
    return this.request('POST', path, { nodeID: nodeId }, 120_000);
  }

  detach(volume: Pick<ApiVolume, 'namespaceID' | 'id'>): Promise<void> {
    const path = `/namespaces/${volume.namespaceID}/volumes/${volume.id}/attach?ignore-version=true&version=`;
    return this.request('DELETE', path, undefined, 120_000);
  }

  deleteVolume(volume: Pick<ApiVolume, 'namespaceID' | 'id'>): Promise<void> {
    const path = `/namespaces/${volume.namespaceID}/volumes/${volume.id}?ignore-version=true&version=`;
    return this.request('DELETE', path, undefined, 120_000);
  }

  setReplicas(volume: Pick<ApiVolume, 'namespaceID' | 'id'>, replicas: number): Promise<void> {
    const path = `/namespaces/${volume.namespaceID}/volumes/${volume.id}/replicas?ignore-version=true`;
    return this.request('PUT', path, { replicas });
  }

  /** Compares all copies of the volume, block by block. */
  verify<T>(volume: Pick<ApiVolume, 'namespaceID' | 'id'>): Promise<T> {
    return this.request('PUT', `/namespaces/${volume.namespaceID}/volumes/${volume.id}/debug/verify`, {}, 600_000);
  }
}
