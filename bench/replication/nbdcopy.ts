/** What a copy over the network costs without any protocol of ours: nbdcopy between two of nbdkit's file servers. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../data-path/qemu.js';
import { cpuMsOf, cpuMsOfEndedChildren } from '../processes.js';

const run = promisify(execFile);
const READY_MS = 10_000;
const POLL_MS = 20;

/** Of a copy; the processor time is that of all who have to do with it. */
export interface Cost {
  readonly tookMs: number;
  readonly cpuMs: number;
}

interface FileServer {
  readonly file: string;
  readonly uri: string;
  readonly process: ChildProcess;
}

/** A full file behind one server, and an empty one of the same size behind another; both on TCP. */
export class PlainServers {
  readonly #sizeBytes: number;
  readonly #source: FileServer;
  readonly #target: FileServer;

  private constructor(sizeBytes: number, source: FileServer, target: FileServer) {
    this.#sizeBytes = sizeBytes;
    this.#source = source;
    this.#target = target;
  }

  static async start(directory: string, sizeBytes: number): Promise<PlainServers> {
    const source = await serve(join(directory, 'source'), sizeBytes);
    try {
      return new PlainServers(sizeBytes, source, await serve(join(directory, 'target'), sizeBytes));
    } catch (error) {
      await end(source);
      throw error;
    }
  }

  get sourceUri(): string {
    return this.#source.uri;
  }

  /** Copies all and flushes. */
  async copy(): Promise<Cost> {
    truncateSync(this.#target.file, 0);
    truncateSync(this.#target.file, this.#sizeBytes);
    const cpuMs = (): number =>
      cpuMsOf(this.#source.process.pid!) + cpuMsOf(this.#target.process.pid!) + cpuMsOfEndedChildren();
    const cpuBefore = cpuMs();
    const began = performance.now();
    await run('nbdcopy', ['--flush', this.#source.uri, this.#target.uri]);
    return { tookMs: performance.now() - began, cpuMs: cpuMs() - cpuBefore };
  }

  async stop(): Promise<void> {
    await end(this.#source);
    await end(this.#target);
  }
}

async function serve(file: string, sizeBytes: number): Promise<FileServer> {
  writeFileSync(file, '');
  truncateSync(file, sizeBytes);
  const port = await freePort();
  const args = ['--foreground', '--ipaddr', '127.0.0.1', '--port', String(port), 'file', file];
  const child = spawn('nbdkit', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const server = { file, uri: `nbd://127.0.0.1:${port}`, process: child };
  const deadline = performance.now() + READY_MS;
  while ((await run('nbdinfo', ['--size', server.uri]).catch(() => undefined)) === undefined) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await end(server);
      throw new Error('nbdkit does not serve');
    }
    await sleep(POLL_MS);
  }
  return server;
}

async function end({ file, process: child }: FileServer): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }
  rmSync(file, { force: true });
}
