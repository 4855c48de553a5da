import type { Lease } from '../../core/record.js';
import type { Held, IoMemory } from '../codec/index.js';
import { Slab } from '../slab.js';
import { CMD, MAGIC_REQUEST, NbdProtocolError, REQUEST_BYTES } from './nbd-protocol.js';

export interface NbdRequestHeader {
  readonly flags: number;
  readonly command: number;
  /** The client's name for the request, opaque: two halves of 32 bits. */
  readonly cookieHigh: number;
  readonly cookieLow: number;
  /** Bytes; beyond 2^53 inexact, but then beyond every export's end too. */
  readonly offset: number;
  readonly length: number;
}

export interface NbdRequest {
  readonly header: NbdRequestHeader;
  /** Of a write that was admitted. */
  readonly payload: Buffer | undefined;
  /**
   * Of a payload in memory of its own: held once, for whoever takes the request. Without a lease the payload is
   * there until `park`.
   */
  readonly lease: Lease | undefined;
}

/**
 * `take`: go on with it. `discard`: read over a write's payload, it will be refused. `wait`: not now;
 * `next` will be called again and will ask again.
 */
export type Verdict = 'take' | 'discard' | 'wait';

const EMPTY = Buffer.alloc(0);
/** The garbage collector's memory needs no holders: whoever may hold it just keeps it. */
const COLLECTED: Lease = { exclusive: false, retain: () => {}, release: () => {} };
/** From this length on a read of its own costs less than moving half of a payload. */
const LONG_PAYLOAD_BYTES = 32 * 1024;

/**
 * Cuts what a client sends after the handshake into requests. What arrives is read into a window that all connections
 * share and is parsed where it lies; a long payload that is not there as a whole gets memory of its own, after its
 * request was admitted, into which the rest is read. While long payloads follow each other, headers are read by
 * themselves, so that no part of a payload ever has to be moved.
 *
 * The order of calls: `target`, `received`, `next` until it gives nothing, `park`. Errors: NbdProtocolError.
 */
export class NbdRequestParser {
  readonly #memory: IoMemory;
  /** For short payloads that come in two pieces: clients send a request's header by itself. */
  readonly #slab = new Slab();
  #input: Buffer = EMPTY;
  #at = 0;
  #header: NbdRequestHeader | undefined;
  /** Payload of the current request that is being put together, and how much of it is there. */
  #payload: Buffer | undefined;
  #held: Held | undefined;
  #filled = 0;
  /** Bytes of a refused payload still to be read over. */
  #discard = 0;
  #verdict: Verdict = 'wait';
  /** The payload before was long: the next header is read by itself. */
  #expectsLong = false;
  /** What `target` gave last, if it is the rest of the payload. */
  #rest: Buffer | undefined;

  constructor(memory: IoMemory) {
    this.#memory = memory;
  }

  /** Where the next bytes go. */
  target(): Buffer {
    this.#rest = this.#payload?.subarray(this.#filled);
    if (this.#rest !== undefined) return this.#rest;
    // Of this connection alone, as it holds what was read before, if anything.
    if (this.#expectsLong && this.#header === undefined) {
      return Buffer.allocUnsafe(Math.max(1, REQUEST_BYTES - (this.#input.length - this.#at)));
    }
    return this.#memory.window;
  }

  /** The first `length` bytes of `target` are there. */
  received(target: Buffer, length: number): void {
    if (this.#payload !== undefined && target === this.#rest) this.#filled += length;
    else this.push(target.subarray(0, length));
  }

  /** Bytes that came otherwise. */
  push(chunk: Buffer): void {
    const left = this.#input.length - this.#at;
    this.#input = left === 0 ? chunk : Buffer.concat([this.#input.subarray(this.#at), chunk]);
    this.#at = 0;
  }

  /** Keeps what is not parsed yet: the window is somebody else's from now on. */
  park(): void {
    const left = this.#input.subarray(this.#at);
    this.#at = 0;
    this.#input = left.length === 0 ? EMPTY : Buffer.from(left);
  }

  /** The connection is gone. */
  close(): void {
    this.#held?.release();
    this.#held = undefined;
    this.#payload = undefined;
  }

  /** The next whole request; undefined if there is none, or if `admit` says `wait`. */
  next(admit: (header: NbdRequestHeader) => Verdict): NbdRequest | undefined {
    this.#header ??= this.#parseHeader();
    const header = this.#header;
    if (header === undefined) return undefined;
    const payloadBytes = header.command === CMD.write ? header.length : 0;
    if (this.#verdict === 'wait') {
      this.#verdict = admit(header);
      if (this.#verdict === 'wait') return undefined;
      if (this.#verdict === 'discard') this.#discard = payloadBytes;
    }
    if (this.#verdict === 'discard') {
      const skipped = Math.min(this.#discard, this.#input.length - this.#at);
      this.#at += skipped;
      this.#discard -= skipped;
      return this.#discard === 0 ? this.#complete(header, undefined) : undefined;
    }
    if (payloadBytes === 0) return this.#complete(header, header.command === CMD.write ? EMPTY : undefined);
    return this.#takePayload(header, payloadBytes);
  }

  #takePayload(header: NbdRequestHeader, bytes: number): NbdRequest | undefined {
    const available = this.#input.length - this.#at;
    this.#expectsLong = bytes >= LONG_PAYLOAD_BYTES;
    if (this.#payload === undefined) {
      if (available >= bytes) {
        const whole = this.#input.subarray(this.#at, this.#at + bytes);
        this.#at += bytes;
        return this.#complete(header, whole);
      }
      this.#held = this.#memory.take(bytes, 'plain');
      this.#payload = this.#held?.bytes ?? this.#slab.take(bytes);
      this.#filled = 0;
    }
    const copied = Math.min(available, bytes - this.#filled);
    if (copied > 0) this.#input.copy(this.#payload, this.#filled, this.#at, this.#at + copied);
    this.#at += copied;
    this.#filled += copied;
    return this.#filled === bytes ? this.#complete(header, this.#payload) : undefined;
  }

  #complete(header: NbdRequestHeader, payload: Buffer | undefined): NbdRequest {
    const lease = this.#held ?? (this.#payload && COLLECTED);
    this.#header = undefined;
    this.#payload = undefined;
    this.#held = undefined;
    this.#verdict = 'wait';
    return { header, payload, lease };
  }

  #parseHeader(): NbdRequestHeader | undefined {
    const input = this.#input;
    const at = this.#at;
    if (input.length - at < REQUEST_BYTES) return undefined;
    if (input.readUInt32BE(at) !== MAGIC_REQUEST) throw new NbdProtocolError('bad magic of a request');
    this.#at += REQUEST_BYTES;
    return {
      flags: input.readUInt16BE(at + 4),
      command: input.readUInt16BE(at + 6),
      cookieHigh: input.readUInt32BE(at + 8),
      cookieLow: input.readUInt32BE(at + 12),
      offset: input.readUInt32BE(at + 16) * 2 ** 32 + input.readUInt32BE(at + 20),
      length: input.readUInt32BE(at + 24),
    };
  }
}
