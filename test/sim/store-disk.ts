/** One copy of a volume alone on a simulated disk, with the production block store. */

import type { DeploymentStore, IndexedBlock } from '../../core/ports.js';
import { StoresDisk } from './node-disk.js';
import type { Scheduler, SeededRandom, SimClock, SimProcess } from './scheduler.js';
import type { CopyOfVolume } from './world.js';

export class StoreDisk {
  readonly #disk: StoresDisk;
  readonly #copy: CopyOfVolume & { readonly etcdClusterId: string };
  /** Told of blocks that were found bad while nobody was reading them. */
  onBadBlocks: (blocks: readonly IndexedBlock[]) => void = () => {};

  constructor(
    options: CopyOfVolume & {
      readonly scheduler: Scheduler;
      readonly random: SeededRandom;
      readonly blocks: number;
      readonly etcdClusterId: string;
    },
  ) {
    this.#disk = new StoresDisk(options);
    this.#disk.onBadBlocks = (_, blocks) => this.onBadBlocks(blocks);
    const { volume, deployment, etcdClusterId } = options;
    this.#copy = { volume, deployment, etcdClusterId };
  }

  /** For a new process; the copy is made if it is not there. */
  async open(_process: SimProcess, clock: SimClock): Promise<DeploymentStore> {
    await this.#disk.open(clock);
    return this.#disk.create(this.#copy);
  }

  /** After the store has failed, in the same process. */
  reopen(): Promise<DeploymentStore> {
    return this.#disk.openCopy(this.#copy.deployment);
  }

  /** The process is gone; with `power`, so is what was not synced. */
  crash(power: boolean): void {
    this.#disk.crash(power);
  }

  setFull(full: boolean): void {
    this.#disk.setFull(full);
  }

  /** False if there is no payload that may be damaged. */
  rot(random: SeededRandom): boolean {
    return this.#disk.rot(random);
  }

  failNextSync(fail: boolean): void {
    this.#disk.failNextSync(fail);
  }
}
