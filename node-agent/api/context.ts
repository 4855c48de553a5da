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
/**
 * Operations that go on for clients that asked for that, and as many for clients that went away; with so many, no
 * further one of its kind begins.
 */
export const MAX_BACKGROUND = 1024;

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
  readonly #background = { asked: 0, left: 0 };

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

  /**
   * How the client of this request wants its operation. What a client asked for that does not wait, or that goes away
   * while it waits, goes on all the same: who comes back finds it done, or under way, or undone as a whole.
   * Errors: 'controller-unavailable' if too many go on like that.
   */
  execution(call: {
    readonly requestId: string;
    readonly asyncMs: number | undefined;
    readonly signal: AbortSignal;
  }): Execution {
    const { requestId, asyncMs, signal } = call;
    const kind = asyncMs === undefined ? 'left' : 'asked';
    if (this.#background[kind] >= MAX_BACKGROUND) {
      throw new DomainError(
        'controller-unavailable',
        'too many operations go on for clients that do not wait; try again',
      );
    }
    const { logger } = this.dependencies;
    const goOn = (what: string, work: Promise<void>) => {
      this.#background[kind]++;
      work
        .catch((error) => logger.warn({ requestId, what, err: error }, 'asynchronous operation failed'))
        .finally(() => {
          this.#background[kind]--;
        });
    };
    return {
      waits: asyncMs === undefined,
      run: async (what, operation, answer) => {
        const work = operation(asyncMs ?? SYNCHRONOUS_WAIT_MS);
        if (asyncMs === undefined && (await endsBefore(work, signal))) return answer();
        goOn(what, work);
        return this.accepted(asyncMs);
      },
    };
  }

  accepted(withinMs?: number): Accepted {
    const timeout = withinMs === undefined ? '' : `, with a timeout of ${withinMs / 1000}s`;
    return { status: 202, body: { msg: `request accepted${timeout}` } };
  }
}

/** True when the work has ended, false if the signal comes first. Rejects with the error of the work. */
async function endsBefore(work: Promise<void>, signal: AbortSignal): Promise<boolean> {
  let forget = () => {};
  const gone = new Promise<false>((resolve) => {
    const aborted = () => resolve(false);
    signal.addEventListener('abort', aborted, { once: true });
    forget = () => signal.removeEventListener('abort', aborted);
    if (signal.aborted) aborted();
  });
  try {
    return await Promise.race([work.then(() => true as const), gone]);
  } finally {
    forget();
  }
}
