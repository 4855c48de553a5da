/**
 * Frames of the replication protocol, version 3; docs/internals/wire.md has them to the byte.
 *
 * A frame is a header of 16 bytes, a *head* (the message's own fields, entry tables and orders), and a raw
 * payload. The CRC-32 covers header and head; payloads are covered by the checksums in their entries.
 */

import { crc32 } from 'node:zlib';
import { MAX_MEND_BLOCKS } from '../../core/messages.js';
import { type Lease, type Lender, MAX_BATCH_ENTRIES, MAX_BATCH_PAYLOAD_BYTES } from '../../core/record.js';
import { MAX_SYNC_REGIONS } from '../../core/replication/sync-regions.js';
import { Slab } from '../slab.js';

export const PROTOCOL_VERSION = 3;
/** The oldest version that this build still speaks. */
export const OLDEST_VERSION = 1;

export const HEADER_BYTES = 16;

/** Activations in a volume's life; 16 bytes each. One an hour for seven years. */
export const MAX_HISTORY_ENTRIES = 65_536;
/** Blocks with dead orders in one message; 8 bytes each. */
export const MAX_DEAD_BLOCKS = 65_536;
/** JSON bodies: introductions, requests and their answers. */
export const MAX_JSON_BYTES = 1 << 20;
export const MAX_HELLO_BYTES = 4096;
/** Fixed fields of any message, generously. */
const MAX_FIXED_BYTES = 512;
const MAX_TABLE_BYTES = MAX_BATCH_ENTRIES * (32 + 16);

/** Codes of frame types: 1–15 connection, 16–31 primary to member, 32–47 member to primary, 64–79 frontend to primary, 80–95 primary to frontend. */
export const FRAME = {
  hello: 1,
  welcome: 2,
  goodbye: 3,
  ping: 4,
  pong: 5,
  request: 6,
  response: 7,
  promise: 16,
  append: 17,
  flush: 18,
  lease: 19,
  'sync-begin': 20,
  'sync-dead': 21,
  backfill: 22,
  'sync-finish': 23,
  fetch: 24,
  mended: 25,
  'sync-mark': 26,
  promised: 32,
  appended: 33,
  flushed: 34,
  leased: 35,
  'sync-ready': 36,
  'sync-dead-blocks': 37,
  backfilled: 38,
  'sync-finished': 39,
  fetched: 40,
  refused: 41,
  mend: 42,
  'sync-marked': 43,
  open: 64,
  write: 65,
  read: 66,
  sync: 67,
  opened: 80,
  rejected: 81,
  written: 82,
  data: 83,
  synced: 84,
} as const;

export type FrameName = keyof typeof FRAME;

interface Limits {
  readonly head: number;
  readonly payload: number;
}

const SMALL: Limits = { head: MAX_FIXED_BYTES, payload: 0 };
const WITH_BATCH: Limits = { head: MAX_FIXED_BYTES + MAX_TABLE_BYTES, payload: MAX_BATCH_PAYLOAD_BYTES };
const WITH_HISTORY: Limits = { head: MAX_FIXED_BYTES + 16 * MAX_HISTORY_ENTRIES, payload: 0 };
const WITH_DEAD: Limits = { head: MAX_FIXED_BYTES + 8 * MAX_DEAD_BLOCKS, payload: 0 };

/** What a frame of each type may measure; anything larger is refused before memory is taken for it. */
const LIMITS: ReadonlyMap<number, Limits> = new Map<number, Limits>(
  (Object.keys(FRAME) as FrameName[]).map((name) => [FRAME[name], limitsOf(name)]),
);

function limitsOf(name: FrameName): Limits {
  switch (name) {
    case 'hello':
    case 'welcome':
    case 'goodbye':
      return { head: MAX_HELLO_BYTES, payload: 0 };
    case 'request':
    case 'response':
      return { head: MAX_FIXED_BYTES + MAX_JSON_BYTES, payload: 0 };
    case 'append':
    case 'backfill':
    case 'fetched':
    case 'mended':
    case 'write':
    case 'data':
      return WITH_BATCH;
    case 'promise':
    case 'sync-begin':
      return WITH_HISTORY;
    case 'sync-ready':
    case 'sync-dead-blocks':
      return WITH_DEAD;
    case 'fetch':
      return { head: MAX_FIXED_BYTES + 8 * MAX_BATCH_ENTRIES, payload: 0 };
    case 'sync-marked':
      return { head: MAX_FIXED_BYTES + 24 * MAX_SYNC_REGIONS, payload: 0 };
    case 'mend':
      return { head: MAX_FIXED_BYTES + 32 * MAX_MEND_BLOCKS, payload: 0 };
    default:
      return SMALL;
  }
}

