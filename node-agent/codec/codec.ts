/** The block codec as the rest of the agent sees it. Formats to the byte: docs/internals/codec.md. */

import type { Batch } from '../../core/record.js';
import type { VolumeId } from '../../core/types.js';
import type { Held, RegionContents } from './arena.js';

/** Who does AES: the kernels in WebAssembly, or node:crypto with the CPU's instructions. Same bytes. */
export type CipherEngine = 'wasm' | 'native';

/**
 * Why a batch can't be decoded.
 * - `checksum`: a stored payload is not the one that was written for this block of this volume
 * - `compressed`: checksum right, but the LZ4 stream is malformed or would leave its block
 * - `length`: checksum right, but the stored or the decompressed length can't be one block
 * - `invalid`: the entries are malformed, out of order, or not encrypted where the volume is
 */
export type CodecProblem = 'checksum' | 'compressed' | 'length' | 'invalid';

export class CodecError extends Error {
  readonly kind: CodecProblem;
  /** The first block that is affected. */
  readonly block: number;
  readonly detail: string;
  constructor(kind: CodecProblem, block: number, detail: string) {
    super(`block ${block}: ${detail}`);
    this.name = 'CodecError';
    this.kind = kind;
    this.block = block;
    this.detail = detail;
  }
}

/** The volume was closed before, or while, it was asked for something. */
export class CodecClosedError extends Error {
  constructor() {
    super('the volume codec is closed');
    this.name = 'CodecClosedError';
  }
}

/** The codec can't be set up: kernels missing or a forced engine that does not work here. */
export class CodecSetupError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'CodecSetupError';
  }
}

/** Bytes of an AES-256-XTS key: the data key followed by the tweak key, which must differ. */
export const XTS_KEY_BYTES = 64;

export interface VolumeOptions {
  readonly volume: VolumeId;
  /** 4,096–65,536, a power of two. */
  readonly blockSize: number;
  readonly compress: boolean;
  /** XTS_KEY_BYTES; absent for a volume that is not encrypted. Copied: the caller may zero its own. */
  readonly key?: Uint8Array;
}

/**
 * Memory that sockets and files may use and that the codec reaches: what is received there is encoded, and what is
 * decoded there can be sent, without a copy. Ordinary memory is as good everywhere, but copied.
 */
export interface IoMemory {
  /**
   * For what is received at once, before its length is known. Shared by all: whoever receives is done with it, or
   * has copied it, when his callback ends.
   */
  readonly window: Buffer;
  readonly totalBytes: number;
  /** What nobody holds at present. */
  readonly freeBytes: number;
  /** Memory of one's own, held once, until it is released; undefined if there is no room. */
  take(bytes: number, contents: RegionContents): Held | undefined;
}

/** Encodes and decodes the blocks of one attached volume; holds its key. */
export interface SyncVolumeCodec {
  readonly engine: CipherEngine;
  /**
   * Encodes whole blocks, `firstBlock` being the first. Runs of zero blocks become one entry each.
   * The batch is the caller's, who releases its lease if it has one. RangeError, before anything is done, if `plain`
   * isn't 1 or more whole blocks of at most MAX_BATCH_PAYLOAD_BYTES together, lies in the kernels' own memory, or a
   * block number is above 2^53 - 1.
   */
  encode(plain: Uint8Array, firstBlock: number): Batch;
  /**
   * Decodes a batch whose entries cover exactly the blocks `firstBlock`, `firstBlock` + 1, … of `into`,
   * in this order. Writes `into` only if all of it is good; what `into` holds after an error is undefined if it is in
   * IoMemory. So is a payload that only the caller holds, afterwards: it is decrypted where it lies. Throws CodecError;
   * RangeError for `into`, or where it and the batch overlap.
   */
  decode(batch: Batch, firstBlock: number, into: Uint8Array): void;
  /**
   * The plain text of the blocks `firstBlock` … where their payload lies, `length` bytes, if nothing has to be moved for
   * that: all of them are stored at full length in IoMemory and, if they are encrypted, nobody else holds them. It
   * takes the payload's place and has the batch's lease. Undefined otherwise, with nothing done. Throws as `decode`.
   */
  decodeInPlace(batch: Batch, firstBlock: number, length: number): Buffer | undefined;
  /** Zeroes the key. Later calls throw CodecClosedError, unfinished ones reject with it. */
  close(): void;
}

export interface VolumeCodec extends SyncVolumeCodec {
  /**
   * As `encode`, in a worker thread if the request is at least `Codec.offloadBytes` long. The calls of this volume
   * resolve in the order in which they were made. Nobody may change `plain` until then.
   */
  encodeAsync(plain: Uint8Array, firstBlock: number): Promise<Batch>;
  /** As `decode`, in a worker thread if `into` is at least `Codec.offloadBytes` long; same order as encodeAsync. */
  decodeAsync(batch: Batch, firstBlock: number, into: Uint8Array): Promise<void>;
}

/** Verifies stored payloads; needs no key. */
export interface BlockChecksums {
  /**
   * Index of the first DATA entry of the batch whose payload does not match its checksum, or -1.
   * An entry whose payload would lie outside the batch counts as one that does not match.
   */
  firstBad(batch: Batch): number;
  /** Indices of all such entries, ascending. */
  bad(batch: Batch): number[];
}

export interface Codec {
  /** The engine in use for encrypted volumes. */
  readonly engine: CipherEngine;
  /**
   * Requests of this many bytes and more are worth a worker thread, as was measured at start; Infinity if there are
   * none or nothing is worth them.
   */
  readonly offloadBytes: number;
  /** What this thread's sockets and files may share with the codec. */
  readonly memory: IoMemory;
  /** RangeError for a bad block size, key length, or weak key (two equal halves). */
  openVolume(options: VolumeOptions): VolumeCodec;
  checksums(volume: VolumeId): BlockChecksums;
  /** Closes the volumes that are still open, zeroes what the memory holds, and ends the worker threads. */
  close(): Promise<void>;
}

export interface CodecOptions {
  /** `auto` measures both and takes the faster. */
  readonly engine?: 'auto' | CipherEngine;
  /** Worker threads for large requests, 0 (the default) to MAX_CODEC_WORKERS. Each has about 15 MiB. */
  readonly workers?: number;
  /** With workers: the length of requests that are worth one, in bytes, instead of measuring it. */
  readonly offloadBytes?: number;
  /** Size of `Codec.memory`: 0 to MAX_IO_MEMORY_BYTES, DEFAULT_IO_MEMORY_BYTES by default. Used as far as it is touched. */
  readonly memoryBytes?: number;
}

export const DEFAULT_IO_MEMORY_BYTES = 32 << 20;
export const MAX_IO_MEMORY_BYTES = 48 << 20;

export const MAX_CODEC_WORKERS = 16;
