/** What the routes share. */

import type { Namespace, User } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import type { NamespaceId } from '../../core/types.js';
import type { Versioned } from '../state/cluster-state.js';
import { requireNamespace } from './access.js';
import { PasswordHasher } from './passwords.js';
import type { ApiDependencies } from './ports.js';
import { type ApiContext, asyncMaxMs } from './request.js';
import { TokenService } from './tokens.js';
import { VolumeViews } from './volume-views.js';

/** A client without `async-max` waits this long for an operation; then it is told that the operation goes on. */
const SYNCHRONOUS_WAIT_MS = 120_000;
/** Operations that go on for clients that do not wait, at the most. */
const MAX_BACKGROUND = 1024;

/** An operation that the client waits for or, with `async-max`, that goes on behind its back. */
export interface Execution {
  readonly waits: boolean;
  /** `answer` makes the response for a client that waited. */
  run(
    what: string,
    operation: (waitMs: number) => Promise<void>,
    answer: () => Promise<Response> | Response,
  ): Promise<Response>;
}

export class ApiServices {
  readonly dependencies: ApiDependencies;
  readonly tokens: TokenService;
  readonly passwords = new PasswordHasher();
  readonly views: VolumeViews;
  #background = 0;

  constructor(dependencies: ApiDependencies) {
    this.dependencies = dependencies;
    this.tokens = new TokenService(dependencies.secret, dependencies.random);
    this.views = new VolumeViews(dependencies);
  }

  now(): string {
    return this.dependencies.clock.timestamp();
  }

  /** The namespace of the request, if the user may use it. Errors: 'not-found', 'forbidden'. */
  async namespace(user: User, id: NamespaceId): Promise<Versioned<Namespace>> {
    const found = await this.dependencies.state.namespaces.getOrLastSeen(id);
    if (found === undefined) throw new DomainError('not-found', `namespace ${id} not found`);
    requireNamespace(user, found.value);
    return found;
  }

  /** How the client of this request wants its operation. Errors: 'invalid'; 'controller-unavailable' if too many run. */
  execution(c: ApiContext): Execution {
    const asyncMs = asyncMaxMs(c);
    if (asyncMs !== undefined && this.#background >= MAX_BACKGROUND) {
      throw new DomainError('controller-unavailable', 'too many asynchronous operations are in progress; try again');
    }
    const { logger } = this.dependencies;
    return {
      waits: asyncMs === undefined,
      run: async (what, operation, answer) => {
        if (asyncMs === undefined) {
          await operation(SYNCHRONOUS_WAIT_MS);
          return answer();
        }
        this.#background++;
        operation(asyncMs)
          .catch((error) =>
            logger.warn({ requestId: c.get('requestId'), what, err: error }, 'asynchronous operation failed'),
          )
          .finally(() => {
            this.#background--;
          });
        return this.accepted(c, asyncMs);
      },
    };
  }

  accepted(c: ApiContext, withinMs?: number): Response {
    const timeout = withinMs === undefined ? '' : `, with a timeout of ${withinMs / 1000}s`;
    return c.json({ msg: `request accepted${timeout}` }, 202);
  }
}
