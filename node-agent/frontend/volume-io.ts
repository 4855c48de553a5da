import type { VolumeFrontend } from '../../core/frontend/volume-frontend.js';
import type { IoStatus } from '../../core/messages.js';
import {
  type Batch,
  ENTRY_BYTES,
  type Lease,
  MAX_BATCH_PAYLOAD_BYTES,
  MAX_WRITE_ZERO_BLOCKS,
  release,
  writeEntry,
  zeroEntry,
} from '../../core/record.js';
import type { BlockNumber } from '../../core/types.js';
import { CodecClosedError, type IoMemory, type VolumeCodec } from '../codec/index.js';
import { RangeLock } from './range-lock.js';

/** A disk of bytes, as a block protocol sees it. Ranges are within `sizeBytes`; lengths are more than 0. */
export interface ByteDevice {
  readonly sizeBytes: number;
  readonly preferredBlockBytes: number;
  readonly readOnly: boolean;
  /** Fills `into`. */
  read(offset: number, into: Buffer): Promise<IoStatus>;
  /** For long ranges, whose bytes are not moved where they need not be: they are where they are found, or in `memory`. */
  readLong(offset: number, length: number, memory: IoMemory): Promise<LongRead>;
  /** `data` is the caller's again when the call returns: what is needed longer is copied, or `lease`, if there is one, held. */
  write(offset: number, data: Buffer, fua: boolean, lease?: Lease): Promise<IoStatus>;
  zero(offset: number, length: number, fua: boolean): Promise<IoStatus>;
  /** Frees what it can of the range: whole blocks, which then read as zeroes. */
  trim(offset: number, length: number, fua: boolean): Promise<IoStatus>;
  /** Whether `zero` of this range costs no more than a record. */
  zeroesFast(offset: number, length: number): boolean;
  flush(): Promise<IoStatus>;
}

export interface LongRead {
  readonly status: IoStatus;
  /** If the status is `ok`. */
  readonly data: Buffer;
  /** Of the data, if they are in leased memory: the caller's to release. */
  readonly lease: Lease | undefined;
}

/** What the frontend has, and when it will be done: in an object, as a promise of a promise would wait for both. */
interface Submission {
  readonly written: Promise<IoStatus>;
}

function firstFailure(statuses: readonly IoStatus[]): IoStatus {
  return statuses.find((status) => status !== 'ok') ?? 'ok';
}

/** Of one request for zeroes. */
const MAX_ZERO_PIECES_UNDER_WAY = 4;

/** Lets others use the event loop between two long pieces of encoding. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Byte ranges over a volume's encoded blocks: encodes and decodes, cuts large requests into batches, and makes
 * partial blocks whole by reading them first.
 *
 * Order: `VolumeFrontend` keeps overlapping writes in the order of the calls and reads behind them. What can't be
 * handed to it at once, a partial block, several batches, or blocks that a worker thread encodes, holds a lock on
 * its blocks until its last step has been submitted, so that nothing that overlaps comes between or before; what
 * can be handed over at once only waits for such.
 */
export class VolumeIo implements ByteDevice {
  readonly sizeBytes: number;
  readonly preferredBlockBytes: number;
  readonly readOnly: boolean;
  readonly #frontend: VolumeFrontend;
  readonly #codec: VolumeCodec;
  readonly #blockSize: number;
  readonly #batchBlocks: number;
  readonly #lock = new RangeLock();
  readonly #offloadBytes: number;
  readonly #onCodecError: (error: unknown) => void;

  constructor(options: {
    readonly frontend: VolumeFrontend;
    readonly codec: VolumeCodec;
    readonly sizeBytes: number;
    readonly blockSize: number;
    readonly readOnly: boolean;
    /** Whole blocks of this many bytes and more are encoded and decoded by `codec`'s workers; Infinity for none. */
    readonly offloadBytes: number;
    /** A block could not be encoded or decoded: the client gets an I/O error. */
    readonly onCodecError: (error: unknown) => void;
  }) {
    this.#frontend = options.frontend;
    this.#codec = options.codec;
    this.#blockSize = options.blockSize;
    this.#batchBlocks = Math.floor(MAX_BATCH_PAYLOAD_BYTES / options.blockSize);
    this.#offloadBytes = options.offloadBytes;
    this.#onCodecError = options.onCodecError;
    this.sizeBytes = options.sizeBytes;
    this.preferredBlockBytes = options.blockSize;
    this.readOnly = options.readOnly;
  }

