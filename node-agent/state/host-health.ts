/**
 * With several etcd endpoints: one that failed is left out until it has answered a probe, so that its absence
 * costs at most the calls that were under way. With a single endpoint there is nothing to choose.
 */

import { ConsecutiveBreaker, circuitBreaker, handleWhen, type IPolicy } from 'cockatiel';
import { Etcd3, type IOptions, isRecoverableError } from 'etcd3';

const PROBE_INTERVAL_MS = 500;
const PROBE_TIMEOUT_MS = 1000;
/** No leader is known to the member: it can answer, but not serve. */
const NO_LEADER = '0';

export class HostHealth {
  readonly #options: Pick<IOptions, 'credentials' | 'auth'>;
  readonly #timers = new Set<NodeJS.Timeout>();
  #closed = false;

  constructor(options: Pick<IOptions, 'credentials' | 'auth'>) {
    this.#options = options;
  }

  /** The policy under which calls to the host are made. */
  policy(host: string): IPolicy {
    const breaker = circuitBreaker(handleWhen(isRecoverableError), {
      // It is held open from its first failure, so this time only bridges the moment until then.
      halfOpenAfter: PROBE_TIMEOUT_MS,
      breaker: new ConsecutiveBreaker(1),
    });
    breaker.onBreak((reason) => {
      if (this.#closed || (reason !== null && typeof reason === 'object' && 'isolated' in reason)) return;
      const hold = breaker.isolate();
      this.#probeUntilWell(host, () => hold.dispose());
    });
    return breaker;
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #probeUntilWell(host: string, well: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#isWell(host).then((isWell) => {
        if (this.#closed) return;
        if (isWell) well();
        else this.#probeUntilWell(host, well);
      });
    }, PROBE_INTERVAL_MS);
    this.#timers.add(timer);
  }

  async #isWell(host: string): Promise<boolean> {
    const client = new Etcd3({
      ...this.#options,
      hosts: host,
      defaultCallOptions: () => ({ deadline: Date.now() + PROBE_TIMEOUT_MS }),
    });
    try {
      return (await client.maintenance.status()).leader !== NO_LEADER;
    } catch {
      return false;
    } finally {
      client.close();
    }
  }
}
