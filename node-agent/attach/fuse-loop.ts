/**
 * A block device where the kernel has no NBD client: nbdfuse shows the NBD export as a file, a loop device
 * shows the file as a block device. Flushes, discards and direct I/O pass through both; nbdfuse has no
 * time-outs, so a failover is a pause.
 */

import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '../../core/errors.js';
import type { VolumeId } from '../../core/types.js';
import type { FuseLoopRecord } from './device-record.js';
import { listMounts } from './mounts.js';
import { identifyProcess, isRunning, type ProcessIdentity, signalProcess, waitUntil } from './processes.js';
import { CommandError, type Run, TOOL_PATH } from './run.js';

const START_TIMEOUT_MS = 15_000;
/** The kernel asks a new device to flush, and reads it: as long as a failover may take. */
const BIND_TIMEOUT_MS = 20_000;
const COMMAND_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
/** nbdfuse that has found its connection lost ends within milliseconds. */
const PROBE_TIMEOUT_MS = 1_000;
/** How long a forced removal waits for a loop device that may only just be closing, or for nbdfuse. */
const FORCED_TIMEOUT_MS = 1_000;
/** The kernel finishes a loop device within milliseconds of nbdfuse's end. */
const LATE_TIMEOUT_MS = 1_000;
const LOOP_MAJOR = 7;
/** Others may take a free loop device between two steps. */
const LOOP_ATTEMPTS = 5;
/** Named after the volume: the kernel shows the name, and by it a loop device is known to be this volume's. */
const backingFile = (record: FuseLoopRecord): string => join(record.fuseDir, record.volume);

/**
 * Makes the device. `save` is called with the record of each step before the next.
 * Errors: DomainError('internal'), CommandError; the caller then undoes what the last record says.
 */
export async function makeFuseLoop(
  options: {
    readonly volume: VolumeId;
    readonly socketPath: string;
    readonly fuseDir: string;
    readonly readOnly: boolean;
    readonly save: (record: FuseLoopRecord) => Promise<void>;
    /** The device is made, and nbdfuse has ended, for whatever reason: it gives errors from now on. */
    readonly ended: (identity: ProcessIdentity) => void;
  },
  run: Run,
): Promise<string> {
  const { volume, socketPath, fuseDir, readOnly, save, ended } = options;
  let record: FuseLoopRecord = { kind: 'fuse-loop', volume, socketPath, fuseDir };
  await save(record);
  await mkdir(fuseDir, { recursive: true, mode: 0o700 });
  const logFile = `${fuseDir}.log`;
  const child = startNbdFuse(record, readOnly, logFile);
  try {
    const identity = await child.identity;
    record = { ...record, process: identity };
    await save(record);
    const mounted = await waitUntil(async () => child.ended() || (await isFuseMounted(fuseDir)), {
      timeoutMs: START_TIMEOUT_MS,
    });
    if (!mounted || child.ended()) {
      const said = await readFile(logFile, 'utf8').catch(() => '');
      throw new DomainError('internal', `nbdfuse does not show ${socketPath}: ${said.trim() || 'no message'}`);
    }
    const device = await bindLoop(backingFile(record), readOnly, run);
    record = { ...record, device };
    await save(record);
    void child.exited.then(() => ended(identity));
    return device;
  } finally {
    child.release();
  }
}

/**
 * Undoes what the record says, in any state. False: the device is busy and remains. With `force` a busy loop
 * device is left to the kernel, which frees it with its last user, and everything else goes.
 */
export async function removeFuseLoop(
  record: FuseLoopRecord,
  run: Run,
  { force }: { readonly force: boolean },
): Promise<boolean> {
  const { device, process } = record;
  const timeoutMs = force ? FORCED_TIMEOUT_MS : STOP_TIMEOUT_MS;
  if (device !== undefined && (await isFuseLoopBound(record))) {
    if (!(await detachLoop(record, device, run, timeoutMs)) && !force) return false;
  }
  if (await isFuseMounted(record.fuseDir)) {
    await run('umount', [record.fuseDir], { timeoutMs: COMMAND_TIMEOUT_MS }).catch(ignoreFailure);
    if (await isFuseMounted(record.fuseDir)) {
      await run('umount', ['--lazy', record.fuseDir], { timeoutMs: COMMAND_TIMEOUT_MS });
    }
  }
  if (process !== undefined) {
    const ended = () => isRunning(process).then((running) => !running);
    if (!(await waitUntil(ended, { timeoutMs }))) {
      await signalProcess(process, 'SIGKILL');
      await waitUntil(ended, { timeoutMs: STOP_TIMEOUT_MS });
    }
    if (device === undefined) await detachUnrecorded(record, run);
  }
  await rmdir(record.fuseDir).catch(() => undefined);
  await rm(`${record.fuseDir}.log`, { force: true });
  return true;
}

/**
 * A loop device that is being made waits for the volume, and cannot be detached while it does; it may show itself only
 * when nbdfuse has ended. What is named after the volume by then is dead, whoever left it.
 */
