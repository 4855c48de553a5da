/** A block device of the kernel's own NBD client, where it has one. Source: nbd-client(8), sysfs of nbd.ko. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '../../core/errors.js';
import type { VolumeId } from '../../core/types.js';
import { kernelName } from './block-device.js';
import type { KernelNbdRecord } from './device-record.js';
import { waitUntil } from './processes.js';
import { CommandError, type Run } from './run.js';

const COMMAND_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
/** Others may take a free device between two steps. */
const ATTEMPTS = 5;

/** Where the kernel shows its devices and processes; other directories in tests. */
export interface KernelPaths {
  readonly sysBlock: string;
  readonly proc: string;
}

const KERNEL_PATHS: KernelPaths = { sysBlock: '/sys/block', proc: '/proc' };

/**
 * Connects a free device. One connection: with several, the kernel takes a connection that is silent for its
 * time-out for dead, and a failover may be longer. Through ioctl rather than netlink: then the client's process
 * stays, and with its command line says whose device it is.
 * Errors: DomainError('invalid-state') if no device is free; CommandError.
 */
export async function makeKernelNbd(
  options: {
    readonly volume: VolumeId;
    readonly socketPath: string;
    readonly readOnly: boolean;
    readonly save: (record: KernelNbdRecord) => Promise<void>;
  },
  run: Run,
  paths: KernelPaths = KERNEL_PATHS,
): Promise<string> {
  const { volume, socketPath, readOnly, save } = options;
  for (let attempt = 1; ; attempt++) {
    const device = await freeDevice(paths.sysBlock);
    await save({ kind: 'kernel-nbd', socketPath, device });
    const args = ['-nonetlink', '-unix', socketPath, device, '-name', volume, '-connections', '1'];
    if (readOnly) args.push('-readonly');
    try {
      await run('nbd-client', args, { timeoutMs: COMMAND_TIMEOUT_MS });
      return device;
    } catch (error) {
      if (attempt >= ATTEMPTS || !(error instanceof CommandError) || error.problem !== 'failed') throw error;
    }
  }
}

/** Disconnects the device if it is still this volume's. False: it is busy and remains. */
export async function removeKernelNbd(
  record: KernelNbdRecord,
  run: Run,
  paths: KernelPaths = KERNEL_PATHS,
): Promise<boolean> {
  const { device } = record;
  if (device === undefined || !(await isKernelNbdAlive(record, paths))) return true;
  await run('nbd-client', ['-disconnect', device], { timeoutMs: COMMAND_TIMEOUT_MS });
  return waitUntil(async () => !(await isKernelNbdAlive(record, paths)), { timeoutMs: STOP_TIMEOUT_MS });
}

/** Whether the recorded device is connected, and by the client that was started for this record. */
export async function isKernelNbdAlive(record: KernelNbdRecord, paths: KernelPaths = KERNEL_PATHS): Promise<boolean> {
  if (record.device === undefined) return false;
  const pid = await connectedBy(record.device, paths.sysBlock);
  if (pid === undefined) return false;
  const commandLine = await readFile(join(paths.proc, pid, 'cmdline'), 'utf8').catch(() => '');
  return commandLine.split('\0').includes(record.socketPath);
}

/** The process that holds the device's connection; the kernel shows it for as long as there is one. */
async function connectedBy(device: string, sysBlock: string): Promise<string | undefined> {
  const pid = (await readFile(join(sysBlock, kernelName(device), 'pid'), 'utf8').catch(() => '')).trim();
  return /^\d+$/.test(pid) ? pid : undefined;
}

async function freeDevice(sysBlock: string): Promise<string> {
  const names = (await readdir(sysBlock)).filter((name) => /^nbd\d+$/.test(name));
  names.sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)));
  for (const name of names) {
    if ((await connectedBy(name, sysBlock)) !== undefined) continue;
    const size = await readFile(`${sysBlock}/${name}/size`, 'utf8').catch(() => '');
    if (size.trim() === '0') return `/dev/${name}`;
  }
  throw new DomainError(
    'invalid-state',
    `all ${names.length} NBD devices of the kernel are in use: load nbd with a larger nbds_max`,
  );
}
