/** Files that are written, synced and renamed into place until the filesystem is gone, and compared afterwards. */

import type { ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from '../../cluster/wait.js';
import { contentOf, FILES, fileOf, versionIn } from './fsync-content.js';
import { startModule } from './module-process.js';

const PROGRESS_TIMEOUT_MS = 90_000;
const WRITER = new URL(import.meta.url.endsWith('.ts') ? './fsync-writer.ts' : './fsync-writer.js', import.meta.url);

export class FsyncWorkload {
  readonly #directory: string;
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;
  /** The filesystem gave it an error, or it was stopped. */
  hasEnded = false;
  /** The last version that was synced. */
  synced: number;

  /** Goes on behind the version `after`. */
  constructor(directory: string, after = 0) {
    this.#directory = directory;
    this.synced = after;
    this.#child = startModule(WRITER, [directory, String(after + 1)]);
    let rest = '';
    this.#child.stdout!.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString('latin1')).split('\n');
      rest = lines.pop()!;
      const last = lines.at(-1);
      if (last !== undefined) this.synced = Number(last);
    });
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code) => {
        this.hasEnded = true;
        resolve(code);
      });
    });
  }

  /** Resolves when so many more versions are synced. Rejects if the writer ends before. */
  async more(versions: number): Promise<void> {
    const goal = this.synced + versions;
    await waitFor(
      `${versions} more files`,
      () => {
        if (this.synced >= goal) return true;
        if (this.hasEnded) throw new Error(`the writer has ended after version ${this.synced}`);
        return undefined;
      },
      { timeoutMs: PROGRESS_TIMEOUT_MS },
    );
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  /** What is wrong with the files: each must hold its last synced version, or a later one, whole. */
  async problems(): Promise<string[]> {
    const problems: string[] = [];
    for (let version = Math.max(1, this.synced - FILES + 1); version <= this.synced; version++) {
      problems.push(...(await this.#problemWith(version)));
    }
    return problems;
  }

  async #problemWith(version: number): Promise<string[]> {
    const path = join(this.#directory, fileOf(version));
    const content = await readFile(path).catch((error: Error) => error);
    if (content instanceof Error) return [`${path}: ${content.message}`];
    const found = versionIn(content);
    if (found !== undefined && found >= version) return [];
    const wanted = contentOf(version).length;
    return [`${path}: version ${version} of ${wanted} bytes was synced, ${content.length} bytes of ${found} are there`];
  }
}
