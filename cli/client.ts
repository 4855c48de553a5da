/** The API as the commands use it: with the settings of the user, within the time of the command. */

import { ApiClient, volumePath } from '../client/api.js';
import { ApiError } from '../client/errors.js';
import type { HttpAnswer } from '../client/http.js';
import { readAnswer } from '../client/transport.js';
import type { ApiNamespace, ApiNode, ApiPolicyGroup, ApiUser, ApiVolume } from '../client/types.js';
import { CliError, EXIT } from './errors.js';
import { SessionCache } from './session-cache.js';
import type { Settings } from './settings.js';
import { VERSION } from './version.js';

/** With 502 these mean a partial bundle; anything else is an error. */
const BUNDLE_TYPES: ReadonlySet<string> = new Set(['application/gzip', 'application/octet-stream']);

export class Client extends ApiClient {
  readonly settings: Settings;
  #deadline: number;

  constructor(settings: Settings) {
    const { endpoints, username, cacheDir } = settings;
    super({
      endpoints: () => endpoints,
      credentials: () => ({ username, password: settings.password() }),
      timeoutMs: () => this.remainingMs,
      userAgent: `storageos-cli/${VERSION}`,
      ...(cacheDir !== undefined && { sessions: new SessionCache(cacheDir, username, endpoints) }),
    });
    this.settings = settings;
    this.#deadline = performance.now() + settings.timeoutMs;
  }

  /** What the command may still take, ms; not below 0. */
  get remainingMs(): number {
    return Math.max(0, this.#deadline - performance.now());
  }

  /** For commands that take long by nature: the time limit is then no shorter than this from now. */
  allowAtLeast(timeoutMs: number): void {
    this.#deadline = Math.max(this.#deadline, performance.now() + timeoutMs);
  }

  users(): Promise<ApiUser[]> {
    return this.get('/users');
  }

  policyGroups(): Promise<ApiPolicyGroup[]> {
    return this.get('/policies');
  }

  /** A bundle of diagnostics, perhaps without what some nodes would have given. Errors: ApiError. */
  async bundle(path: string): Promise<{ readonly response: HttpAnswer; readonly partial: boolean }> {
    const accept = 'application/octet-stream, application/gzip, application/json';
    const response = await this.transport.send('GET', path, { accept });
    const partial = response.status === 502 && BUNDLE_TYPES.has(response.header('content-type') ?? '');
    if (response.status !== 200 && !partial) await readAnswer(response, `GET ${path}`);
    return { response, partial };
  }

  /** The volume as it is now; undefined if there is none any more. */
  async volumeNow(volume: Pick<ApiVolume, 'namespaceID' | 'id'>): Promise<ApiVolume | undefined> {
    try {
      return await this.get(volumePath(volume));
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  /* ---- names and ids ---- */

  /** The namespace of `--namespace`. Errors: CliError, also if `--use-ids` is given with a name. */
  async namespace(): Promise<ApiNamespace> {
    return this.findNamespace(this.settings.namespace);
  }

  async findNamespace(reference: string): Promise<ApiNamespace> {
    return this.find('namespace', reference, await this.namespaces(), (item) => item.name);
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

  async findUser(reference: string): Promise<ApiUser> {
    return this.find('user', reference, await this.users(), (item) => item.username);
  }

  async findPolicyGroup(reference: string): Promise<ApiPolicyGroup> {
    return this.find('policy group', reference, await this.policyGroups(), (item) => item.name);
  }
}
