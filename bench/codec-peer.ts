/** The native side of the codec's benchmark: a C program over liblz4, libxxhash and OpenSSL, compiled here. */

import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { packageRoot } from '../node-agent/package-root.js';
import { ROUND_MS, work } from './codec-measure.js';

/** OpenSSL's own switch: no AES-NI (bit 57), no PCLMULQDQ (bit 33). */
export const WITHOUT_AES_NI = '~0x200000200000000';

/** The native side, one line out, one line back. */
export class Peer {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(program: string, environment: Readonly<Record<string, string>> = {}) {
    this.#process = spawn(program, {
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    }) as never as ChildProcessWithoutNullStreams;
    this.#reader = createInterface({ input: this.#process.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async ask(line: string): Promise<string> {
    this.#process.stdin.write(`${line}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`codec-peer ended at "${line}"`);
    return value;
  }

  async measure(operation: string, size: number): Promise<{ speed: number; made: number }> {
    const [speed = Number.NaN, made = 0] = (await this.ask(`${operation} ${size} ${ROUND_MS}`)).split(' ').map(Number);
    return { speed, made };
  }

  close(): void {
    this.#process.stdin.end();
  }
}

export function buildPeer(): string | undefined {
  const program = join(work, 'codec-peer');
  const source = join(packageRoot(), 'bench', 'codec-peer.c');
  const { status, stderr, error } = spawnSync('cc', ['-O2', source, '-o', program, '-llz4', '-lxxhash', '-lcrypto']);
  if (status === 0) return program;
  console.log(`No native peer (needs cc, liblz4-dev, libxxhash-dev, libssl-dev): ${error?.message ?? stderr}`);
  return undefined;
}
