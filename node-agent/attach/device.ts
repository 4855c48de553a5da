import { mkdir, rename, rm, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { DomainError } from '../../core/errors.js';
import type { VolumeId } from '../../core/types.js';
import { readBootId } from '../clock.js';
import { isHeld, linkTarget, mountsOf } from './block-device.js';
import { type DeviceRecord, DeviceRecords } from './device-record.js';
import { isFuseLoopAlive, isFuseLoopBound, makeFuseLoop, removeFuseLoop } from './fuse-loop.js';
import { isKernelNbdAlive, makeKernelNbd, removeKernelNbd } from './kernel-nbd.js';
import type { ProcessIdentity } from './processes.js';
import { CommandError, type Run, run as runCommand } from './run.js';
import { type DeviceSupport, deviceSupport } from './support.js';

const UNMOUNT_TIMEOUT_MS = 20_000;
/** With all else that an agent's end may wait for, less than it has (cluster/cluster.ts). */
const SYNC_TIMEOUT_MS = 10_000;
/** Each waits for seconds if somebody still uses the device. */
const PARALLEL_REMOVALS = 16;

export interface DeviceManagerOptions {
  /** Where the records and nbdfuse's mount points are; not on a volume. */
  readonly stateDir: string;
  /** Where each volume's device has its stable name, `v.<volume id>`. */
  readonly deviceDir: string;
  readonly log: (level: 'info' | 'warn', message: string, fields: Readonly<Record<string, unknown>>) => void;
  /** Found out by default. */
  readonly support?: DeviceSupport;
  readonly run?: Run;
  /** Of the machine; by default this one's. */
  readonly bootId?: string;
}

/** The kernel reads a new device: where that takes too long, no copy of the volume answers. */
function codeOf(error: unknown): DomainError['code'] {
  if (!(error instanceof CommandError)) return 'internal';
  return { missing: 'invalid-state', timeout: 'node-unavailable', failed: 'internal' }[
    error.problem
  ] as DomainError['code'];
}

/** The block devices that this node shows for the NBD sockets of its attached volumes. */
export class DeviceManager {
  readonly #records: DeviceRecords;
  readonly #deviceDir: string;
  readonly #log: DeviceManagerOptions['log'];
  readonly #run: Run;
  readonly #support: DeviceSupport;
  /** Calls for one volume happen one after the other. */
  readonly #turns = new Map<VolumeId, Promise<unknown>>();
  readonly #making = new Set<VolumeId>();
  #stopped = false;

  constructor(options: DeviceManagerOptions) {
    this.#records = new DeviceRecords(join(options.stateDir, 'devices'), options.bootId ?? readBootId());
    this.#deviceDir = options.deviceDir;
    this.#log = options.log;
    this.#run = options.run ?? runCommand;
    this.#support = options.support ?? deviceSupport();
  }

  /** Why this machine can't make block devices; undefined if it can. */
  get unsupported(): string | undefined {
    return 'reason' in this.#support ? this.#support.reason : undefined;
  }

  /** The stable name of the volume's device. */
  linkPath(volume: VolumeId): string {
    return join(this.#deviceDir, `v.${volume}`);
  }

  /**
   * Makes the volume's block device and returns its stable name; a device that works already is left as it is.
   *
   * Errors: DomainError 'invalid-state' where no device can be made, with the reason, and behind `stop`; 'in-use' if a
   * dead device of this volume is still held by somebody; 'node-unavailable' if the volume does not answer; 'internal'.
   */
  present(volume: VolumeId, socketPath: string, options: { readonly readOnly: boolean }): Promise<string> {
    return this.#inTurn(volume, async () => {
      if ('reason' in this.#support) throw new DomainError('invalid-state', this.#support.reason);
      const record = await this.#records.read(volume);
      if (record !== undefined) {
        if (record.socketPath === socketPath && (await this.#isAlive(record))) {
          return this.#link(volume, record.device ?? '');
        }
        await this.#remove(volume, record, 'force');
      }
      if (this.#stopped) throw new DomainError('invalid-state', 'this node is shutting down');
      this.#making.add(volume);
      try {
        const device = await this.#make(volume, socketPath, options.readOnly, this.#support.kind);
        this.#log('info', 'block device made', { volume, device, kind: this.#support.kind });
        return await this.#link(volume, device);
      } catch (error) {
        const made = await this.#records.read(volume);
        if (made !== undefined) await this.#remove(volume, made, 'force').catch(() => undefined);
        if (error instanceof DomainError) throw error;
        const code = codeOf(error);
        const what = code === 'node-unavailable' ? 'no copy serves its first reads' : 'it cannot be made';
        const message = `no block device for volume ${volume}: ${what}: ${(error as Error).message}`;
        throw new DomainError(code, message, { cause: error });
      } finally {
        this.#making.delete(volume);
      }
    });
  }

  /** Makes no devices any more. Returns the volumes whose devices are being made, which may wait for them. */
  stop(): readonly VolumeId[] {
    this.#stopped = true;
    return [...this.#making];
  }

  /** Takes the device away; nothing happens if there is none. Errors: DomainError 'in-use' while it is mounted. */
  withdraw(volume: VolumeId): Promise<void> {
    return this.#inTurn(volume, async () => {
      const record = await this.#records.read(volume);
      if (record !== undefined) await this.#remove(volume, record, 'if-unused');
    });
  }

  /**
   * Writes out what the kernel holds of the device, its filesystem's in any mount namespace too (BLKFLSBUF, see
   * blockdev(8)); nothing happens if there is none. Errors: CommandError.
   */
  async sync(volume: VolumeId): Promise<void> {
    const device = await linkTarget(this.linkPath(volume));
    if (device !== undefined) await this.#run('blockdev', ['--flushbufs', device], { timeoutMs: SYNC_TIMEOUT_MS });
  }

  /** `sync` of all; `failed` is told of each that could not be written out. */
  async syncAll(failed: (volume: VolumeId, error: Error) => void): Promise<void> {
    const volumes = await this.#records.volumes();
    await Promise.all(volumes.map((volume) => this.sync(volume).catch((error: Error) => failed(volume, error))));
  }

  /**
   * To be called at start, before anything is presented: a process that was killed has left devices behind
   * whose NBD server is gone, with filesystems on them that can only give errors. They are unmounted and removed.
   */
  async removeLeftovers(): Promise<void> {
    const left = await this.#records.volumes();
    const removeSome = async (): Promise<void> => {
      for (let volume = left.pop(); volume !== undefined; volume = left.pop()) await this.#removeLeftover(volume);
    };
    await Promise.all(Array.from({ length: PARALLEL_REMOVALS }, removeSome));
  }

  #removeLeftover(volume: VolumeId): Promise<void> {
    return this.#inTurn(volume, async () => {
      try {
        const record = await this.#records.read(volume);
        if (record === undefined) {
          await this.#forget(volume);
          return;
        }
        await this.#remove(volume, record, 'force');
        this.#log('warn', 'removed a block device that an earlier run left behind', { volume, device: record.device });
      } catch (error) {
        this.#log('warn', 'cannot remove a block device of an earlier run', { volume, error: String(error) });
      }
    });
  }

  #isAlive(record: DeviceRecord): Promise<boolean> {
    return record.kind === 'fuse-loop' ? isFuseLoopAlive(record, this.#run) : isKernelNbdAlive(record);
  }

  /** Whether the device in the record is still this volume's: its number may have been given to another. */
  #isOurs(record: DeviceRecord): Promise<boolean> {
    return record.kind === 'fuse-loop' ? isFuseLoopBound(record) : isKernelNbdAlive(record);
  }

  #make(volume: VolumeId, socketPath: string, readOnly: boolean, kind: DeviceRecord['kind']): Promise<string> {
    const save = (record: DeviceRecord) => this.#records.write(volume, record);
    if (kind === 'kernel-nbd') return makeKernelNbd({ volume, socketPath, readOnly, save }, this.#run);
    const fuseDir = join(this.#records.directory, `${volume}.fuse`);
    const ended = (process: ProcessIdentity) =>
      void this.#noticeEnd(volume, process).catch((error) => this.#log('warn', String(error), { volume }));
    return makeFuseLoop({ volume, socketPath, fuseDir, readOnly, save, ended }, this.#run);
  }

  /** Behind what is being done to the device: it may be what ended the process. */
  #noticeEnd(volume: VolumeId, process: ProcessIdentity): Promise<void> {
    return this.#inTurn(volume, async () => {
      const record = await this.#records.read(volume);
      if (record?.kind !== 'fuse-loop' || !isDeepStrictEqual(record.process, process)) return;
      const message =
        'nbdfuse has ended: the block device gives errors until it is unmounted and the volume attached again';
      this.#log('warn', message, { volume, device: record.device, pid: process.pid });
    });
  }

  async #remove(volume: VolumeId, record: DeviceRecord, how: 'if-unused' | 'force'): Promise<void> {
    const device = (await this.#isOurs(record)) ? record.device : undefined;
    if (device !== undefined && how === 'if-unused' && (await this.#isAlive(record))) {
      const mounts = await mountsOf(device);
      if (mounts.length > 0 || (await isHeld(device))) {
        const where = mounts.map((mount) => mount.mountPoint).join(', ') || 'by another program';
        throw new DomainError('in-use', `volume ${volume} is mounted or in use: ${device}, ${where}`);
      }
    } else if (device !== undefined) {
      await this.#unmountAll(volume, device);
    }
    const removed =
      record.kind === 'fuse-loop'
        ? await removeFuseLoop(record, this.#run, { force: how === 'force' })
        : await removeKernelNbd(record, this.#run);
    if (!removed) throw new DomainError('in-use', `block device ${device} of volume ${volume} is still in use`);
    await this.#forget(volume);
  }

  async #forget(volume: VolumeId): Promise<void> {
    const link = this.linkPath(volume);
    if ((await linkTarget(link)) !== undefined) await rm(link, { force: true });
    await this.#records.remove(volume);
  }

  /** The device is dead: what is mounted from it gives errors only, and goes, lazily if somebody is in it. */
  async #unmountAll(volume: VolumeId, device: string): Promise<void> {
    for (const mount of (await mountsOf(device)).reverse()) {
      this.#log('warn', 'unmounting a filesystem whose block device is dead', { volume, mountPoint: mount.mountPoint });
      const options = { timeoutMs: UNMOUNT_TIMEOUT_MS };
      await this.#run('umount', [mount.mountPoint], options).catch(() =>
        this.#run('umount', ['--lazy', mount.mountPoint], options),
      );
    }
  }

  /** Gives the device its stable name, replacing an older one in one step. */
  async #link(volume: VolumeId, device: string): Promise<string> {
    const link = this.linkPath(volume);
    if ((await linkTarget(link)) === device) return link;
    await mkdir(dirname(link), { recursive: true });
    await rm(`${link}.new`, { force: true });
    await symlink(device, `${link}.new`);
    await rename(`${link}.new`, link);
    return link;
  }

  #inTurn<T>(volume: VolumeId, act: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(volume) ?? Promise.resolve();
    const turn = before.then(act, act);
    this.#turns.set(volume, turn);
    const forget = () => {
      if (this.#turns.get(volume) === turn) this.#turns.delete(volume);
    };
    turn.then(forget, forget);
    return turn;
  }
}