  read(offset: number, into: Buffer): Promise<IoStatus> {
    const size = this.#blockSize;
    const first = Math.floor(offset / size);
    const end = Math.ceil((offset + into.length) / size);
    const isWhole = offset === first * size && into.length === (end - first) * size;
    return isWhole ? this.#readInTurn(first, into) : this.#readPart(first, end, offset, into);
  }

  readLong(offset: number, length: number, memory: IoMemory): Promise<LongRead> {
    const first = offset / this.#blockSize;
    const blocks = length / this.#blockSize;
    const isWhole = Number.isInteger(first) && Number.isInteger(blocks);
    const isOneStep = isWhole && blocks <= this.#batchBlocks && length < this.#offloadBytes;
    if (!isOneStep || this.#lock.overlaps(first, first + blocks)) return this.#readInto(offset, length, memory);
    return this.#frontend.read(first as BlockNumber, blocks).then(({ status, batch }) => {
      return status === 'ok' ? this.#decodeLong(batch, first, length, memory) : failedRead(status);
    });
  }

  async #readInto(offset: number, length: number, memory: IoMemory): Promise<LongRead> {
    const { data, lease } = roomFor(length, memory);
    let status: IoStatus = 'io-error';
    try {
      status = await this.read(offset, data);
    } finally {
      if (status !== 'ok') lease?.release();
    }
    return status === 'ok' ? { status, data, lease } : failedRead(status);
  }

  #decodeLong(batch: Batch, first: number, length: number, memory: IoMemory): LongRead {
    try {
      const data = this.#codec.decodeInPlace(batch, first, length);
      if (data !== undefined) return { status: 'ok', data, lease: batch.lease };
    } catch (error) {
      release(batch);
      return failedRead(this.#failed(error));
    }
    const { data, lease } = roomFor(length, memory);
    const status = this.#decode(batch, first, data);
    if (status === 'ok') return { status, data, lease };
    lease?.release();
    return failedRead(status);
  }

  async #readPart(first: number, end: number, offset: number, into: Buffer): Promise<IoStatus> {
    const whole = Buffer.allocUnsafe((end - first) * this.#blockSize);
    const status = await this.#readInTurn(first, whole);
    if (status === 'ok') whole.copy(into, 0, offset - first * this.#blockSize);
    return status;
  }

  write(offset: number, data: Buffer, fua: boolean, lease?: Lease): Promise<IoStatus> {
    if (this.readOnly) return Promise.resolve('read-only');
    const size = this.#blockSize;
    const first = Math.floor(offset / size);
    const end = Math.ceil((offset + data.length) / size);
    const isWhole = offset === first * size && data.length === (end - first) * size;
    const isOneStep = isWhole && end - first <= this.#batchBlocks && data.length < this.#offloadBytes;
    if (isOneStep && !this.#lock.overlaps(first, end)) {
      return this.#encodeAndSend(data, first, fua);
    }
    return this.#writeInSteps(first, end, offset, data, fua, lease);
  }

  async #writeInSteps(
    first: number,
    end: number,
    offset: number,
    data: Buffer,
    fua: boolean,
    lease: Lease | undefined,
  ): Promise<IoStatus> {
    const kept = lease === undefined ? Buffer.from(data) : data;
    lease?.retain();
    try {
      return await this.#locked(first, end, (submitted) => this.#writeLocked(first, end, offset, kept, fua, submitted));
    } finally {
      lease?.release();
    }
  }

  #encodeAndSend(plain: Buffer, block: number, fua: boolean): Promise<IoStatus> {
    try {
      return this.#send(this.#codec.encode(plain, block), fua);
    } catch (error) {
      return Promise.resolve(this.#failed(error));
    }
  }

  /** The batch is in use until its answer. */
  #send(batch: Batch, fua: boolean): Promise<IoStatus> {
    return this.#frontend.write(batch, fua).then(
      (status) => {
        release(batch);
        return status;
      },
      (error: unknown) => {
        release(batch);
        throw error;
      },
    );
  }

  async zero(offset: number, length: number, fua: boolean): Promise<IoStatus> {
    if (this.readOnly) return 'read-only';
    const size = this.#blockSize;
    const first = Math.floor(offset / size);
    const end = Math.ceil((offset + length) / size);
    if (this.zeroesFast(offset, length)) return this.#zeroBlocks(first, end, fua);
    return this.#locked(first, end, (submitted) => this.#zeroLocked(first, end, offset, length, fua, submitted));
  }

  async trim(offset: number, length: number, fua: boolean): Promise<IoStatus> {
    if (this.readOnly) return 'read-only';
    const size = this.#blockSize;
    const first = Math.ceil(offset / size);
    const end = offset + length === this.sizeBytes ? this.#endBlock : Math.floor((offset + length) / size);
    return first < end ? this.#zeroBlocks(first, end, fua) : 'ok';
  }

  zeroesFast(offset: number, length: number): boolean {
    const size = this.#blockSize;
    return offset % size === 0 && ((offset + length) % size === 0 || offset + length === this.sizeBytes);
  }

  flush(): Promise<IoStatus> {
    return this.#frontend.flush();
  }

  get #endBlock(): number {
    return Math.ceil(this.sizeBytes / this.#blockSize);
  }

  async #zeroBlocks(first: number, end: number, fua: boolean): Promise<IoStatus> {
    if (end - first <= MAX_WRITE_ZERO_BLOCKS && !this.#lock.overlaps(first, end)) {
      return this.#frontend.write(zeroBatch(first, end), fua);
    }
    return this.#locked(first, end, (submitted) => this.#zeroPieces(first, end, fua, submitted));
  }

  /** A few pieces at a time, so that a trim of a terabyte leaves the window to others. */
  async #zeroPieces(first: number, end: number, fua: boolean, submitted: () => void): Promise<IoStatus> {
    const underWay: Promise<IoStatus>[] = [];
    for (let from = first; from < end; from += MAX_WRITE_ZERO_BLOCKS) {
      if (underWay.length === MAX_ZERO_PIECES_UNDER_WAY) {
        const status = await underWay.shift();
        if (status !== 'ok') return firstFailure([status!, ...(await Promise.all(underWay))]);
      }
      underWay.push(this.#frontend.write(zeroBatch(from, Math.min(from + MAX_WRITE_ZERO_BLOCKS, end)), fua));
    }
    submitted();
    return firstFailure(await Promise.all(underWay));
  }

  /**
   * Runs `steps` with the blocks locked. It calls `submitted` once everything is in the frontend's hands;
   * the lock ends then, or with `steps`.
   */
  async #locked(first: number, end: number, steps: (submitted: () => void) => Promise<IoStatus>): Promise<IoStatus> {
    const release = await this.#lock.acquire(first, end);
    let held = true;
    const submitted = () => {
      if (held) release();
      held = false;
    };
    try {
      return await steps(submitted);
    } finally {
      submitted();
    }
  }

  async #writeLocked(
    first: number,
    end: number,
    offset: number,
    data: Buffer,
    fua: boolean,
    submitted: () => void,
  ): Promise<IoStatus> {
    const size = this.#blockSize;
    const edges = await this.#readEdges(first, end, offset, data.length);
    if (edges.status !== 'ok') return edges.status;
    const writes: Promise<IoStatus>[] = [];
    for (const { block, plain } of edges.blocks) {
      const at = block * size;
      const from = Math.max(offset, at);
      data.copy(plain, from - at, from - offset, Math.min(offset + data.length, at + size) - offset);
      writes.push(this.#encodeAndSend(plain, block, fua));
    }
    const batches: Promise<Submission>[] = [];
    for (let block = edges.wholeFirst; block < edges.wholeEnd; block += this.#batchBlocks) {
      if (block !== edges.wholeFirst) await nextTurn();
      const until = Math.min(block + this.#batchBlocks, edges.wholeEnd);
      const plain = data.subarray(block * size - offset, until * size - offset);
      batches.push(this.#submit(block, plain, fua));
    }
    for (const { written } of await Promise.all(batches)) writes.push(written);
    submitted();
    return firstFailure(await Promise.all(writes));
  }

  /** Encodes one batch, in a worker thread if it is long, and hands it to the frontend. */
  async #submit(block: number, plain: Buffer, fua: boolean): Promise<Submission> {
    try {
      const isLong = plain.length >= this.#offloadBytes;
      const batch = isLong ? await this.#codec.encodeAsync(plain, block) : this.#codec.encode(plain, block);
      return { written: this.#send(batch, fua) };
    } catch (error) {
      return { written: Promise.resolve(this.#failed(error)) };
    }
  }

  async #zeroLocked(
    first: number,
    end: number,
    offset: number,
    length: number,
    fua: boolean,
    submitted: () => void,
  ): Promise<IoStatus> {
    const size = this.#blockSize;
    const edges = await this.#readEdges(first, end, offset, length);
    if (edges.status !== 'ok') return edges.status;
    const writes: Promise<IoStatus>[] = [];
    for (const { block, plain } of edges.blocks) {
      const at = block * size;
      plain.fill(0, Math.max(offset, at) - at, Math.min(offset + length, at + size) - at);
      writes.push(this.#encodeAndSend(plain, block, fua));
    }
    writes.push(this.#zeroPieces(edges.wholeFirst, edges.wholeEnd, fua, submitted));
    return firstFailure(await Promise.all(writes));
  }

  /** The blocks at the two ends of a byte range that it covers in part, read; and the whole ones between. */
  async #readEdges(first: number, end: number, offset: number, length: number) {
    const size = this.#blockSize;
    const wholeFirst = Math.min(Math.ceil(offset / size), end);
    const wholeEnd = Math.max(Math.floor((offset + length) / size), wholeFirst);
    const partial: number[] = [];
    for (let block = first; block < wholeFirst; block++) partial.push(block);
    for (let block = Math.max(wholeEnd, wholeFirst); block < end; block++) partial.push(block);
    const blocks = partial.map((block) => ({ block, plain: Buffer.allocUnsafe(size) }));
    const statuses = await Promise.all(blocks.map(({ block, plain }) => this.#readBlocks(block, plain)));
    return { status: firstFailure(statuses), blocks, wholeFirst, wholeEnd };
  }

  /** Reads behind the writes that came before, those included that the frontend does not have yet. */
  #readInTurn(first: number, into: Buffer): Promise<IoStatus> {
    const end = first + into.length / this.#blockSize;
    if (!this.#lock.overlaps(first, end)) return this.#readBlocks(first, into);
    return this.#locked(first, end, (submitted) => {
      const read = this.#readBlocks(first, into);
      submitted();
      return read;
    });
  }

  /** All of it is submitted when the call returns. */
  #readBlocks(first: number, into: Buffer): Promise<IoStatus> {
    const blocks = into.length / this.#blockSize;
    if (blocks <= this.#batchBlocks) return this.#readBatch(first, into);
    const reads: Promise<IoStatus>[] = [];
    for (let at = 0; at < blocks; at += this.#batchBlocks) {
      const until = Math.min(at + this.#batchBlocks, blocks);
      reads.push(this.#readBatch(first + at, into.subarray(at * this.#blockSize, until * this.#blockSize)));
    }
    return Promise.all(reads).then(firstFailure);
  }

  #readBatch(first: number, into: Buffer): Promise<IoStatus> {
    const isLong = into.length >= this.#offloadBytes;
    return this.#frontend.read(first as BlockNumber, into.length / this.#blockSize).then(({ status, batch }) => {
      if (status !== 'ok') return status;
      return isLong ? this.#decodeElsewhere(batch, first, into) : this.#decode(batch, first, into);
    });
  }

  #decode(batch: Batch, first: number, into: Buffer): IoStatus {
    try {
      this.#codec.decode(batch, first, into);
      return 'ok';
    } catch (error) {
      return this.#failed(error);
    } finally {
      release(batch);
    }
  }

  /** In a worker thread. */
  async #decodeElsewhere(batch: Batch, first: number, into: Buffer): Promise<IoStatus> {
    try {
      await this.#codec.decodeAsync(batch, first, into);
      return 'ok';
    } catch (error) {
      return this.#failed(error);
    } finally {
      release(batch);
    }
  }

  #failed(error: unknown): IoStatus {
    // Closed means that the volume is being detached; there is nothing to report.
    if (!(error instanceof CodecClosedError)) this.#onCodecError(error);
    return 'io-error';
  }
}

function failedRead(status: IoStatus): LongRead {
  return { status, data: Buffer.alloc(0), lease: undefined };
}

function roomFor(length: number, memory: IoMemory): { readonly data: Buffer; readonly lease: Lease | undefined } {
  const lease = memory.take(length, 'plain');
  return { data: lease?.bytes ?? Buffer.allocUnsafeSlow(length), lease };
}

function zeroBatch(first: number, end: number): Batch {
  const entries = Buffer.alloc(ENTRY_BYTES);
  writeEntry(entries, 0, zeroEntry(first, end - first));
  return { entries, payload: Buffer.alloc(0) };
}
