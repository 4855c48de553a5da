/**
 * qemu's NBD server over qcow2 images, the peer that does what a volume does: thin, crash-consistent at flushes, with
 * LUKS encrypted, with its quorum driver replicated synchronously. `cache=writeback` has our durability: a write is
 * in the page cache when it is acknowledged, a flush is fdatasync.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { cpuMsOf } from '../processes.js';

const run = promisify(execFile);
const READY_MS = 10_000;
const POLL_MS = 20;
const MAX_CLIENTS = 8;
/** The header's key derivation is not what is measured. */
const LUKS_ITERATION_MS = 10;

/** `quorum of n`: a local image and n − 1 behind servers on TCP; n at least 2. */
export type QemuKind = 'qcow2' | 'qcow2+luks' | `quorum of ${number}`;

const QUORUM = 'quorum of ';

/** Servers that together are one volume; the last one is asked. */
export class Qemu {
  readonly uri: string;
  readonly #processes: readonly ChildProcess[];

  private constructor(uri: string, processes: readonly ChildProcess[]) {
    this.uri = uri;
    this.#processes = processes;
  }

  static async start(kind: QemuKind, directory: string, sizeBytes: number): Promise<Qemu> {
    const socket = join(directory, 'qemu.sock');
    const uri = `nbd+unix:///?socket=${socket}`;
    const secret = join(directory, 'qemu.secret');
    writeFileSync(secret, 'a passphrase of the benchmark', { mode: 0o600 });
    const encrypted = kind === 'qcow2+luks';
    const object = ['--object', `secret,id=key,file=${secret}`];
    const create = async (name: string): Promise<string> => {
      const file = join(directory, name);
      const luks = `encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=${LUKS_ITERATION_MS}`;
      const options = encrypted ? [...object, '-o', luks] : [];
      await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, file, String(sizeBytes)]);
      return file;
    };
    const image = (file: string) => ({
      driver: 'qcow2',
      ...(encrypted && { encrypt: { format: 'luks', 'key-secret': 'key' } }),
      file: { driver: 'file', filename: file },
    });
    const processes: ChildProcess[] = [];
    try {
      const local = image(await create('qemu.qcow2'));
      const quorum = kind.startsWith(QUORUM) ? Number(kind.slice(QUORUM.length)) : 1;
      const remotes = [];
      for (let copy = 1; copy < quorum; copy++) {
        const port = await freePort();
        const other = image(await create(`qemu${copy}.qcow2`));
        const listens = async () =>
          (await run('nbdinfo', ['--size', `nbd://127.0.0.1:${port}`]).catch(() => undefined)) !== undefined;
        processes.push(await serve(['--bind', '127.0.0.1', '--port', String(port)], other, listens));
        remotes.push({ driver: 'nbd', server: { type: 'inet', host: '127.0.0.1', port: String(port) } });
      }
      // Reads go to the first that answers, as ours go to the primary; writes need all.
      const children = [local, ...remotes];
      const all = { driver: 'quorum', 'vote-threshold': quorum, 'read-pattern': 'fifo', children };
      const top = quorum > 1 ? all : local;
      processes.push(await serve(['--socket', socket, ...object], top, () => existsSync(socket)));
      return new Qemu(uri, processes);
    } catch (error) {
      await new Qemu(uri, processes).stop();
      throw error;
    }
  }

  /** Processor time of its servers so far, milliseconds. */
  get cpuMs(): number {
    return this.#processes.map(({ pid }) => cpuMsOf(pid!)).reduce((a, b) => a + b, 0);
  }

  async stop(): Promise<void> {
    // The one that is asked first: it is a client of the others.
    for (const child of [...this.#processes].reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    }
  }
}

async function serve(
  where: readonly string[],
  image: Readonly<Record<string, unknown>>,
  ready: () => boolean | Promise<boolean>,
): Promise<ChildProcess> {
  const args = [...where, '--persistent', `--shared=${MAX_CLIENTS}`, '--cache=writeback', '--discard=unmap'];
  const child = spawn('qemu-nbd', [...args, `json:${JSON.stringify(image)}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (text: Buffer) => {
    said += text.toString();
  });
  const deadline = performance.now() + READY_MS;
  while (!(await ready())) {
    if (child.exitCode !== null) throw new Error(`qemu-nbd: ${said.trim()}`);
    if (performance.now() > deadline) throw new Error('qemu-nbd does not listen');
    await sleep(POLL_MS);
  }
  return child;
}

/** A port that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no TCP port');
  return address.port;
}
