/** A volume's codec whose large requests may go to worker threads. */

import { type Batch, MAX_BATCH_PAYLOAD_BYTES, release } from '../../core/record.js';
import { type CipherEngine, CodecClosedError, type SyncVolumeCodec, type VolumeCodec } from './codec.js';
import { type CodecPool, WorkerFailure } from './pool.js';

export class PooledVolumeCodec implements VolumeCodec {
  readonly engine: CipherEngine;
  readonly #codec: SyncVolumeCodec;
  readonly #pool: { readonly workers: CodecPool; readonly volume: number } | undefined;
  readonly #offloadBytes: number;
  readonly #onClosed: () => void;
  /** Unresolved calls, and the last of them. */
  #pending = 0;
  #last: Promise<unknown> = Promise.resolve();
  #open = true;

  /** `pool` knows the volume by `volume`. Requests of `offloadBytes` and more go there. */
  constructor(
    codec: SyncVolumeCodec,
    pool: { readonly workers: CodecPool; readonly volume: number } | undefined,
    offloadBytes: number,
    onClosed: () => void,
  ) {
    this.engine = codec.engine;
    this.#codec = codec;
    this.#pool = pool;
    this.#offloadBytes = offloadBytes;
    this.#onClosed = onClosed;
  }

  encode(plain: Uint8Array, firstBlock: number): Batch {
    return this.#codec.encode(plain, firstBlock);
  }

  decode(batch: Batch, firstBlock: number, into: Uint8Array): void {
    this.#codec.decode(batch, firstBlock, into);
  }

  decodeInPlace(batch: Batch, firstBlock: number, length: number): Buffer | undefined {
    return this.#codec.decodeInPlace(batch, firstBlock, length);
  }

  encodeAsync(plain: Uint8Array, firstBlock: number): Promise<Batch> {
    const here = () => this.#codec.encode(plain, firstBlock);
    const pool = this.#poolFor(plain);
    return this.#inOrder(here, pool && (() => pool.workers.encode(pool.volume, plain, firstBlock)), release);
  }

  decodeAsync(batch: Batch, firstBlock: number, into: Uint8Array): Promise<void> {
    const here = () => this.#codec.decode(batch, firstBlock, into);
    const pool = batch.payload.length <= MAX_BATCH_PAYLOAD_BYTES ? this.#poolFor(into) : undefined;
    return this.#inOrder(here, pool && (() => pool.workers.decode(pool.volume, batch, firstBlock, into)));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#codec.close();
    this.#pool?.workers.close(this.#pool.volume);
    this.#onClosed();
  }

  #poolFor(plain: Uint8Array) {
    const { length } = plain;
    if (length < this.#offloadBytes || length > MAX_BATCH_PAYLOAD_BYTES || !this.#open) return undefined;
    return this.#pool?.workers.available ? this.#pool : undefined;
  }

  /**
   * Runs `elsewhere`, or `here` if there is no elsewhere or it fails; resolves after all earlier calls. A result that
   * nobody gets, as the volume was closed, is handed to `drop`.
   */
  async #inOrder<T>(
    here: () => T,
    elsewhere: (() => Promise<T>) | undefined,
    drop: (result: T) => void = () => {},
  ): Promise<T> {
    if (elsewhere === undefined && this.#pending === 0) return here();
    const earlier = this.#last;
    const result = elsewhere === undefined ? attempt(here) : this.#orHere(elsewhere, here);
    const settled = Promise.allSettled([earlier, result]);
    this.#last = settled;
    this.#pending++;
    try {
      await settled;
    } finally {
      this.#pending--;
    }
    if (!this.#open) {
      await result.then(drop, () => {});
      throw new CodecClosedError();
    }
    return await result;
  }

  async #orHere<T>(elsewhere: () => Promise<T>, here: () => T): Promise<T> {
    try {
      return await elsewhere();
    } catch (error) {
      if (!(error instanceof WorkerFailure)) throw error;
      return here();
    }
  }
}

async function attempt<T>(run: () => T): Promise<T> {
  return run();
}
