import { CHUNK, MAGIC_SIMPLE_REPLY, MAGIC_STRUCTURED_REPLY, type NbdError, REPLY_FLAG_DONE } from './nbd-protocol.js';
import type { NbdRequestHeader } from './nbd-requests.js';
import type { Slab } from './slab.js';

const SIMPLE_BYTES = 16;
const STRUCTURED_BYTES = 20;
const OFFSET_BYTES = 8;

function structuredHeader(reply: Buffer, header: NbdRequestHeader, chunk: number, length: number): void {
  reply.writeUInt32BE(MAGIC_STRUCTURED_REPLY, 0);
  reply.writeUInt16BE(REPLY_FLAG_DONE, 4);
  reply.writeUInt16BE(chunk, 6);
  reply.writeUInt32BE(header.cookieHigh, 8);
  reply.writeUInt32BE(header.cookieLow, 12);
  reply.writeUInt32BE(length, 16);
}

/** The answer to anything that carries no data, good or bad. */
export function statusReply(header: NbdRequestHeader, error: NbdError): Buffer {
  const reply = Buffer.allocUnsafe(SIMPLE_BYTES);
  reply.writeUInt32BE(MAGIC_SIMPLE_REPLY, 0);
  reply.writeUInt32BE(error, 4);
  reply.writeUInt32BE(header.cookieHigh, 8);
  reply.writeUInt32BE(header.cookieLow, 12);
  return reply;
}

/** A READ fails; with structured replies on, it may not be answered by a simple one. */
export function readErrorReply(header: NbdRequestHeader, error: NbdError, structured: boolean): Buffer {
  if (!structured) return statusReply(header, error);
  const reply = Buffer.alloc(STRUCTURED_BYTES + 6);
  structuredHeader(reply, header, CHUNK.error, 6);
  reply.writeUInt32BE(error, STRUCTURED_BYTES);
  return reply;
}

/** A READ's answer with room for its data, which is one chunk and one buffer. */
export function dataReply(header: NbdRequestHeader, structured: boolean, slab: Slab): { reply: Buffer; data: Buffer } {
  if (!structured) {
    const reply = slab.take(SIMPLE_BYTES + header.length);
    statusReply(header, 0).copy(reply);
    return { reply, data: reply.subarray(SIMPLE_BYTES) };
  }
  const reply = slab.take(STRUCTURED_BYTES + OFFSET_BYTES + header.length);
  structuredHeader(reply, header, CHUNK.offsetData, OFFSET_BYTES + header.length);
  reply.writeUInt32BE(Math.floor(header.offset / 2 ** 32), STRUCTURED_BYTES);
  reply.writeUInt32BE(header.offset % 2 ** 32, STRUCTURED_BYTES + 4);
  return { reply, data: reply.subarray(STRUCTURED_BYTES + OFFSET_BYTES) };
}