export type WireErrorKind =
  /** A length beyond what its frame type allows. */
  | 'too-long'
  /** Header or head do not match their checksum. */
  | 'checksum'
  | 'unknown-type'
  /** A field is missing, out of range, or more follows than it should. */
  | 'malformed'
  /** A message that does not belong here: out of turn, or of the other direction. */
  | 'unexpected';

/** The other end does not speak this protocol. The connection cannot be used any more. */
export class WireError extends Error {
  readonly kind: WireErrorKind;
  constructor(kind: WireErrorKind, detail: string) {
    super(detail);
    this.name = 'WireError';
    this.kind = kind;
  }
}

export interface Frame {
  readonly type: number;
  /** One bit for the types that need one (durable, fua, unclean), else false. */
  readonly flag: boolean;
  readonly head: Buffer;
  readonly payload: Buffer;
  /** The payload is in leased memory, which whoever has cut the frame out of the stream releases. */
  readonly lease?: Lease | undefined;
}

export const EMPTY = Buffer.alloc(0);

/**
 * Completes the header of `buffer`, whose first HEADER_BYTES are free and are followed by the head. The
 * payload is sent behind it as it is.
 */
export function sealFrame(buffer: Buffer, type: number, flag: boolean, payloadLength: number): void {
  const limits = LIMITS.get(type);
  const headLength = buffer.length - HEADER_BYTES;
  if (limits === undefined || headLength > limits.head || payloadLength > limits.payload) {
    throw new WireError('too-long', `frame type ${type}: head of ${headLength}, payload of ${payloadLength} bytes`);
  }
  buffer.writeUInt8(type, 4);
  buffer.writeUInt8(flag ? 1 : 0, 5);
  buffer.writeUInt16LE(0, 6);
  buffer.writeUInt32LE(headLength, 8);
  buffer.writeUInt32LE(payloadLength, 12);
  buffer.writeUInt32LE(crc32(buffer.subarray(4)), 0);
}

/**
 * Where bytes are received of which it is not known what they are: the longest piece that TLS decrypts at once. They
 * are taken in the turn in which they come, so that one is enough for all connections.
 */
const SCRATCH = Buffer.alloc(16 << 10);
/** For what was received there. */
const SLAB = new Slab();
/** Frames whose receivers hold what they keep (`retain`). */
const LEASED: ReadonlySet<number> = new Set([FRAME.append, FRAME.backfill, FRAME.write, FRAME.data]);

/**
 * Cuts a byte stream into frames. What a frame's header says about its size is held against the limits of its
 * type before a buffer is made for it; so an unfinished frame never holds more than the largest one allowed. The
 * payloads of what is written, read and synced are put in memory from `lend` where it gives any: long ones would make
 * the garbage collector run all the time.
 * Errors: WireError, after which the parser must not be used again.
 */
export class FrameParser {
  /** Where payloads are put. */
  lend: Lender = () => undefined;
  #rest: Buffer = EMPTY;
  #partial: PartialFrame | undefined;
  #ended = false;

  /** Where the next bytes are best received; `received` is to be called in the same turn in which they are there. */
  target(): Buffer {
    return this.#partial === undefined || this.#ended ? SCRATCH : restOf(this.#partial);
  }

  /** Like `push`, of the first `length` bytes of what `target` has said. */
  received(target: Buffer, length: number): Frame[] {
    const partial = this.#partial;
    if (target === SCRATCH || partial === undefined) {
      const own = SLAB.take(length);
      target.copy(own, 0, 0, length);
      return this.push(own);
    }
    partial.filled += length;
    return this.#complete(partial) ?? [];
  }

