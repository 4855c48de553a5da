/**
 * Filesystems on volumes. The agent serves the very blocks that these commands wait for, so nothing here
 * touches a device or a mounted path from the agent's own threads: programs do, as child processes.
 */

import { mkdir, realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import type { FsType } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import { listMounts, type Mount } from './mounts.js';
import { CommandError, type Run, run as runCommand } from './run.js';

/** Longer than a failover, during which all commands on a volume stand still. */
const COMMAND_TIMEOUT_MS = 300_000;
const UNMOUNT_TIMEOUT_MS = 60_000;

/** Exit code of blkid where it finds nothing that it knows. */
const BLKID_NOTHING = 2;

const MAKE: Readonly<Record<Exclude<FsType, 'block'>, { readonly command: string; readonly args: readonly string[] }>> =
  {
    ext2: { command: 'mkfs.ext2', args: ['-q', '-F'] },
    ext3: { command: 'mkfs.ext3', args: ['-q', '-F'] },
    ext4: { command: 'mkfs.ext4', args: ['-q', '-F'] },
    xfs: { command: 'mkfs.xfs', args: ['-q'] },
    btrfs: { command: 'mkfs.btrfs', args: ['-q'] },
  };

function toDomainError(error: unknown, what: string): DomainError {
  if (error instanceof DomainError) return error;
  const missing = error instanceof CommandError && error.problem === 'missing';
  const message = error instanceof Error ? error.message : String(error);
  return new DomainError(missing ? 'invalid-state' : 'internal', `${what}: ${message}`, { cause: error });
}

/** The filesystem or other content that the device has; undefined if it is blank. Errors: DomainError. */
export async function detectContent(device: string, run: Run = runCommand): Promise<string | undefined> {
  try {
    const { stdout } = await run('blkid', ['--probe', '--output', 'export', device], { timeoutMs: COMMAND_TIMEOUT_MS });
    const fields = new Map(stdout.split('\n').map((line) => [line.split('=')[0] ?? '', line.split('=')[1] ?? '']));
    return fields.get('TYPE') ?? fields.get('PTTYPE') ?? 'unknown';
  } catch (error) {
    if (error instanceof CommandError && error.exitCode === BLKID_NOTHING) return undefined;
    throw toDomainError(error, `cannot look at ${device}`);
  }
}

/**
 * Makes a filesystem if the device is blank; false if it has one of this type already.
 * Errors: DomainError 'invalid-state' if it holds anything else, or if the tool is missing; 'internal'.
 */
export async function formatDevice(device: string, fsType: FsType, run: Run = runCommand): Promise<boolean> {
  if (fsType === 'block') return false;
  const content = await detectContent(device, run);
  if (content === fsType) return false;
  if (content !== undefined) {
    throw new DomainError('invalid-state', `${device} holds ${content}: not made into ${fsType}`);
  }
  const { command, args } = MAKE[fsType];
  try {
    await run(command, [...args, device], { timeoutMs: COMMAND_TIMEOUT_MS });
  } catch (error) {
    throw toDomainError(error, `cannot make ${fsType} on ${device}`);
  }
  return true;
}

export interface MountOptions {
  readonly readOnly?: boolean;
  /** Further options of mount(8), such as `discard`. */
  readonly options?: readonly string[];
}

/**
 * Mounts the device's filesystem; nothing happens if it is mounted there already. The directory is made.
 * Errors: DomainError 'in-use' if another filesystem is mounted there; 'internal'.
 */
export async function mountDevice(
  device: string,
  mountPoint: string,
  fsType: Exclude<FsType, 'block'> | FsType,
  { readOnly = false, options = [] }: MountOptions = {},
  run: Run = runCommand,
): Promise<void> {
  if (fsType === 'block') throw new DomainError('invalid', `${device} is a raw block device, nothing to mount`);
  const real = await realpath(device);
  const there = topMount(await listMounts(), mountPoint);
  if (there !== undefined) {
    if (there.source === real || there.source === device) return;
    throw new DomainError('in-use', `${mountPoint}: ${there.source} is mounted there`);
  }
  await mkdir(mountPoint, { recursive: true });
  const flags = [readOnly ? 'ro' : 'rw', ...options].join(',');
  try {
    await run('mount', ['-t', fsType, '-o', flags, real, mountPoint], { timeoutMs: COMMAND_TIMEOUT_MS });
  } catch (error) {
    throw toDomainError(error, `cannot mount ${basename(device)} on ${mountPoint}`);
  }
}

function topMount(mounts: readonly Mount[], mountPoint: string): Mount | undefined {
  return mounts.filter((mount) => mount.mountPoint === mountPoint).at(-1);
}

/**
 * Unmounts what is mounted there; nothing happens if nothing is. Errors: DomainError 'in-use' if it is still
 * mounted after the attempt, with umount's words.
 */
export async function unmountPath(mountPoint: string, run: Run = runCommand): Promise<void> {
  if (topMount(await listMounts(), mountPoint) === undefined) return;
  try {
    await run('umount', [mountPoint], { timeoutMs: UNMOUNT_TIMEOUT_MS });
  } catch (error) {
    if (topMount(await listMounts(), mountPoint) === undefined) return;
    if (!(error instanceof CommandError) || error.problem !== 'failed') throw toDomainError(error, mountPoint);
    throw new DomainError('in-use', `${mountPoint} cannot be unmounted: ${error.stderr.trim()}`, { cause: error });
  }
}

/** Frees the blocks that the mounted filesystem does not use. Errors: DomainError. */
export async function trimFilesystem(mountPoint: string, run: Run = runCommand): Promise<void> {
  try {
    await run('fstrim', [mountPoint], { timeoutMs: COMMAND_TIMEOUT_MS });
  } catch (error) {
    throw toDomainError(error, `cannot trim ${mountPoint}`);
  }
}
