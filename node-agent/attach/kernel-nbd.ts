/** A block device of the kernel's own NBD client, where it has one. Source: nbd-client(8), sysfs of nbd.ko. */

import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
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

/** Where the kernel shows its devices; another directory in tests. */
export const SYS_BLOCK = '/sys/block';

/**
 * Connects a free device. One connection: with several, the kernel takes a connection that is silent for its
 * time-out for dead, and a failover may be longer.
 * Errors: DomainError('invalid-state') if no device is free; CommandError.
 */
export async function makeKernelNbd(
  options: {
    readonly volume: VolumeId;
    readonly socketPath: string;
    readonly readOnly: boolean;
    readonly save: (record: KernelNbdRecord) => Promise<void>;
    readonly sysBlock?: string;
  },
  run: Run,
): Promise<string> {
  const { volume, socketPath, readOnly, save, sysBlock = SYS_BLOCK } = options;
  for (let attempt = 1; ; attempt++) {
    const device = await freeDevice(sysBlock);
    await save({ kind: 'kernel-nbd', socketPath, device });
    const args = [
      '-unix',
      socketPath,
      device,
      '-name',
      volume,
      '-connections',
      '1',
      ...(readOnly ? ['-readonly'] : []),
    ];
    try {
      await run('nbd-client', args, { timeoutMs: COMMAND_TIMEOUT_MS });
      return device;
    } catch (error) {
      if (attempt >= ATTEMPTS || !(error instanceof CommandError) || error.problem !== 'failed') throw error;
    }
  }
}

/** Disconnects the device if it is still connected. False: it is busy and remains. */
export async function removeKernelNbd(
  record: KernelNbdRecord,
  run: Run,
  { sysBlock = SYS_BLOCK }: { readonly sysBlock?: string } = {},
): Promise<boolean> {
  const { device } = record;
  if (device === undefined || !(await isConnected(device, sysBlock))) return true;
  await run('nbd-client', ['-disconnect', device], { timeoutMs: COMMAND_TIMEOUT_MS });
  return waitUntil(async () => !(await isConnected(device, sysBlock)), { timeoutMs: STOP_TIMEOUT_MS });
}

export async function isKernelNbdAlive(
  record: KernelNbdRecord,
  { sysBlock = SYS_BLOCK }: { readonly sysBlock?: string } = {},
): Promise<boolean> {
  return record.device !== undefined && (await isConnected(record.device, sysBlock));
}

/** The kernel shows `pid` for as long as a device has a connection. */
async function isConnected(device: string, sysBlock: string): Promise<boolean> {
  return existsSync(`${sysBlock}/${kernelName(device)}/pid`);
}

async function freeDevice(sysBlock: string): Promise<string> {
  const names = (await readdir(sysBlock)).filter((name) => /^nbd\d+$/.test(name));
  names.sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)));
  for (const name of names) {
    if (await isConnected(name, sysBlock)) continue;
    const size = await readFile(`${sysBlock}/${name}/size`, 'utf8').catch(() => '');
    if (size.trim() === '0') return `/dev/${name}`;
  }
  throw new DomainError(
    'invalid-state',
    `all ${names.length} NBD devices of the kernel are in use: load nbd with a larger nbds_max`,
  );
}
