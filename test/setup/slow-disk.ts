/**
 * An ext4 file system on a disk that is slow, or stops answering, when it is told to: nbdkit with its delay and pause
 * filters, nbdfuse, a loop device.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { waitFor } from '../../cluster/wait.js';
import type { VolumeId } from '../../core/types.js';
import type { FuseLoopRecord } from '../../node-agent/attach/device-record.js';
import { makeFuseLoop, removeFuseLoop } from '../../node-agent/attach/fuse-loop.js';
import { run, TOOL_PATH } from '../../node-agent/attach/run.js';

const START_TIMEOUT_MS = 10_000;
const COMMAND_TIMEOUT_MS = 60_000;
const MAX_PAUSE_MS = 60_000;
const execute = promisify(execFile);

export interface SlowDiskOptions {
  /** Everything of it is in here; must exist. */
  readonly directory: string;
  readonly sizeBytes: number;
  /** Each read and write takes this long, milliseconds. */
  readonly delayMs?: number;
}

export class SlowDisk {
  readonly mountPoint: string;
  readonly #server: ChildProcess;
  readonly #control: string;
  #record: FuseLoopRecord | undefined;
  #rescuer: ChildProcess | undefined;

  private constructor(directory: string, server: ChildProcess, control: string) {
    this.mountPoint = join(directory, 'mounted');
    this.#server = server;
    this.#control = control;
  }

  static async start({ directory, sizeBytes, delayMs = 0 }: SlowDiskOptions): Promise<SlowDisk> {
    const image = join(directory, 'image');
    const socketPath = join(directory, 'disk.sock');
    const control = join(directory, 'pause.sock');
    const env = { ...process.env, PATH: TOOL_PATH };
    await execute('truncate', ['--size', String(sizeBytes), image]);
    await execute('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image], { env });
    const server = spawn(
      'nbdkit',
      [
        ...['--foreground', '--unix', socketPath, '--filter=pause', '--filter=delay', 'file', image],
        ...[`pause-control=${control}`, `delay-read=${delayMs}ms`, `delay-write=${delayMs}ms`],
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const disk = new SlowDisk(directory, server, control);
    try {
      await waitFor('nbdkit', async () => ((await disk.#tell('r').catch(() => 'not yet')) === 'R' ? true : undefined), {
        timeoutMs: START_TIMEOUT_MS,
      });
      const device = await makeFuseLoop(
        {
          volume: randomUUID() as string as VolumeId,
          socketPath,
          fuseDir: join(directory, 'fuse'),
          readOnly: false,
          save: async (record) => {
            disk.#record = record;
          },
          ended: () => {},
        },
        run,
      );
      mkdirSync(disk.mountPoint);
      await run('mount', [device, disk.mountPoint], { timeoutMs: COMMAND_TIMEOUT_MS });
      return disk;
    } catch (error) {
      await disk.stop();
      throw error;
    }
  }

  /**
   * From now on it answers nothing, until `resume`, or until another process gives up waiting for that: what should
   * not stop this process may do so.
   */
  async pause(): Promise<void> {
    const script = `setTimeout(() => require('node:net').connect(process.argv[1]).end('r'), ${MAX_PAUSE_MS})`;
    this.#rescuer = spawn(process.execPath, ['-e', script, this.#control], { stdio: 'ignore' });
    await this.#tell('p');
  }

  async resume(): Promise<void> {
    this.#rescuer?.kill();
    await this.#tell('r');
  }

  /** What of the file's contents is synced leaves the memory. */
  static async evict(path: string): Promise<void> {
    await execute('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
  }

  async stop(): Promise<void> {
    await this.resume().catch(() => {});
    await run('umount', [this.mountPoint], { timeoutMs: COMMAND_TIMEOUT_MS }).catch(() => {});
    if (this.#record !== undefined) await removeFuseLoop(this.#record, run, { force: true });
    if (this.#server.exitCode !== null || this.#server.signalCode !== null) return;
    const ended = once(this.#server, 'exit');
    this.#server.kill('SIGTERM');
    await ended;
  }

  /** A command of the pause filter; it repeats the letter as a capital when it is done. */
  async #tell(command: 'p' | 'r'): Promise<string> {
    const socket = connect(this.#control);
    try {
      const answered = once(socket, 'data');
      socket.write(command);
      const [answer] = (await answered) as [Buffer];
      return answer.toString('latin1');
    } finally {
      socket.destroy();
    }
  }
}
