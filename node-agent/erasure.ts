/**
 * Erases deployments that were deleted while this node could not be asked to. Only a tombstone, written by
 * the deletion itself, allows it: a deployment that etcd merely does not mention is kept, since an emptied or
 * rolled back etcd mentions nothing.
 */

import type { Tombstone } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import type { DeploymentId, NodeId } from '../core/types.js';
import type { Logger } from './log.js';

export interface ErasureOptions {
  readonly self: NodeId;
  readonly logger: Logger;
  /** Whether a deployment's data is on this node. */
  readonly holds: (deployment: DeploymentId) => boolean;
  readonly remove: (deployment: DeploymentId) => Promise<void>;
  /** Removes the tombstone: nothing is left that it stands for. */
  readonly bury: (deployment: DeploymentId) => Promise<void>;
}

export class Erasure {
  readonly #options: ErasureOptions;
  readonly #running = new Set<DeploymentId>();

  constructor(options: ErasureOptions) {
    this.#options = options;
  }

  /** To be called for every tombstone that there is or that appears. */
  onTombstone(tombstone: Tombstone | undefined): void {
    if (tombstone === undefined || tombstone.node !== this.#options.self) return;
    const { deployment } = tombstone;
    if (this.#running.has(deployment)) return;
    this.#running.add(deployment);
    this.#erase(tombstone)
      .catch((err) => this.#options.logger.warn({ deployment, err }, 'deleted deployment not erased yet'))
      .finally(() => this.#running.delete(deployment));
  }

  async #erase({ deployment, volume }: Tombstone): Promise<void> {
    const { holds, remove, bury, logger } = this.#options;
    if (holds(deployment)) {
      await remove(deployment);
      logger.info({ deployment, volume }, 'deleted deployment erased');
    }
    await bury(deployment).catch((error: unknown) => {
      // The deletion that wrote it has taken it back meanwhile.
      if (!(error instanceof DomainError && error.code === 'not-found')) throw error;
    });
  }
}
