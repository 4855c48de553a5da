/**
 * A user of a volume in a process of its own, so that nothing else holds up its clock: reads and writes of 4 KiB at
 * random places, half and half, and the longest time without the end of any of them.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { NbdClient, NbdRequestError, socketOf } from '../../test/setup/nbd-client.js';
import { connect } from '../data-path/rpc.js';
import { percentiles } from './distribution.js';

const BLOCK_BYTES = 4096;
/** Requests whose latencies are kept. */
const MAX_LATENCIES = 1 << 20;

export interface IoLoad {
  /** Of the volume, on a unix socket. */
  readonly uri: string;
  /** Requests at a time. */
  readonly depth: number;
  /** Each of them rests so long between an answer and the next request, ms. */
  readonly restMs: number;
}

/** Since the last `mark`. */
export interface IoReport {
  readonly completed: number;
  /** Requests that were answered with an error. */
  readonly errors: number;
  /** Longest time without an answer of any kind, and without one to a write, ms; one that lasts on counts. */
  readonly pauseMs: number;
  readonly writePauseMs: number;
  /** Time since the last answer, ms. */
  readonly quietMs: number;
  /** Of what was completed, ms. */
  readonly latencyMs: { readonly p50: number; readonly p99: number };
}

/** The longest time between two events. */
class Gap {
  #last = performance.now();
  #longestMs = 0;

  get quietMs(): number {
    return performance.now() - this.#last;
  }

  get longestMs(): number {
    return Math.max(this.#longestMs, this.quietMs);
  }

  event(): void {
    this.#longestMs = this.longestMs;
    this.#last = performance.now();
  }

  restart(): void {
    this.#longestMs = 0;
  }
}

const answers = new Gap();
const writes = new Gap();
/** Of the latest requests, ms. */
let latencies: number[] = [];
let completed = 0;
let errors = 0;
let stopping = false;
let users: readonly Promise<void>[] = [];
let client: NbdClient | undefined;

async function use(volume: NbdClient, restMs: number): Promise<void> {
  const blocks = Math.floor(volume.sizeBytes / BLOCK_BYTES);
  const data = Buffer.alloc(BLOCK_BYTES);
  while (!stopping) {
    const offset = Math.floor(Math.random() * blocks) * BLOCK_BYTES;
    const writing = Math.random() < 0.5;
    const began = performance.now();
    try {
      if (writing) await volume.write(offset, data.fill(`${completed} `));
      else await volume.read(offset, BLOCK_BYTES);
      latencies[completed % MAX_LATENCIES] = performance.now() - began;
      completed++;
      if (writing) writes.event();
      answers.event();
    } catch (error) {
      if (!(error instanceof NbdRequestError)) throw error;
      errors++;
    }
    await sleep(restMs);
  }
}

const methods = {
  async start({ uri, depth, restMs }: IoLoad): Promise<void> {
    const volume = await NbdClient.connect(socketOf(uri));
    client = volume;
    users = Array.from({ length: depth }, () => use(volume, restMs));
    for (const user of users) {
      user.catch((error: Error) => {
        process.stderr.write(`the volume's user has ended: ${error.message}\n`);
        process.exit(1);
      });
    }
  },
  mark(): void {
    completed = 0;
    errors = 0;
    latencies = [];
    answers.restart();
    writes.restart();
  },
  report(): IoReport {
    const { longestMs: pauseMs, quietMs } = answers;
    const { p50, p99 } = percentiles(latencies);
    return { completed, errors, pauseMs, writePauseMs: writes.longestMs, quietMs, latencyMs: { p50, p99 } };
  },
  async stop(): Promise<void> {
    stopping = true;
    await Promise.all(users);
    client?.close();
    setImmediate(() => process.disconnect());
  },
};

export type IoClient = typeof methods;

// Ctrl-C in the terminal is for the parent, without which there is nothing to do.
process.on('SIGINT', () => {});
process.once('disconnect', () => process.exit());

connect<Record<string, never>>(process, methods);
