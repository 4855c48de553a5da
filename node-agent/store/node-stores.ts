/** All deployments on a node: which there are, which are open, and the room for them. */

import { DEFAULT_RESERVE_BYTES } from '../../core/placement.js';
import {
  type Clock,
  type DeploymentState,
  type Disk,
  DiskError,
  type DiskLock,
  type IndexedBlock,
  invariant,
  type Random,
} from '../../core/ports.js';
import { MAX_BLOCK_BYTES, MIN_BLOCK_BYTES } from '../../core/record.js';
import type { DeploymentId, Epoch, HistoryEntry, VolumeId } from '../../core/types.js';
import type { BlockChecksums } from '../codec/index.js';
import { URGENT_FACTOR } from './cleaner.js';
import { LocalDeploymentStore } from './deployment-store.js';
import { type Capacity, DATA_ROOT, type DeviceSpace, Devices } from './devices.js';
import type { StoreEnvironment, StoreSettings } from './environment.js';
import { type Damage, NoSuchDeploymentError, StoreClosedError, StoreCorruptError } from './errors.js';
import { FilePool } from './file-pool.js';
import { parseSegmentName } from './format.js';
import { Maintenance } from './maintenance.js';
import { IndexMemory, type IndexUse } from './paged/index-memory.js';
import { MAX_ROWS } from './paged/page.js';
import { NEVER_SCRUBBED } from './scrubber.js';
import type { StoreStatistics } from './statistics.js';
import { type Superblock, SuperblockFile, stateOf } from './superblock.js';
import { Throttle } from './throttle.js';

const MIB = 1024 * 1024;
const DEFAULT_SETTINGS: StoreSettings = {
  segmentBytes: 64 * MIB,
  checkpointBytes: 512 * MIB,
  checkpointEntries: 128 * 1024,
  indexPageRows: MAX_ROWS,
  reclaimBytes: 128 * MIB,
  maxUnsyncedBytes: 256 * MIB,
  writeOutBytes: 4 * MIB,
  maxWritingBytes: 64 * MIB,
  garbageFraction: 0.5,
  garbageBytes: 128 * MIB,
  cleanBytesPerSecond: 64 * MIB,
  scrubIntervalMs: 7 * 24 * 3_600_000,
  scrubBytesPerSecond: 20 * MIB,
  maintenanceIntervalMs: 1_000,
};
/** Segment files kept open, of all deployments together. */
const DEFAULT_OPEN_FILES = 512;
export const DEFAULT_INDEX_CACHE_BYTES = 64 * MIB;
/** Less would write checkpoints all the time. */
export const MIN_INDEX_CACHE_BYTES = 8 * MIB;

export interface NodeStoresOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  /** Of the machine's present boot (readBootId). */
  readonly bootId: string;
  readonly checksums: (volume: VolumeId) => BlockChecksums;
  /** Bytes of every data file system that stay free, default 1 GiB. */
  readonly reserveBytes?: number;
  readonly openFiles?: number;
  /** Memory for the indexes of all deployments together, bytes, default 64 MiB. */
  readonly indexCacheBytes?: number;
  readonly settings?: Partial<StoreSettings>;
  /** Told of stored blocks that do not match their checksums, found when nobody was reading them: another copy heals them. */
  readonly onBadBlocks?: (deployment: DeploymentId, blocks: readonly IndexedBlock[]) => void;
  /** Told of damage to a deployment's log or checkpoint that the scrub has found, and that is being replaced. */
  readonly onDamage?: (deployment: DeploymentId, damage: Damage) => void;
}

export interface NewDeployment {
  readonly volume: VolumeId;
  readonly deployment: DeploymentId;
  readonly blockSize: number;
  readonly blocks: number;
  readonly etcdClusterId: string;
  readonly promised?: Epoch;
  readonly history?: readonly HistoryEntry[];
}

interface Known {
  readonly directory: string;
  /** As read when the node's stores were opened, or as it was created. */
  readonly superblock: Superblock;
  store?: LocalDeploymentStore;
  opening?: Promise<LocalDeploymentStore>;
  /** The last opening ended with an error that was final: what it had acknowledged may be missing. */
  suspect: boolean;
}

/** What is left of a deployment that is being removed. */
interface Removed {
  readonly deployment: DeploymentId;
  readonly directory: string;
  readonly inode: number;
  /** Devices from which files were removed that a power cut may still bring back. */
  readonly unsynced: Set<string>;
}

