import type { Lease } from '../../core/record.js';
import type { IoMemory } from '../codec/index.js';
import type { Slab } from '../slab.js';
import { CHUNK, MAGIC_SIMPLE_REPLY, MAGIC_STRUCTURED_REPLY, type NbdError, REPLY_FLAG_DONE } from './nbd-protocol.js';
import type { NbdRequestHeader } from './nbd-requests.js';

const SIMPLE_BYTES = 16;
const STRUCTURED_BYTES = 20;
const OFFSET_BYTES = 8;
/** Error and length of a message, which is empty. */
const ERROR_BYTES = 6;

function structuredHeader(reply: Buffer, header: NbdRequestHeader, chunk: number, length: number): void {
  reply.writeUInt32BE(MAGIC_STRUCTURED_REPLY, 0);
  reply.writeUInt16BE(REPLY_FLAG_DONE, 4);
  reply.writeUInt16BE(chunk, 6);
  reply.writeUInt32BE(header.cookieHigh, 8);
  reply.writeUInt32BE(header.cookieLow, 12);
  reply.writeUInt32BE(length, 16);
}

function simpleReply(reply: Buffer, header: NbdRequestHeader, error: NbdError): Buffer {
  reply.writeUInt32BE(MAGIC_SIMPLE_REPLY, 0);
  reply.writeUInt32BE(error, 4);
  reply.writeUInt32BE(header.cookieHigh, 8);
  reply.writeUInt32BE(header.cookieLow, 12);
  return reply;
}

/** The answer to anything that carries no data, good or bad. */
export function statusReply(header: NbdRequestHeader, error: NbdError, slab: Slab): Buffer {
  return simpleReply(slab.take(SIMPLE_BYTES), header, error);
}

/** A READ fails; with structured replies on, it may not be answered by a simple one. */
export function readErrorReply(header: NbdRequestHeader, error: NbdError, structured: boolean, slab: Slab): Buffer {
  if (!structured) return statusReply(header, error, slab);
  const reply = slab.take(STRUCTURED_BYTES + ERROR_BYTES).fill(0);
  structuredHeader(reply, header, CHUNK.error, ERROR_BYTES);
  reply.writeUInt32BE(error, STRUCTURED_BYTES);
  return reply;
}

/** What comes before the `header.length` bytes of a READ's answer: one chunk. */
export function dataHeader(header: NbdRequestHeader, structured: boolean, slab: Slab): Buffer {
  const bytes = slab.take(structured ? STRUCTURED_BYTES + OFFSET_BYTES : SIMPLE_BYTES);
  return fillDataHeader(bytes, header, structured);
}

/** A READ's answer with room for its data, in one buffer. */
export interface DataReply {
  readonly reply: Buffer;
  readonly data: Buffer;
  /** Of both: the caller's to release. */
  readonly lease: Lease | undefined;
}

export function dataReply(header: NbdRequestHeader, structured: boolean, memory: IoMemory, slab: Slab): DataReply {
  const before = structured ? STRUCTURED_BYTES + OFFSET_BYTES : SIMPLE_BYTES;
  const held = memory.take(before + header.length, 'plain');
  const reply = held?.bytes ?? slab.take(before + header.length);
  fillDataHeader(reply, header, structured);
  return { reply, data: Buffer.from(reply.buffer, reply.byteOffset + before, header.length), lease: held?.lease };
}

function fillDataHeader(bytes: Buffer, header: NbdRequestHeader, structured: boolean): Buffer {
  if (!structured) return simpleReply(bytes, header, 0);
  structuredHeader(bytes, header, CHUNK.offsetData, OFFSET_BYTES + header.length);
  bytes.writeUInt32BE(Math.floor(header.offset / 2 ** 32), STRUCTURED_BYTES);
  bytes.writeUInt32BE(header.offset % 2 ** 32, STRUCTURED_BYTES + 4);
  return bytes;
}
