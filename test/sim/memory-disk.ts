import type { DeploymentStore } from '../../core/ports.js';
import type { DeploymentId, VolumeId } from '../../core/types.js';
import { MemoryMedia, MemoryStore } from './memory-store.js';
import type { NodeDisk } from './node.js';
import type { Scheduler, SeededRandom, SimProcess } from './scheduler.js';

export class MemoryDisk implements NodeDisk {
  readonly #media: MemoryMedia;
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;

  constructor(options: {
    scheduler: Scheduler;
    random: SeededRandom;
    volume: VolumeId;
    deployment: DeploymentId;
    blocks: number;
    etcdClusterId: string;
  }) {
    this.#media = new MemoryMedia(options.volume, options.deployment, options.blocks, options.etcdClusterId);
    this.#scheduler = options.scheduler;
    this.#random = options.random;
  }

  async open(process: SimProcess): Promise<DeploymentStore> {
    return new MemoryStore(this.#media, this.#scheduler, this.#random, process);
  }

  crash(power: boolean): void {
    if (power) this.#media.losePower(this.#random);
  }

  setFull(full: boolean): void {
    this.#media.full = full;
  }

  failNextSync(): void {
    this.#media.failSync = true;
  }

  rot(): boolean {
    return false;
  }
}
