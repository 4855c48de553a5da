/**
 * Erases deployments that were deleted while this node could not be asked to. Only a tombstone, written by
 * the deletion itself, allows it: a deployment that etcd merely does not mention is kept, since an emptied or
 * rolled back etcd mentions nothing.
 */

import type { Tombstone } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import type { Clock, Timer } from '../core/ports.js';
import type { DeploymentId, NodeId } from '../core/types.js';
import type { Logger } from './log.js';

/** After a failure, and twice as long after each further one. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;

export interface ErasureOptions {
  readonly self: NodeId;
  readonly clock: Pick<Clock, 'after'>;
  readonly logger: Logger;
  /** Whether anything of a deployment is on this node, a removal that is not finished included. */
  readonly holds: (deployment: DeploymentId) => boolean;
  /** Of nothing: nothing. Waits for what else is being done to it. */
  readonly remove: (deployment: DeploymentId) => Promise<void>;
  /** Whether etcd still has the tombstone, as far as is known. */
  readonly stands: (deployment: DeploymentId) => boolean;
  /** Removes the tombstone: nothing is left that it stands for. */
  readonly bury: (deployment: DeploymentId) => Promise<void>;
}

export class Erasure {
  readonly #options: ErasureOptions;
  /** Those that are being erased, or wait to be tried again. */
  readonly #running = new Map<DeploymentId, Timer | undefined>();
  #stopped = false;

  constructor(options: ErasureOptions) {
    this.#options = options;
  }

  /** To be called for every tombstone that there is or that appears. */
  onTombstone(tombstone: Tombstone | undefined): void {
    if (tombstone === undefined || tombstone.node !== this.#options.self) return;
    if (!this.#running.has(tombstone.deployment)) void this.#try(tombstone, FIRST_RETRY_MS);
  }

  /** Nothing is tried again. */
  stop(): void {
    this.#stopped = true;
    for (const timer of this.#running.values()) timer?.cancel();
  }

  async #try(tombstone: Tombstone, retryMs: number): Promise<void> {
    const { clock, logger, stands } = this.#options;
    const { deployment } = tombstone;
    this.#running.set(deployment, undefined);
    try {
      await this.#erase(tombstone);
      this.#running.delete(deployment);
    } catch (err) {
      logger.warn({ deployment, err, retryMs }, 'deleted deployment not erased yet');
      if (this.#stopped) return;
      const again = (): void => {
        if (stands(deployment)) void this.#try(tombstone, Math.min(2 * retryMs, LAST_RETRY_MS));
        else this.#running.delete(deployment);
      };
      this.#running.set(deployment, clock.after(retryMs, again));
    }
  }

  async #erase({ deployment, volume }: Tombstone): Promise<void> {
    const { holds, remove, bury, logger } = this.#options;
    const held = holds(deployment);
    // Also if nothing is here: it may be being made, and would be nobody's when its tombstone is gone.
    await remove(deployment);
    if (held) logger.info({ deployment, volume }, 'deleted deployment erased');
    await bury(deployment).catch((error: unknown) => {
      // The deletion that wrote it has taken it back meanwhile.
      if (!(error instanceof DomainError && error.code === 'not-found')) throw error;
    });
  }
}