export class NodeStores {
  readonly #options: NodeStoresOptions;
  readonly #environment: StoreEnvironment;
  readonly #lock: DiskLock;
  readonly #maintenance: Maintenance;
  readonly #known = new Map<DeploymentId, Known>();
  /** Deployments that a newer program has written: they stay as they are, and none of their ids is made anew. */
  readonly #newer = new Map<DeploymentId, { readonly volume: VolumeId; readonly damages: readonly Damage[] }>();
  /** What was begun to be removed and is not gone: the disk gave an error. */
  readonly #removed = new Set<Removed>();
  /** One creation or removal at a time. */
  #queue: Promise<unknown> = Promise.resolve();
  #nextInode = 1;
  #closed = false;
  /** Deployment directories without a readable superblock, or out of date, nothing of which is touched; or not removed. */
  readonly damages: Damage[] = [];
  #unreadable = 0;

  private constructor(options: NodeStoresOptions, environment: StoreEnvironment, lock: DiskLock) {
    this.#options = options;
    this.#environment = environment;
    this.#lock = lock;
    this.#maintenance = new Maintenance(environment.clock, environment.settings, () => this.#openStores());
  }

  /**
   * Takes the data directory for this process (DiskError 'locked' if another one has it), finishes what a crash
   * interrupted and reads all superblocks. Opens no deployment.
   */
  static async open(options: NodeStoresOptions): Promise<NodeStores> {
    const { disk, clock, random, bootId } = options;
    const lock = disk.lock('lock');
    try {
      const { reserveBytes = DEFAULT_RESERVE_BYTES } = options;
      const settings = { ...DEFAULT_SETTINGS, ...options.settings };
      const devices = await Devices.open(disk, clock, random, reserveBytes);
      const throttle = new Throttle({
        clock,
        devices,
        zoneBytes: reserveBytes,
        maxBytesPerSecond: URGENT_FACTOR * settings.cleanBytesPerSecond,
        worthwhileBytes: settings.segmentBytes,
        garbageBytes: () => stores.garbageBytes,
      });
      const environment: StoreEnvironment = {
        disk,
        clock,
        random,
        bootId,
        devices,
        throttle,
        pool: new FilePool(disk, options.openFiles ?? DEFAULT_OPEN_FILES),
        indexMemory: new IndexMemory(options.indexCacheBytes ?? DEFAULT_INDEX_CACHE_BYTES),
        settings,
      };
      const stores = new NodeStores(options, environment, lock);
      await stores.#scan();
      return stores;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Of all open deployments: what may be given back. */
  get garbageBytes(): number {
    let bytes = 0;
    for (const store of this.#openStores()) bytes += store.garbageBytes;
    return bytes;
  }

  /** Whether writers are slowed down because space is short. */
  get throttled(): boolean {
    return this.#environment.throttle.active;
  }

  /** The memory of all indexes of the node. */
  get indexMemory(): IndexUse {
    return this.#environment.indexMemory;
  }

  *#openStores(): Generator<LocalDeploymentStore> {
    for (const { store } of this.#known.values()) if (store !== undefined && !store.closed) yield store;
  }

  async #scan(): Promise<void> {
    const { disk, devices } = this.#environment;
    for (const index of await devices.indexDirectories()) {
      for (const name of await disk.listAsync(index)) {
        const match = /^([1-9]\d{0,14})(\.new|\.removed)?$/.exec(name);
        if (match === null) continue;
        const inode = Number(match[1]);
        const directory = `${index}/${name}`;
        this.#nextInode = Math.max(this.#nextInode, inode + 1);
        if (match[2] === undefined) await this.#register(directory);
        else await this.#finishRemoval(directory, inode);
      }
    }
    for (const device of devices.all()) {
      for (const name of await disk.listAsync(device.path)) {
        this.#nextInode = Math.max(this.#nextInode, (parseSegmentName(name)?.inode ?? 0) + 1);
      }
    }
  }

  /** What an earlier process has begun to remove or to make. An error of the disk is none of the other deployments'. */
  async #finishRemoval(directory: string, inode: number): Promise<void> {
    const { disk, devices } = this.#environment;
    // Whether that process has synced what it removed is not known.
    const unsynced = new Set(devices.all().map(({ path }) => path));
    try {
      await this.#erase(directory, inode, unsynced);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.damages.push({ path: directory, offset: 0, what: `cannot be removed yet: ${error.message}` });
      const read = await SuperblockFile.read(disk, directory);
      if (!('superblock' in read)) return;
      const { deployment } = read.superblock;
      this.#removed.add({ deployment, directory, inode, unsynced });
    }
  }

  async #register(directory: string): Promise<void> {
    const read = await SuperblockFile.read(this.#environment.disk, directory);
    if (!('superblock' in read)) {
      const { damages, owner } = read;
      this.damages.push(...damages);
      if (owner !== undefined) this.#newer.set(owner.deployment, { volume: owner.volume, damages });
      else this.#unreadable++;
      return;
    }
    const { superblock } = read;
    const found: Known = { directory, superblock, suspect: false };
    const known = this.#known.get(superblock.deployment);
    if (known !== undefined) {
      // The older one was not readable for a while, to an older program perhaps, and was made anew. It knows nothing
      // of what was promised and acknowledged since.
      const [older, newer] = known.superblock.inode < superblock.inode ? [known, found] : [found, known];
      const what = `the deployment was made anew in ${newer.directory}: this is out of date`;
      this.damages.push({ path: older.directory, offset: 0, what });
      if (newer === known) return;
    }
    this.#known.set(superblock.deployment, found);
  }

  /** Directories of deployments of which no superblock says whose they are. */
  get unreadable(): number {
    return this.#unreadable;
  }

  /** Every deployment on the disk, open or not. */
  deployments(): DeploymentState[] {
    return [...this.#known.values()].map(({ store, superblock }) => store?.state ?? stateOf(superblock));
  }

  /** Those of the volume, open or not, and those that a newer program has written. */
  of(volume: VolumeId): DeploymentId[] {
    const ids: DeploymentId[] = [];
    for (const [deployment, { superblock }] of this.#known) if (superblock.volume === volume) ids.push(deployment);
    for (const [deployment, newer] of this.#newer) {
      if (newer.volume === volume && !this.#known.has(deployment)) ids.push(deployment);
    }
    return ids;
  }

  /** Whether anything of the deployment is on the disk, also of one whose removal is not finished. */
  holds(deployment: DeploymentId): boolean {
    if (this.#known.has(deployment) || this.#newer.has(deployment)) return true;
    for (const left of this.#removed) if (left.deployment === deployment) return true;
    return false;
  }

  #refuseNewer(deployment: DeploymentId): void {
    const newer = this.#newer.get(deployment);
    if (newer !== undefined) throw new StoreCorruptError(deployment, newer.damages);
  }

  /**
   * Makes a deployment durable and opens it. Again for the same deployment: opens it. Throws
   * DiskError('no-space') if the reserve would be touched, StoreCorruptError if a newer program has written it.
   */
  create(wanted: NewDeployment): Promise<LocalDeploymentStore> {
    return this.#exclusively(async () => {
      this.#refuseNewer(wanted.deployment);
      const known = this.#known.get(wanted.deployment);
      if (known === undefined) await this.#create(wanted);
      else {
        const { volume, blockSize, blocks } = known.superblock;
        const same = volume === wanted.volume && blockSize === wanted.blockSize && blocks === wanted.blocks;
        invariant(same, 'a deployment never changes its volume or shape', () => wanted.deployment);
      }
      return this.open(wanted.deployment);
    });
  }

  async #create(wanted: NewDeployment): Promise<void> {
    const { blockSize, blocks } = wanted;
    const sound =
      blockSize >= MIN_BLOCK_BYTES &&
      blockSize <= MAX_BLOCK_BYTES &&
      Number.isInteger(Math.log2(blockSize)) &&
      Number.isSafeInteger(blocks * blockSize) &&
      blocks > 0;
    if (!sound) throw new RangeError(`deployment of ${blocks} blocks of ${blockSize} bytes`);
    const { disk, devices, bootId } = this.#environment;
    await devices.refresh();
    if (devices.capacity().availableBytes <= 0) {
      throw new DiskError('no-space', DATA_ROOT, 'no room for another deployment beside the reserve');
    }
    const inode = this.#nextInode++;
    const superblock: Superblock = {
      volume: wanted.volume,
      deployment: wanted.deployment,
      blockSize,
      blocks,
      inode,
      promised: wanted.promised ?? (0 as Epoch),
      history: [...(wanted.history ?? [])],
      unclean: false,
      syncBase: null,
      syncRegions: [],
      etcdClusterId: wanted.etcdClusterId,
      opening: 0,
      incarnation: '',
      bootId,
      devices: devices
        .byRoom()
        .slice(0, 1)
        .map(({ number, id }): [number, string] => [number, id]),
      clean: true,
      durableBatch: 0,
      checkpoint: null,
      damage: null,
      scrub: NEVER_SCRUBBED,
    };
    const index = await emptiest(disk, await devices.indexDirectories());
    const directory = `${index}/${inode}`;
    const unfinished = `${directory}.new`;
    await disk.makeDirectoryAsync(unfinished);
    await SuperblockFile.create(disk, unfinished, superblock);
    await disk.renameAsync(unfinished, directory);
    await disk.syncDirectory(index);
    this.#known.set(wanted.deployment, { directory, superblock, suspect: false });
  }

  /** The open store, or opens it; a store that has failed is opened anew, as unclean. */
  async open(deployment: DeploymentId): Promise<LocalDeploymentStore> {
    if (this.#closed) throw new StoreClosedError(deployment);
    this.#refuseNewer(deployment);
    const known = this.#known.get(deployment);
    if (known === undefined) throw new NoSuchDeploymentError(deployment);
    if (known.opening !== undefined) return known.opening;
    if (known.store !== undefined && !known.store.failed && !known.store.closed) return known.store;
    known.opening = this.#open(known).finally(() => {
      delete known.opening;
    });
    return known.opening;
  }

  async #open(known: Known): Promise<LocalDeploymentStore> {
    if (known.store !== undefined) {
      known.suspect ||= known.store.suspect;
      await known.store.close();
      delete known.store;
    }
    const { directory, suspect } = known;
    const { checksums, onBadBlocks, onDamage } = this.#options;
    const { deployment } = known.superblock;
    const store = await LocalDeploymentStore.open(this.#environment, {
      directory,
      checksums,
      suspect,
      bad: (blocks) => onBadBlocks?.(deployment, blocks),
      damaged: (damage) => onDamage?.(deployment, damage),
    });
    known.store = store;
    known.suspect = false;
    return store;
  }

  /**
   * Closes and erases the deployment; nothing is left of it when it resolves. Again: nothing. Rejects with
   * StoreCorruptError if a newer program has written it.
   */
  remove(deployment: DeploymentId): Promise<void> {
    return this.#exclusively(async () => {
      this.#refuseNewer(deployment);
      const { disk } = this.#environment;
      const known = this.#known.get(deployment);
      if (known !== undefined) {
        await known.opening?.catch(() => {});
        await known.store?.abandon();
        const directory = `${known.directory}.removed`;
        await disk.renameAsync(known.directory, directory);
        this.#known.delete(deployment);
        this.#removed.add({ deployment, directory, inode: known.superblock.inode, unsynced: new Set() });
      }
      for (const left of this.#removed) {
        if (left.deployment !== deployment) continue;
        await disk.syncDirectory(parentOf(left.directory));
        await this.#erase(left.directory, left.inode, left.unsynced);
        this.#removed.delete(left);
      }
    });
  }

  /**
   * Segments first: while the directory is there, the next start goes on with this. Goes on with what is left, too. A
   * device that has nothing of it is not asked for more than its list.
   */
  async #erase(directory: string, inode: number, unsynced: Set<string>): Promise<void> {
    const { disk, devices } = this.#environment;
    for (const { path } of devices.all()) {
      const all = await disk.listAsync(path);
      const names = all.filter((name) => parseSegmentName(name)?.inode === inode);
      if (names.length > 0) unsynced.add(path);
      for (const name of names) await disk.unlinkAsync(`${path}/${name}`);
      if (!unsynced.has(path)) continue;
      await disk.syncDirectory(path);
      unsynced.delete(path);
    }
    try {
      for (const name of await disk.listAsync(directory)) await disk.unlinkAsync(`${directory}/${name}`);
      await disk.removeDirectoryAsync(directory);
    } catch (error) {
      if (!(error instanceof DiskError && error.code === 'not-found')) throw error;
    }
    await disk.syncDirectory(parentOf(directory));
  }

  capacity(): Capacity {
    return this.#environment.devices.capacity();
  }

  /** The `dev<N>` directories in use. */
  devices(): DeviceSpace[] {
    return this.#environment.devices
      .all()
      .map(({ path, freeBytes, segmentBytes }) => ({ path, freeBytes, segmentBytes }));
  }

  /** Of the deployments that are open. */
  statistics(): { readonly volume: VolumeId; readonly statistics: StoreStatistics }[] {
    return [...this.#openStores()].map(({ state, statistics }) => ({ volume: state.volume, statistics }));
  }

  /** Stops the scrub where it is, or lets it go on from there; it is not paused when the stores are opened. */
  pauseScrub(paused: boolean): void {
    this.#maintenance.scrubPaused = paused;
  }

  /** Looks for new `dev<N>` directories now; it happens every 15 s anyway. */
  findDevices(): Promise<void> {
    return this.#environment.devices.look();
  }

  /** Closes all stores cleanly and lets go of the data directory. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#queue.catch(() => {});
    await this.#maintenance.stop();
    const outcomes = await Promise.allSettled(
      [...this.#known.values()].map(async (known) => {
        await known.opening?.catch(() => {});
        await known.store?.close();
      }),
    );
    await this.#environment.devices.close();
    await this.#environment.pool.close();
    this.#lock.release();
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  #exclusively<T>(run: () => Promise<T>): Promise<T> {
    const done = this.#queue.catch(() => {}).then(run);
    this.#queue = done;
    return done;
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

async function emptiest(disk: Disk, directories: readonly string[]): Promise<string> {
  const asked = directories.map(async (path) => ({ path, freeBytes: (await disk.spaceAsync(path)).freeBytes }));
  const [first] = (await Promise.all(asked)).sort((a, b) => b.freeBytes - a.freeBytes);
  invariant(first !== undefined, 'there is a directory for indexes', () => DATA_ROOT);
  return first.path;
}
