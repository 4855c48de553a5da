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
  /** Of a write that was admitted; a view on what was pushed, or a buffer of its own. */
  readonly payload: Buffer | undefined;
}

/**
 * `take`: go on with it. `discard`: read over a write's payload, it will be refused. `wait`: not now;
 * `next` will be called again and will ask again.
 */
export type Verdict = 'take' | 'discard' | 'wait';

const EMPTY = Buffer.alloc(0);

/**
 * Cuts what a client sends after the handshake into requests. A payload is allocated only after its request
 * was admitted. Errors: NbdProtocolError.
 */
export class NbdRequestParser {
  #input: Buffer = EMPTY;
  #at = 0;
  #header: NbdRequestHeader | undefined;
  /** Payload of the current request that is being put together, and how much of it is there. */
  #payload: Buffer | undefined;
  #filled = 0;
  /** Bytes of a refused payload still to be read over. */
  #discard = 0;
  #verdict: Verdict = 'wait';

  push(chunk: Buffer): void {
    const left = this.#input.length - this.#at;
    this.#input = left === 0 ? chunk : Buffer.concat([this.#input.subarray(this.#at), chunk]);
    this.#at = 0;
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
    if (this.#payload === undefined) {
      if (available >= bytes) {
        const whole = this.#input.subarray(this.#at, this.#at + bytes);
        this.#at += bytes;
        return this.#complete(header, whole);
      }
      this.#payload = Buffer.allocUnsafe(bytes);
      this.#filled = 0;
    }
    const copied = Math.min(available, bytes - this.#filled);
    this.#input.copy(this.#payload, this.#filled, this.#at, this.#at + copied);
    this.#at += copied;
    this.#filled += copied;
    return this.#filled === bytes ? this.#complete(header, this.#payload) : undefined;
  }

  #complete(header: NbdRequestHeader, payload: Buffer | undefined): NbdRequest {
    this.#header = undefined;
    this.#payload = undefined;
    this.#verdict = 'wait';
    return { header, payload };
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
