/**
 * Brings what a deployment appends into the page cache, in its order: one write at a time, on another thread, which
 * takes all that has come meanwhile. A disk that does not answer holds up its own deployments, and nobody else: a
 * write into the page cache, too, may wait for the file system's journal, and with it for the disk (decision 19).
 */

import { type Deferred, deferred } from '../../core/deferred.js';
import { Fifo } from '../../core/fifo.js';
import { DiskError, invariant } from '../../core/ports.js';
import { type Batch, release, retain } from '../../core/record.js';
import type { FilePool, PooledFile } from './file-pool.js';
import type { Segment } from './segment.js';

/** Of one write; the kernel takes 1,024 parts at the most. */
const MAX_PARTS = 512;
const MAX_BYTES = 4 * 1024 * 1024;

export interface LogWriterOptions {
  readonly pool: FilePool;
  /** So much of the segment has come into the page cache just now. */
  readonly wrote: (segment: Segment, bytes: number) => void;
  /** Final: what was appended is not in the log, nor is anything behind it. */
  readonly failed: (error: unknown) => void;
}

interface Append {
  readonly number: number;
  readonly segment: Segment;
  readonly position: number;
  readonly head: Uint8Array;
  readonly batch: Batch | undefined;
  readonly bytes: number;
  /** Its room had been reserved. */
  readonly reserved: boolean;
}

/** Appends that are written together: they lie side by side in one segment. */
interface Round {
  readonly appends: readonly Append[];
  readonly bytes: number;
}

/** The file that is written to. */
interface Held {
  readonly segment: Segment;
  readonly pooled: PooledFile;
}

interface Waiter extends Deferred {
  readonly number: number;
}

export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #queue = new Fifo<Append>();
  /** In the order of their batches. */
  readonly #waiting = new Fifo<Waiter>();
  #running: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #held: Held | undefined;
  /** In their order; appends to them may still be in the queue. */
  readonly #sealed: Segment[] = [];
  /** All batches up to this number are in the page cache. */
  #written = 0;
  /** Of appends that are not there yet. */
  queuedBytes = 0;

  constructor(options: LogWriterOptions) {
    this.#options = options;
  }

  /**
   * Puts a batch behind what is there. Its memory must not change until it is written; what is leased is held until
   * then.
   */
  append(segment: Segment, number: number, head: Uint8Array, batch: Batch | undefined): void {
    const bytes = head.length + (batch?.payload.length ?? 0);
    const position = segment.size;
    const reserved = position + bytes <= segment.reservedEnd;
    if (batch !== undefined) retain(batch);
    if (!reserved) segment.device.take(bytes);
    this.#queue.push({ number, segment, position, head, batch, bytes, reserved });
    this.queuedBytes += bytes;
    segment.pendingBytes += bytes;
    this.#start();
  }

  /** Recovery has found all batches up to this number. */
  resume(number: number): void {
    this.#written = number;
  }

  /** Resolves when all batches up to this number are in the page cache; rejects with the error that was final. */
  written(number: number): Promise<void> {
    if (number <= this.#written) return Promise.resolve();
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    const last = this.#waiting.at(this.#waiting.length - 1);
    if (last !== undefined && last.number >= number) return last.promise;
    const waiter = { number, ...deferred() };
    this.#waiting.push(waiter);
    return waiter.promise;
  }

  /** Nothing is appended to the segment any more: what was reserved behind its end is given back. */
  sealed(segment: Segment): void {
    this.#sealed.push(segment);
    this.#start();
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // What is appended in the same turn is written together.
    await undefined;
    while (this.#failure === undefined) {
      const next = this.#queue.at(0);
      const [sealed] = this.#sealed;
      if (sealed !== undefined && sealed !== next?.segment) await this.#leave(sealed);
      else if (next === undefined) break;
      else await this.#round(this.#take());
    }
    this.#running = undefined;
  }

  async #round(round: Round): Promise<void> {
    try {
      await this.#write(round.appends);
    } catch (error) {
      this.#fail(error, round.appends);
      return;
    }
    this.#done(round);
  }

  /**
   * What was reserved behind the segment's end is given back, by an earlier opening that was killed perhaps; if that
   * fails, it goes with the segment.
   */
  async #leave(segment: Segment): Promise<void> {
    const { pool } = this.#options;
    const { device, path, size } = segment;
    this.#sealed.shift();
    try {
      const pooled = await device.answered(pool.acquireAsync(path));
      try {
        if (pooled.file.size() === size) await device.answered(pooled.file.truncateAsync(size));
      } finally {
        pool.release(pooled);
      }
    } catch (error) {
      unlessDiskError(error);
    }
    if (this.#held?.segment === segment) this.#letGo();
    pool.forget(path);
  }

  #take(): Round {
    const appends: Append[] = [];
    let bytes = 0;
    for (;;) {
      const next = this.#queue.at(0);
      const first = appends[0];
      if (next === undefined || (first !== undefined && next.segment !== first.segment)) break;
      if (first !== undefined && (appends.length * 2 >= MAX_PARTS || bytes + next.bytes > MAX_BYTES)) break;
      appends.push(next);
      bytes += next.bytes;
      this.#queue.shift();
    }
    return { appends, bytes };
  }

  async #write(appends: readonly Append[]): Promise<void> {
    const { segment, position } = appends[0]!;
    const file = await this.#fileOf(segment, position);
    const parts: Uint8Array[] = [];
    for (const { head, batch } of appends) {
      parts.push(head);
      if (batch !== undefined && batch.payload.length > 0) parts.push(batch.payload);
    }
    await segment.device.answered(file.writeAsync(parts, position));
  }

  async #fileOf(segment: Segment, position: number): Promise<PooledFile['file']> {
    if (this.#held?.segment === segment) return this.#held.pooled.file;
    this.#letGo();
    const { pool } = this.#options;
    const pooled = await segment.device.answered(pool.acquireAsync(segment.path, { create: position === 0 }));
    this.#held = { segment, pooled };
    const { file } = pooled;
    invariant(file.size() === position, 'segments are written at their ends', () => `${segment.path}: ${file.size()}`);
    return file;
  }

  #letGo(): void {
    if (this.#held !== undefined) this.#options.pool.release(this.#held.pooled);
    this.#held = undefined;
  }

  #done({ appends, bytes }: Round): void {
    const { segment } = appends[0]!;
    this.#ended(appends);
    this.#written = appends.at(-1)!.number;
    this.#options.wrote(segment, bytes);
    for (
      let next = this.#waiting.at(0);
      next !== undefined && next.number <= this.#written;
      next = this.#waiting.at(0)
    ) {
      this.#waiting.shift();
      next.resolve();
    }
  }

  /** Nothing that was appended behind comes to the log. */
  #fail(error: unknown, appends: readonly Append[]): void {
    this.#failure = { error };
    this.#ended(appends);
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#ended([next]);
    this.#options.failed(error);
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      // Whoever has asked and does not wait any more is no reason to end the process.
      next.promise.catch(() => {});
      next.reject(error);
    }
  }

  #ended(appends: readonly Append[]): void {
    for (const { segment, batch, bytes, reserved } of appends) {
      this.queuedBytes -= bytes;
      segment.pendingBytes -= bytes;
      if (!reserved) segment.device.landed(bytes);
      if (batch !== undefined) release(batch);
    }
  }

  /** Gives the file back, and does nothing more; nothing may be under way. */
  close(): void {
    this.#sealed.length = 0;
    this.#letGo();
  }
}

function unlessDiskError(error: unknown): void {
  if (!(error instanceof DiskError)) throw error;
}
