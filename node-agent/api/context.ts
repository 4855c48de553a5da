/** What the routes share. */

import { DomainError } from '../../core/errors.js';
import { Licensing } from '../licence/index.js';
import { LoginGuard } from './login-guard.js';
import { PasswordHasher } from './passwords.js';
import type { ApiDependencies } from './ports.js';
import type { Accepted } from './route.js';
import { TokenService } from './tokens.js';
import { VolumeViews } from './volume-views.js';

/** A client without `async-max` waits this long for an operation; then it is told that the operation goes on. */
const SYNCHRONOUS_WAIT_MS = 120_000;
/** Operations that go on for clients that do not wait, at the most. */
const MAX_BACKGROUND = 1024;

/** An operation that the client waits for or, with `async-max`, that goes on behind its back. */
export interface Execution {
  readonly waits: boolean;
  /** `answer` makes the reply for a client that waited. */
  run<R>(
    what: string,
    operation: (waitMs: number) => Promise<void>,
    answer: () => Promise<R> | R,
  ): Promise<R | Accepted>;
}

export class ApiServices {
  readonly dependencies: ApiDependencies;
  readonly tokens: TokenService;
  readonly passwords = new PasswordHasher();
  readonly logins: LoginGuard;
  readonly licensing: Licensing;
  readonly views: VolumeViews;
  #background = 0;

  constructor(dependencies: ApiDependencies) {
    this.dependencies = dependencies;
    this.tokens = new TokenService(dependencies.secret, dependencies.random);
    const { clock, state, licenceKeys } = dependencies;
    this.licensing = new Licensing({ state, clock, publicKeys: licenceKeys });
    this.logins = new LoginGuard({ now: () => clock.now(), nodes: () => state.nodes.cached.size });
    this.views = new VolumeViews(dependencies);
  }

  now(): string {
    return this.dependencies.clock.timestamp();
  }

  /** How the client of this request wants its operation. Errors: 'invalid'; 'controller-unavailable' if too many run. */
  execution(call: { readonly requestId: string; readonly asyncMs: number | undefined }): Execution {
    const { requestId, asyncMs } = call;
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
          .catch((error) => logger.warn({ requestId, what, err: error }, 'asynchronous operation failed'))
          .finally(() => {
            this.#background--;
          });
        return this.accepted(asyncMs);
      },
    };
  }

  accepted(withinMs?: number): Accepted {
    const timeout = withinMs === undefined ? '' : `, with a timeout of ${withinMs / 1000}s`;
    return { status: 202, body: { msg: `request accepted${timeout}` } };
  }
}
