/** Fields of a frame's head. Little-endian; 64-bit numbers are checked to be at most 2^53 - 1. */

import { type Batch, ENTRY_BYTES, type Lease, MAX_BATCH_ENTRIES } from '../../core/record.js';
import type { Epoch, Order, Sequence } from '../../core/types.js';
import { EMPTY, type Frame, HEADER_BYTES, sealFrame, WireError } from './wire.js';

const HIGH = 2 ** 32;
/** Highest upper half of a number ≤ 2^53 - 1. */
const MAX_HIGH = 2 ** 21 - 1;

export const UUID_BYTES = 16;
export const ORDER_BYTES = 16;
/** Ids whose other form is remembered; volumes, deployments and incarnations in use are far fewer. */
const MAX_CACHED_IDS = 8192;

const bytesOfId = new Map<string, Buffer>();
const idOfBytes = new Map<string, string>();

function uuidBytes(id: string): Buffer {
  let bytes = bytesOfId.get(id);
  if (bytes === undefined) {
    bytes = Buffer.from(id.replaceAll('-', ''), 'hex');
    if (bytes.length !== UUID_BYTES) throw new WireError('malformed', 'an identifier that is no UUID');
    if (bytesOfId.size >= MAX_CACHED_IDS) bytesOfId.clear();
    bytesOfId.set(id, bytes);
  }
  return bytes;
}

function uuidText(bytes: Buffer, at: number): string {
  const key = bytes.toString('latin1', at, at + UUID_BYTES);
  let id = idOfBytes.get(key);
  if (id === undefined) {
    const hex = bytes.toString('hex', at, at + UUID_BYTES);
    id = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    if (idOfBytes.size >= MAX_CACHED_IDS) idOfBytes.clear();
    idOfBytes.set(key, id);
  }
  return id;
}

/** An encoded frame: `head` has the header in front. */
export interface EncodedFrame {
  readonly head: Buffer;
  readonly payload: Buffer;
  /** The payload is in memory that has to be held while it waits to be sent. */
  readonly lease?: Lease | undefined;
}

/** Writes a head whose length is known before. */
export class HeadWriter {
  readonly #buffer: Buffer;
  #at = HEADER_BYTES;
  #flag = false;
  #payload: Buffer = EMPTY;
  #lease: Lease | undefined;

  constructor(headBytes: number) {
    this.#buffer = Buffer.allocUnsafe(HEADER_BYTES + headBytes);
  }

  u8(value: number): this {
    this.#at = this.#buffer.writeUInt8(value, this.#at);
    return this;
  }

  u32(value: number): this {
    this.#at = this.#buffer.writeUInt32LE(value, this.#at);
    return this;
  }

  u64(value: number): this {
    this.#buffer.writeUInt32LE(value % HIGH, this.#at);
    this.#at = this.#buffer.writeUInt32LE(Math.floor(value / HIGH), this.#at + 4);
    return this;
  }

  uuid(id: string): this {
    uuidBytes(id).copy(this.#buffer, this.#at);
    this.#at += UUID_BYTES;
    return this;
  }

  order(order: Order): this {
    return this.u64(order.epoch).u64(order.sequence);
  }

  bytes(bytes: Uint8Array): this {
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }

  /** The header's; false by default. */
  flag(value: boolean): this {
    this.#flag = value;
    return this;
  }

  /** The entries as the last of the head, the payload behind it. */
  batch({ entries, payload, lease }: Batch): this {
    this.#payload = payload;
    this.#lease = lease;
    return this.bytes(entries);
  }

  /** Seals the frame. The head must be exactly full. */
  seal(type: number): EncodedFrame {
    if (this.#at !== this.#buffer.length) {
      throw new WireError('malformed', `frame type ${type}: head of ${this.#at - HEADER_BYTES} bytes written`);
    }
    sealFrame(this.#buffer, type, this.#flag, this.#payload.length);
    return { head: this.#buffer, payload: this.#payload, lease: this.#lease };
  }
}

/** Reads a head. Errors: WireError('malformed'). */
export class HeadReader {
  readonly #frame: Frame;
  #at = 0;

  constructor(frame: Frame) {
    this.#frame = frame;
  }

  get type(): number {
    return this.#frame.type;
  }

  get flag(): boolean {
    return this.#frame.flag;
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#frame.head.length) throw this.#malformed('ends early');
    this.#at = at + length;
    return at;
  }

  #malformed(what: string): WireError {
    return new WireError('malformed', `frame type ${this.#frame.type}: ${what}`);
  }

  u8(): number {
    return this.#frame.head.readUInt8(this.#take(1));
  }

  u32(): number {
    return this.#frame.head.readUInt32LE(this.#take(4));
  }

  u64(): number {
    const at = this.#take(8);
    const high = this.#frame.head.readUInt32LE(at + 4);
    if (high > MAX_HIGH) throw this.#malformed('a number beyond 2^53 - 1');
    return high * HIGH + this.#frame.head.readUInt32LE(at);
  }

  uuid(): string {
    return uuidText(this.#frame.head, this.#take(UUID_BYTES));
  }

  /** One of `values`, by its index. */
  choice<T>(values: readonly T[]): T {
    const value = values[this.u8()];
    if (value === undefined) throw this.#malformed('an unknown choice');
    return value;
  }

  order(): Order {
    return { epoch: this.u64() as Epoch, sequence: this.u64() as Sequence };
  }

  bytes(length: number): Buffer {
    const at = this.#take(length);
    return this.#frame.head.subarray(at, at + length);
  }

  rest(): Buffer {
    return this.bytes(this.left);
  }

  /** Bytes that were not read yet. */
  get left(): number {
    return this.#frame.head.length - this.#at;
  }

  /** Of a list, in 32 bits: at most `limit`, and no more than there is room for in what is left. */
  count(limit: number, itemBytes: number): number {
    const count = this.u32();
    if (count > limit || count * itemBytes > this.left) throw this.#malformed(`a list of ${count}`);
    return count;
  }

  /**
   * What is left of the head as an entry table, with the frame's payload. Checked here: the table's length and
   * that the payload is as long as the entries say; the rest depends on the volume (`batchProblem`).
   */
  batch(): Batch {
    const entries = this.rest();
    const count = entries.length / ENTRY_BYTES;
    if (!Number.isInteger(count) || count > MAX_BATCH_ENTRIES) {
      throw this.#malformed(`entry table of ${entries.length} bytes`);
    }
    let stored = 0;
    for (let at = 16; at < entries.length; at += ENTRY_BYTES) stored += entries.readUInt32LE(at);
    if (stored !== this.#frame.payload.length) {
      throw this.#malformed(`payload of ${this.#frame.payload.length} bytes where the entries say ${stored}`);
    }
    const { payload, lease } = this.#frame;
    return lease === undefined ? { entries, payload } : { entries, payload, lease };
  }

  /** Nothing may be left. */
  end(): void {
    if (this.left > 0) throw this.#malformed('is longer than its fields');
  }
}
