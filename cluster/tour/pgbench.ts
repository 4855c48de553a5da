/** pgbench in the background, and what its transaction logs say. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Postgres } from './postgres.js';

const CLIENTS = 4;
/** One run after the other until it is stopped: pgbench can't be ended early without an error. */
const RUN_SECONDS = 15;
const MAX_OUTPUT_CHARACTERS = 8_192;

export interface BenchResult {
  /** Transactions that pgbench saw committed. */
  readonly transactions: number;
  readonly failedTransactions: number;
  /** What went wrong, in pgbench's words. */
  readonly errors: readonly string[];
}

export class Pgbench {
  readonly #postgres: Postgres;
  readonly #logDir: string;
  readonly #errors: string[] = [];
  #transactions = 0;
  #failed = 0;
  #stop = false;
  #finished: Promise<void> | undefined;

  constructor(postgres: Postgres, logDir: string) {
    this.#postgres = postgres;
    this.#logDir = logDir;
    postgres.makeFolder(logDir);
  }

  start(): void {
    this.#finished = (async () => {
      while (!this.#stop && this.#errors.length === 0) await this.#runOnce();
    })();
  }

  async #runOnce(): Promise<void> {
    const child = this.#postgres.spawn(
      'pgbench',
      [
        ...['--client', String(CLIENTS), '--time', String(RUN_SECONDS), '--no-vacuum'],
        ...['--log', '--log-prefix', join(this.#logDir, 'tx'), 'postgres'],
      ],
      this.#logDir,
    );
    let output = '';
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString('utf8')).slice(-MAX_OUTPUT_CHARACTERS);
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    const code = await new Promise<number | null>((resolve) => {
      child.once('close', resolve);
      child.once('error', (error) => {
        keep(Buffer.from(error.message));
        resolve(null);
      });
    });
    this.#transactions += Number(/transactions actually processed: (\d+)/.exec(output)?.[1] ?? 0);
    this.#failed += Number(/number of failed transactions: (\d+)/.exec(output)?.[1] ?? 0);
    if (code !== 0) this.#errors.push(`pgbench ended with ${code}: ${output.trim()}`);
  }

  /** Lets the run under way end, which takes up to 15 s, and adds up. */
  async stop(): Promise<BenchResult> {
    this.#stop = true;
    await this.#finished;
    return { transactions: this.#transactions, failedTransactions: this.#failed, errors: this.#errors };
  }

  /** Ends of all transactions that were logged so far, ascending; ms since 1970. */
  completions(): number[] {
    const times: number[] = [];
    for (const name of readdirSync(this.#logDir)) {
      for (const line of readFileSync(join(this.#logDir, name), 'utf8').split('\n')) {
        // client, transaction, latency, script, seconds, microseconds
        const [, , , , seconds, microseconds] = line.split(' ');
        if (microseconds !== undefined) times.push(Number(seconds) * 1000 + Number(microseconds) / 1000);
      }
    }
    return times.sort((a, b) => a - b);
  }

  /** Waits until a transaction has ended after the moment. Logs are written with a delay of up to a few seconds. */
  async completedAfter(moment: number, timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (performance.now() < deadline) {
      if ((this.completions().at(-1) ?? 0) > moment) return true;
      await sleep(200);
    }
    return false;
  }
}

/** The longest time without the end of a transaction that includes or follows `moment`, ms. */
export function longestPause(completions: readonly number[], moment: number): number {
  let longest = 0;
  for (let i = 1; i < completions.length; i++) {
    const end = completions[i] ?? 0;
    if (end > moment) longest = Math.max(longest, end - (completions[i - 1] ?? 0));
  }
  return longest;
}
