/** The production block stores of a node, all on one simulated disk: they share its room, its speed and its faults. */

import type { DeploymentStore, IndexedBlock, Timer } from '../../core/ports.js';
import type { DeploymentId } from '../../core/types.js';
import type { BlockChecksums } from '../../node-agent/codec/index.js';
import { NodeStores } from '../../node-agent/store/index.js';
import { BLOCK_BYTES, badEntries } from './blocks.js';
import { misdirect, rot } from './damage.js';
import type { Scheduler, SeededRandom, SimClock } from './scheduler.js';
import { SimDisk } from './sim-disk.js';
import { SlowStore } from './slow-store.js';
import type { CopyOfVolume, DiskSpeed, NodeDisk } from './world.js';

/** Small, so that checkpoints and new segments happen all the time. */
const STORE_SETTINGS = {
  segmentBytes: 16 << 10,
  checkpointBytes: 24 << 10,
  checkpointEntries: 120,
  indexPageRows: 6,
  reclaimBytes: 32 << 10,
  maxUnsyncedBytes: 64 << 10,
  writeOutBytes: 4 << 10,
  maxWritingBytes: 12 << 10,
  cleanBytesPerSecond: 4 << 20,
  scrubIntervalMs: 2_000,
  scrubBytesPerSecond: 1 << 20,
};
/** A few pages: most have to be read. */
const INDEX_CACHE_BYTES = 64 << 10;
/** What a slow disk takes longer, ms at most. */
const SLOW_MS = 200;
/** A cleaner that never rests; one that works now and then; one that never finds a reason. */
const CLEANING = [
  { garbageFraction: 0.01, garbageBytes: 2 << 10, maintenanceIntervalMs: 25 },
  { garbageFraction: 0.5, garbageBytes: 32 << 10, maintenanceIntervalMs: 300 },
  { garbageFraction: 1_000, garbageBytes: 0, maintenanceIntervalMs: 300 },
];

const CHECKSUMS: BlockChecksums = {
  firstBad: (batch) => badEntries(batch)[0] ?? -1,
  bad: badEntries,
};

export class StoresDisk implements NodeDisk {
  readonly #disk: SimDisk;
  readonly #random: SeededRandom;
  /** Of every volume. */
  readonly #blocks: number;
  readonly #cleaning: (typeof CLEANING)[number];
  #clock: SimClock | undefined;
  #stores: NodeStores | undefined;
  #boots = 1;
  #failSync = false;
  #failedRemovals = 0;
  #speed: DiskSpeed = 'usual';
  /** What waits for a disk that does not answer. */
  #stuck: (() => void)[] = [];

  /** Bits have rotted on it, or stand elsewhere. */
  damaged = false;
  onBadBlocks: (deployment: DeploymentId, blocks: readonly IndexedBlock[]) => void = () => {};

  constructor(options: { scheduler: Scheduler; random: SeededRandom; blocks: number }) {
    this.#random = options.random;
    this.#blocks = options.blocks;
    this.#cleaning = options.random.pick(CLEANING);
    this.#disk = new SimDisk({
      random: options.random,
      clock: {
        now: () => options.scheduler.now,
        timestamp: () => '',
        after: (delayMs, run) => this.#after(delayMs, run),
      },
      syncDelayMs: { min: 0.1, max: options.random.pick([1, 8]) },
    });
    this.#disk.failSync = () => {
      const fail = this.#failSync;
      this.#failSync = false;
      return fail;
    };
  }

  async open(clock: SimClock): Promise<void> {
    this.#clock = clock;
    this.#stores = await NodeStores.open({
      disk: this.#disk.mount(),
      clock,
      random: this.#random.fork(),
      bootId: `boot-${this.#boots}`,
      checksums: () => CHECKSUMS,
      reserveBytes: 0,
      openFiles: 8,
      indexCacheBytes: INDEX_CACHE_BYTES,
      onBadBlocks: (deployment, blocks) => this.onBadBlocks(deployment, blocks),
      settings: { ...STORE_SETTINGS, ...this.#cleaning },
    });
  }

  /** When the device is done with something. */
  #after(delayMs: number, run: () => void): Timer {
    const clock = this.#clock!;
    if (this.#speed !== 'stuck') {
      const extraMs = this.#speed === 'slow' ? SLOW_MS * this.#random.next() : 0;
      return clock.after(delayMs + extraMs, run);
    }
    let cancelled = false;
    this.#stuck.push(() => {
      if (!cancelled) clock.after(delayMs, run);
    });
    return {
      cancel: () => {
        cancelled = true;
      },
    };
  }

  setSpeed(speed: DiskSpeed): void {
    this.#speed = speed;
    if (speed !== 'stuck') for (const go of this.#stuck.splice(0)) go();
  }

  get copies(): readonly CopyOfVolume[] {
    return this.#opened.deployments();
  }

  async create(copy: CopyOfVolume & { readonly etcdClusterId: string }): Promise<DeploymentStore> {
    return this.#slow(await this.#opened.create({ ...copy, blocks: this.#blocks, blockSize: BLOCK_BYTES }));
  }

  async openCopy(deployment: DeploymentId): Promise<DeploymentStore> {
    return this.#slow(await this.#opened.open(deployment));
  }

  remove(deployment: DeploymentId): Promise<void> {
    this.#failSync ||= this.#random.chance(this.#failedRemovals);
    return this.#opened.remove(deployment);
  }

  holds(deployment: DeploymentId): boolean {
    return this.#opened.holds(deployment);
  }

  close(): Promise<void> {
    return this.#opened.close();
  }

  get #opened(): NodeStores {
    if (this.#stores === undefined) throw new Error('the stores of this node are not open');
    return this.#stores;
  }

  #slow(store: DeploymentStore): DeploymentStore {
    return new SlowStore(store, this.#clock!, this.#random);
  }

  crash(power: boolean): void {
    this.#stuck = [];
    this.#disk.crash({ power });
    this.#stores = undefined;
    if (power) this.#boots++;
  }

  setFull(full: boolean): void {
    this.#disk.capacityBytes = full ? this.#disk.usedBytes() : Number.MAX_SAFE_INTEGER;
  }

  failNextSync(fail: boolean): void {
    this.#failSync = fail;
  }

  failRemovals(share: number): void {
    this.#failedRemovals = share;
  }

  rot(random: SeededRandom): boolean {
    return this.#damage(rot, random);
  }

  misdirect(random: SeededRandom): boolean {
    return this.#damage(misdirect, random);
  }

  #damage(damage: typeof rot, random: SeededRandom): boolean {
    const done = damage(this.#disk, random);
    if (done) this.damaged = true;
    return done;
  }
}