  /**
   * Frames that are complete with `chunk`. Their buffers are views that the caller may keep; of the first one, the
   * payload may be leased: the caller releases it.
   */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    try {
      this.#cut(chunk, frames);
    } catch (error) {
      for (const { lease } of frames) lease?.release();
      throw error;
    }
    return frames;
  }

  /** What still comes is of no interest. */
  stop(): void {
    this.#ended = true;
  }

  /** Nothing more comes. */
  end(): void {
    this.stop();
    this.#partial?.lease?.release();
    this.#partial = undefined;
  }

  /** The partial frame, if it is complete by now. */
  #complete({ head, payload, lease, filled }: PartialFrame): Frame[] | undefined {
    if (filled < head.length + payload.length) return undefined;
    this.#partial = undefined;
    return [open(head, payload, lease)];
  }

  #cut(chunk: Buffer, frames: Frame[]): void {
    let bytes = chunk;
    if (this.#partial !== undefined) {
      bytes = bytes.subarray(fill(this.#partial, bytes, 0));
      const complete = this.#complete(this.#partial);
      if (complete === undefined) return;
      frames.push(...complete);
    } else if (this.#rest.length > 0) {
      bytes = Buffer.concat([this.#rest, bytes]);
      this.#rest = EMPTY;
    }
    let at = 0;
    while (bytes.length - at >= HEADER_BYTES) {
      const length = frameLength(bytes, at);
      const headEnd = HEADER_BYTES + bytes.readUInt32LE(at + 8);
      if (at + length > bytes.length) {
        this.#partial = this.#begin(bytes.readUInt8(at + 4), headEnd, length - headEnd);
        fill(this.#partial, bytes, at);
        return;
      }
      frames.push(open(bytes.subarray(at, at + headEnd), bytes.subarray(at + headEnd, at + length), undefined));
      at += length;
    }
    if (at < bytes.length) this.#rest = bytes.subarray(at);
  }

  #begin(type: number, headEnd: number, payloadBytes: number): PartialFrame {
    const lease = LEASED.has(type) && payloadBytes > 0 ? this.lend(payloadBytes) : undefined;
    const own = Buffer.allocUnsafe(headEnd + (lease === undefined ? payloadBytes : 0));
    return { head: own.subarray(0, headEnd), payload: lease?.bytes ?? own.subarray(headEnd), lease, filled: 0 };
  }
}

/** A frame that is being put together from several chunks. */
interface PartialFrame {
  /** Header included. */
  readonly head: Buffer;
  readonly payload: Buffer;
  readonly lease: Lease | undefined;
  /** Bytes that are there, of both. */
  filled: number;
}

/** What is missing of the head, or else of the payload. */
function restOf({ head, payload, filled }: PartialFrame): Buffer {
  return filled < head.length ? head.subarray(filled) : payload.subarray(filled - head.length);
}

/** Adds what `bytes` has of it from `from` on; returns how many that is. */
function fill(partial: PartialFrame, bytes: Buffer, from: number): number {
  const { head, payload, filled } = partial;
  let copied = filled < head.length ? bytes.copy(head, filled, from) : 0;
  if (filled + copied >= head.length) copied += bytes.copy(payload, filled + copied - head.length, from + copied);
  partial.filled += copied;
  return copied;
}

/** `head` with its header. Ends the lease if it throws. */
function open(head: Buffer, payload: Buffer, lease: Lease | undefined): Frame {
  const type = head.readUInt8(4);
  if (crc32(head.subarray(4)) !== head.readUInt32LE(0)) {
    lease?.release();
    throw new WireError('checksum', `frame type ${type}: wrong checksum`);
  }
  return { type, flag: head.readUInt8(5) === 1, head: head.subarray(HEADER_BYTES), payload, lease };
}

/** Length of the whole frame whose header is at `at`. */
function frameLength(bytes: Buffer, at: number): number {
  const type = bytes.readUInt8(at + 4);
  const limits = LIMITS.get(type);
  if (limits === undefined) throw new WireError('unknown-type', `frame type ${type}`);
  if (bytes.readUInt8(at + 5) > 1 || bytes.readUInt16LE(at + 6) !== 0) {
    throw new WireError('malformed', `frame type ${type}: unknown flags`);
  }
  const head = bytes.readUInt32LE(at + 8);
  const payload = bytes.readUInt32LE(at + 12);
  if (head > limits.head || payload > limits.payload) {
    throw new WireError('too-long', `frame type ${type}: head of ${head}, payload of ${payload} bytes`);
  }
  return HEADER_BYTES + head + payload;
}