async function detachUnrecorded(record: FuseLoopRecord, run: Run): Promise<void> {
  await waitUntil(async () => (await loopsNamedAfter(record)).length > 0, { timeoutMs: LATE_TIMEOUT_MS });
  for (const device of await loopsNamedAfter(record)) await detachLoop(record, device, run, FORCED_TIMEOUT_MS);
}

/** Whether the loop device is gone in time. */
async function detachLoop(record: FuseLoopRecord, device: string, run: Run, timeoutMs: number): Promise<boolean> {
  await run('losetup', ['--detach', device], { timeoutMs: COMMAND_TIMEOUT_MS }).catch(ignoreFailure);
  return waitUntil(async () => !(await loopsNamedAfter(record)).includes(device), { timeoutMs });
}

/** Whether the recorded loop device is still this volume's. */
export async function isFuseLoopBound(record: FuseLoopRecord): Promise<boolean> {
  return record.device !== undefined && (await loopsNamedAfter(record)).includes(record.device);
}

/**
 * Whether the device still has its NBD server behind it. nbdfuse notices a lost connection with its next
 * request, and ends; so it is asked to read. A read that fails otherwise, or waits, is the volume's affair.
 */
export async function isFuseLoopAlive(record: FuseLoopRecord, run: Run): Promise<boolean> {
  const { process } = record;
  if (process === undefined || !(await isRunning(process)) || !(await isFuseLoopBound(record))) return false;
  try {
    const args = [`if=${backingFile(record)}`, 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct', 'status=none'];
    await run('dd', args, { timeoutMs: PROBE_TIMEOUT_MS });
    return true;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    if (error.problem === 'timeout') return true;
    return !(await waitUntil(async () => !(await isRunning(process)), { timeoutMs: PROBE_TIMEOUT_MS }));
  }
}

function ignoreFailure(error: unknown): void {
  // What it was to do is looked at afterwards.
  if (!(error instanceof CommandError)) throw error;
}

/** In a session of its own, so that a terminal's Ctrl-C doesn't take the device away under a filesystem. */
function startNbdFuse(record: FuseLoopRecord, readOnly: boolean, logFile: string) {
  const log = openSync(logFile, 'w', 0o600);
  const args = [...(readOnly ? ['--readonly'] : []), backingFile(record), '--unix', record.socketPath];
  const child = spawn('nbdfuse', args, {
    cwd: '/',
    env: { PATH: TOOL_PATH, LC_ALL: 'C' },
    detached: true,
    stdio: ['ignore', 'ignore', log],
  });
  closeSync(log);
  let ended = false;
  const exited = new Promise<void>((resolve) => {
    child.on('exit', () => {
      ended = true;
      resolve();
    });
  });
  const identity = new Promise<{ pid: number; startTime: string }>((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      ended = true;
      reject(new CommandError('nbdfuse', error.code === 'ENOENT' ? 'missing' : 'failed', error.message));
    });
    child.on('spawn', () => {
      identifyProcess(child.pid ?? 0).then((found) => {
        if (found !== undefined) resolve(found);
        else reject(new CommandError('nbdfuse', 'failed', 'ended at once'));
      }, reject);
    });
  });
  return { identity, exited, ended: () => ended, release: () => child.unref() };
}

async function isFuseMounted(fuseDir: string): Promise<boolean> {
  return (await listMounts()).some((mount) => mount.mountPoint === fuseDir && mount.fsType.startsWith('fuse'));
}

/**
 * Loop devices on the volume's file, from sysfs: asking the file itself could wait for a dead nbdfuse. Of a file whose
 * filesystem was unmounted lazily the kernel shows only the name: so are those, too, that earlier forced removals left
 * to their users.
 */
async function loopsNamedAfter(record: FuseLoopRecord): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir('/sys/block')) {
    if (!name.startsWith('loop')) continue;
    const file = (await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '')).trim();
    if (file === backingFile(record) || file === `/${record.volume}`) found.push(`/dev/${name}`);
  }
  return found;
}

async function bindLoop(file: string, readOnly: boolean, run: Run): Promise<string> {
  const args = ['--find', '--show', '--direct-io=on', ...(readOnly ? ['--read-only'] : []), file];
  for (let attempt = 1; ; attempt++) {
    try {
      const { stdout } = await run('losetup', args, { timeoutMs: BIND_TIMEOUT_MS });
      return stdout.trim();
    } catch (error) {
      if (attempt >= LOOP_ATTEMPTS || !(error instanceof CommandError) || error.problem !== 'failed') throw error;
      await makeLoopNode(run);
    }
  }
}

/** In a container /dev may lack the node of a loop device that the kernel has just made. */
async function makeLoopNode(run: Run): Promise<void> {
  const { stdout } = await run('losetup', ['--find'], { timeoutMs: COMMAND_TIMEOUT_MS });
  const device = stdout.trim();
  const number = /^\/dev\/loop(\d{1,7})$/.exec(device)?.[1];
  if (number === undefined || existsSync(device)) return;
  await run('mknod', ['-m', '0660', device, 'b', String(LOOP_MAJOR), number], { timeoutMs: COMMAND_TIMEOUT_MS }).catch(
    ignoreFailure,
  );
}
