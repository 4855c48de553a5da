/** The production block store on a simulated disk. */

import type { DeploymentStore, IndexedBlock } from '../../core/ports.js';
import type { DeploymentId, VolumeId } from '../../core/types.js';
import type { BlockChecksums } from '../../node-agent/codec/index.js';
import { NodeStores } from '../../node-agent/store/index.js';
import { BLOCK_BYTES, badEntries } from './blocks.js';
import type { NodeDisk } from './node.js';
import type { Scheduler, SeededRandom, SimClock, SimProcess } from './scheduler.js';
import { SimDisk } from './sim-disk.js';

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
/** A cleaner that never rests; one that works now and then; one that never finds a reason. */
const CLEANING = [
  { garbageFraction: 0.01, garbageBytes: 2 << 10, maintenanceIntervalMs: 5 },
  { garbageFraction: 0.5, garbageBytes: 32 << 10, maintenanceIntervalMs: 300 },
  { garbageFraction: 1_000, garbageBytes: 0, maintenanceIntervalMs: 300 },
];

/** The end of a segment is not old enough to rot. */
const FRESH_BYTES = 2 << 10;

const CHECKSUMS: BlockChecksums = {
  firstBad: (batch) => badEntries(batch)[0] ?? -1,
  bad: badEntries,
};

export class StoreDisk implements NodeDisk {
  readonly #disk: SimDisk;
  readonly #random: SeededRandom;
  readonly #deployment: { volume: VolumeId; deployment: DeploymentId; blocks: number; etcdClusterId: string };
  #clock: SimClock | undefined;
  #stores: NodeStores | undefined;
  #boots = 1;
  #failSync = false;
  readonly #cleaning: (typeof CLEANING)[number];

  onBadBlocks: (blocks: readonly IndexedBlock[]) => void = () => {};

  constructor(options: {
    scheduler: Scheduler;
    random: SeededRandom;
    volume: VolumeId;
    deployment: DeploymentId;
    blocks: number;
    etcdClusterId: string;
  }) {
    this.#random = options.random;
    const { volume, deployment, blocks, etcdClusterId } = options;
    this.#deployment = { volume, deployment, blocks, etcdClusterId };
    this.#cleaning = options.random.pick(CLEANING);
    this.#disk = new SimDisk({
      random: options.random,
      clock: {
        now: () => options.scheduler.now,
        timestamp: () => '',
        after: (delayMs, run) => this.#clock!.after(delayMs, run),
      },
      syncDelayMs: { min: 0.1, max: options.random.pick([1, 8]) },
    });
    this.#disk.failSync = () => {
      const fail = this.#failSync;
      this.#failSync = false;
      return fail;
    };
  }

  async open(_process: SimProcess, clock: SimClock): Promise<DeploymentStore> {
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
      onBadBlocks: (_deployment, blocks) => this.onBadBlocks(blocks),
      settings: { ...STORE_SETTINGS, ...this.#cleaning },
    });
    return this.#slow(await this.#stores.create({ ...this.#deployment, blockSize: BLOCK_BYTES }));
  }

  async reopen(): Promise<DeploymentStore> {
    return this.#slow(await this.#stores!.open(this.#deployment.deployment));
  }

  /**
   * The same store, whose reads take time: what was read may be overwritten when it arrives, and what is looked up
   * may have changed before the index is there.
   */
  #slow(store: DeploymentStore): DeploymentStore {
    const early = async (): Promise<void> => {
      if (this.#random.next() < 0.5) return;
      await new Promise<void>((resolve) => {
        this.#clock!.after(this.#random.next() * 3, resolve);
      });
    };
    const late = async <T>(read: Promise<T>): Promise<T> => {
      const settled = await read.then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      );
      await new Promise<void>((resolve) => {
        this.#clock!.after(this.#random.next() * 3, resolve);
      });
      if ('error' in settled) throw settled.error;
      return settled.value;
    };
    const reads: Partial<DeploymentStore> = {
      // Of half of the blocks, always the same, so that both ways of reading are taken.
      readCached: (first, blocks, lend) => (first % 2 === 0 ? store.readCached(first, blocks, lend) : undefined),
      read: (first, blocks, lend) => late(store.read(first, blocks, lend)),
      readBlocks: (blocks) => late(store.readBlocks(blocks)),
      readLog: (from, maxBytes) => late(store.readLog(from, maxBytes)),
      look: (blocks, act) => early().then(() => store.look(blocks, act)),
      newerThan: (after, from, limit) => early().then(() => store.newerThan(after, from, limit)),
      deadBlocks: (history, from, limit) => early().then(() => store.deadBlocks(history, from, limit)),
    };
    return new Proxy(store, {
      get: (_, name) => {
        const value: unknown = Reflect.get(name in reads ? reads : store, name);
        return typeof value === 'function' ? value.bind(store) : value;
      },
    });
  }

  crash(power: boolean): void {
    this.#disk.crash({ power });
    if (power) this.#boots++;
  }

  setFull(full: boolean): void {
    this.#disk.capacityBytes = full ? this.#disk.usedBytes() : Number.MAX_SAFE_INTEGER;
  }

  failNextSync(fail: boolean): void {
    this.#failSync = fail;
  }

  /**
   * What rots has been on the disk for a while. Payloads are runs of one byte: a run that is long enough is part
   * of one.
   */
  rot(random: SeededRandom): boolean {
    const segments = this.#disk.files().filter((path) => path.endsWith('.blob'));
    if (segments.length === 0) return false;
    const path = random.pick(segments);
    const bytes = this.#disk.file(path).durable.view();
    if (bytes.length < 2 * FRESH_BYTES) return false;
    for (let attempt = 0; attempt < 50; attempt++) {
      const at = random.int(0, bytes.length - FRESH_BYTES);
      const run = bytes.subarray(at, at + 8);
      if (run.length === 8 && run[0] !== 0 && run.every((byte) => byte === run[0])) {
        this.#disk.damage(path, at + 3, (byte) => byte ^ 0x10);
        return true;
      }
    }
    return false;
  }
}
