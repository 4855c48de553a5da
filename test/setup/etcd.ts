/** A real etcd for one test file, in its own directory and on its own ports of 127.0.0.1. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_TIMEOUT_MS = 20_000;
const START_ATTEMPTS = 5;
/** Characters of what it said last. */
const MAX_LAST_WORDS = 2000;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Paths of PEM files; clients need a certificate of the same authority. */
export interface TestEtcdTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export class TestEtcd {
  readonly endpoint: string;
  readonly #directory: string;
  readonly #peerPort: number;
  readonly #health: string;
  readonly #tls: TestEtcdTls | undefined;
  #token = 'first';
  #process: ChildProcess | undefined;
  #served = false;
  #ending = false;

  /** Resolves when it answers. */
  static async start(options: { readonly tls?: TestEtcdTls } = {}): Promise<TestEtcd> {
    // A port that was free a moment ago may be taken by the time that etcd wants it.
    for (let attempt = 1; ; attempt++) {
      const etcd = new TestEtcd(`127.0.0.1:${await freePort()}`, await freePort(), await freePort(), options.tls);
      try {
        await etcd.up();
        return etcd;
      } catch (error) {
        await etcd.destroy();
        if (attempt === START_ATTEMPTS) throw error;
      }
    }
  }

  private constructor(endpoint: string, peerPort: number, healthPort: number, tls: TestEtcdTls | undefined) {
    this.endpoint = endpoint;
    this.#peerPort = peerPort;
    this.#health = `http://127.0.0.1:${healthPort}`;
    this.#tls = tls;
    this.#directory = mkdtempSync(join(tmpdir(), 'etcd-'));
  }

  /** Starts it again, with its data, on the same port. */
  async up(): Promise<void> {
    const peer = `http://127.0.0.1:${this.#peerPort}`;
    const tls = this.#tls;
    const client = `${tls === undefined ? 'http' : 'https'}://${this.endpoint}`;
    const child = spawn(
      'setpriv',
      [
        // An interrupted runner does not come to `destroy`.
        ...['--pdeathsig', 'KILL', '--', process.env.ETCD_PATH ?? 'etcd'],
        ...['--name', 'test', '--data-dir', join(this.#directory, 'data'), '--log-level', 'error'],
        ...['--listen-client-urls', client, '--advertise-client-urls', client],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `test=${peer}`],
        ...['--listen-metrics-urls', this.#health],
        ...(tls === undefined ? [] : ['--cert-file', tls.cert, '--key-file', tls.key]),
        ...(tls === undefined ? [] : ['--client-cert-auth', '--trusted-ca-file', tls.ca]),
        ...['--initial-cluster-token', this.#token],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH, ETCD_UNSUPPORTED_ARCH: process.arch } },
    );
    this.#process = child;
    let last = '';
    child.stderr?.on('data', (text: Buffer) => {
      last = (last + text.toString()).slice(-MAX_LAST_WORDS);
    });
    child.once('exit', (code, signal) => {
      // What fails then in a test looks like anything but this.
      if (this.#process !== child || this.#ending || !this.#served) return;
      process.stderr.write(`etcd of this test ended by itself (${signal ?? `code ${code}`}): ${last}\n`);
    });
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      const healthy = await fetch(`${this.#health}/health`).then(
        (answer) => answer.ok,
        () => false,
      );
      if (healthy) {
        this.#served = true;
        return;
      }
      if (child.exitCode !== null || Date.now() > deadline) throw new Error('etcd did not start');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async down(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    this.#ending = true;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    this.#ending = false;
    this.#served = false;
  }

  /** Resolves when none of its threads runs any more; its sockets stay open. `thaw` ends that. */
  async freeze(): Promise<void> {
    const tasks = `/proc/${this.#process?.pid}/task`;
    this.#process?.kill('SIGSTOP');
    const stopped = (task: string) => / T /.test(readFileSync(join(tasks, task, 'stat'), 'utf8').replace(/^.*\)/, ''));
    while (!readdirSync(tasks).every(stopped)) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
  }

  /** Another, empty etcd takes its place on the same port, with another cluster id. */
  async replace(): Promise<void> {
    await this.down();
    rmSync(join(this.#directory, 'data'), { recursive: true, force: true });
    this.#token = `replaced-${Date.now()}`;
    await this.up();
  }

  /** To be called in any case: stops it and removes its data. */
  async destroy(): Promise<void> {
    await this.down();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
