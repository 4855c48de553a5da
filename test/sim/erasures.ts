/** What one life of a node erases: the production code, told of the tombstones that etcd has. */

import type { Tombstone } from '../../core/domain.js';
import type { Clock } from '../../core/ports.js';
import type { DeploymentId, NodeId } from '../../core/types.js';
import { Erasure } from '../../node-agent/erasure.js';
import { createLogger } from '../../node-agent/log.js';
import type { EtcdClient } from './etcd.js';
import type { SimProcess } from './scheduler.js';
import type { SimVolume } from './volume.js';
import type { World } from './world.js';

const logger = createLogger({ level: 'silent', node: 'sim' });

export interface ErasingNode {
  readonly id: NodeId;
  readonly name: string;
  readonly process: SimProcess;
  readonly clock: Clock;
  readonly etcdClusterId: string;
  /** Whether anything of the copy is on the disk. */
  holds(deployment: DeploymentId): boolean;
  /** Stops it and takes it off the disk. */
  remove(deployment: DeploymentId): Promise<void>;
}

export class SimErasures {
  readonly #erasure: Erasure;
  /** That the watch has shown. */
  readonly #standing = new Map<DeploymentId, { readonly tombstone: Tombstone; readonly volume: SimVolume }>();

  constructor(world: World, { id, name, process, clock, etcdClusterId, holds, remove }: ErasingNode) {
    const client: EtcdClient = { name, process, etcdClusterId };
    this.#erasure = new Erasure({
      self: id,
      clock,
      logger,
      holds,
      remove: (deployment) => process.settle(remove(deployment)),
      stands: (deployment) => this.#standing.has(deployment),
      bury: (deployment) => world.etcd.write(client, () => this.#standing.get(deployment)?.volume.bury(deployment)),
    });
  }

  /** The watch shows which tombstones there are for copies of the volume. */
  onTombstones(volume: SimVolume): void {
    for (const [deployment, standing] of this.#standing) {
      if (standing.volume === volume && !volume.tombstones.has(deployment)) this.#standing.delete(deployment);
    }
    for (const [deployment, tombstone] of volume.tombstones) {
      this.#standing.set(deployment, { tombstone, volume });
      this.#erasure.onTombstone(tombstone);
    }
  }

  stop(): void {
    this.#erasure.stop();
  }
}
