import type { Writable } from 'node:stream';
import { Fifo } from '../../core/fifo.js';
import type { Lease } from '../../core/record.js';
import type { EncodedFrame } from './wire-fields.js';

/**
 * Bytes of one write: four of TLS's largest records. Encrypting them holds up the event loop for some ten
 * microseconds, and the memory that TLS takes for them is small enough to be used again.
 */
export const WRITE_BYTES = 64 << 10;

interface Part {
  readonly bytes: Buffer;
  readonly lease: Lease | undefined;
}

/**
 * What waits to be sent on one connection. Its user bounds it.
 *
 * Node's TLS puts several buffers of one write together in new memory before it encrypts them, and encrypts a single
 * one from where it is. So there is one write of one buffer at a time: a piece of a long payload as it lies there, or
 * short parts one after the other in memory of the outbox's own. What comes in one turn of the event loop leaves in
 * one write as far as it fits.
 */
export class Outbox {
  readonly #socket: Writable;
  readonly #parts = new Fifo<Part>();
  /** Bytes of the first part that are on their way already. */
  #begun = 0;
  #bytes = 0;
  #due = false;
  #writing = false;
  #ending = false;
  /** For short parts; made when the first ones come together. */
  #gathered: Buffer | undefined;
  /** Of parts whose last byte is being written, or was to be. */
  #leases: Lease[] = [];

  constructor(socket: Writable) {
    this.#socket = socket;
  }

  /** That wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The payload of a frame with a lease is held until it is sent; any other must not change until then. */
  add({ head, payload, lease }: EncodedFrame): void {
    this.#parts.push({ bytes: head, lease: undefined });
    if (payload.length > 0) {
      lease?.retain();
      this.#parts.push({ bytes: payload, lease });
    }
    this.#bytes += head.length + payload.length;
    if (this.#writing || this.#due) return;
    this.#due = true;
    queueMicrotask(this.#write);
  }

  /** Ends the socket when everything is sent. Nothing may be added any more. */
  end(): void {
    this.#ending = true;
    if (!this.#writing && !this.#due) this.#write();
  }

  /** Nothing more is sent but the write that is under way. */
  clear(): void {
    if (this.#writing && this.#begun > 0) this.#take(Number.POSITIVE_INFINITY);
    for (let part = this.#parts.shift(); part !== undefined; part = this.#parts.shift()) part.lease?.release();
    this.#begun = 0;
    this.#bytes = 0;
  }

  readonly #write = (): void => {
    this.#due = false;
    const bytes = this.#next();
    if (bytes === undefined) {
      if (this.#ending) this.#socket.end();
      return;
    }
    this.#writing = true;
    this.#socket.write(bytes, this.#written);
  };

  /** After an error the socket is of no use any more, and says so itself. */
  readonly #written = (error: Error | null | undefined): void => {
    this.#writing = false;
    for (const lease of this.#leases.splice(0)) lease.release();
    if (error === null || error === undefined) this.#write();
  };

  #next(): Buffer | undefined {
    const first = this.#parts.at(0);
    if (first === undefined) return undefined;
    if (first.bytes.length - this.#begun >= WRITE_BYTES) return this.#take(WRITE_BYTES);
    this.#gathered ??= Buffer.allocUnsafeSlow(WRITE_BYTES);
    let length = 0;
    while (length < WRITE_BYTES && this.#parts.length > 0) {
      length += this.#take(WRITE_BYTES - length).copy(this.#gathered, length);
    }
    return this.#gathered.subarray(0, length);
  }

  /** At most so many bytes of the first part. */
  #take(limit: number): Buffer {
    const { bytes, lease } = this.#parts.at(0)!;
    const from = this.#begun;
    const to = Math.min(bytes.length, from + limit);
    this.#bytes -= to - from;
    this.#begun = to;
    if (to === bytes.length) {
      this.#parts.shift();
      this.#begun = 0;
      if (lease !== undefined) this.#leases.push(lease);
    }
    return bytes.subarray(from, to);
  }
}
