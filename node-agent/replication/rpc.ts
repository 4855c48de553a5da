/** Requests between nodes on the connection of the two: JSON with a number; docs/internals/wire.md, "Requests". */

import { z } from 'zod';
import { DomainError, ERROR_CODES } from '../../core/errors.js';
import { FRAME, type Frame, MAX_JSON_BYTES, WireError } from './wire.js';
import { type EncodedFrame, HeadReader, HeadWriter } from './wire-fields.js';

const MAX_MESSAGE_CHARACTERS = 4096;

const request = z.object({ method: z.string().min(1).max(64), args: z.unknown() });
const failure = z.object({ code: z.enum(ERROR_CODES), message: z.string().max(MAX_MESSAGE_CHARACTERS) });

function encode(type: number, id: number, value: unknown, failed = false): EncodedFrame {
  const body = Buffer.from(JSON.stringify(value) ?? 'null');
  if (body.length > MAX_JSON_BYTES) throw new WireError('too-long', `request or answer of ${body.length} bytes`);
  return new HeadWriter(8 + body.length).u64(id).bytes(body).flag(failed).seal(type);
}

function decode(frame: Frame): { id: number; value: unknown } {
  const reader = new HeadReader(frame);
  const id = reader.u64();
  try {
    return { id, value: JSON.parse(reader.rest().toString('utf8')) };
  } catch {
    throw new WireError('malformed', 'a request or answer that is not JSON');
  }
}

export function encodeRequest(id: number, method: string, args: unknown): EncodedFrame {
  return encode(FRAME.request, id, { method, args });
}

/** Errors: WireError. */
export function decodeRequest(frame: Frame): { id: number; method: string; args: unknown } {
  const { id, value } = decode(frame);
  const parsed = request.safeParse(value);
  if (!parsed.success) throw new WireError('malformed', 'a request without a method');
  return { id, method: parsed.data.method, args: parsed.data.args };
}

export function encodeResult(id: number, result: unknown): EncodedFrame {
  return encode(FRAME.response, id, result);
}

/** DomainErrors keep their code; of anything else only the message is told, as 'internal'. */
export function encodeFailure(id: number, error: unknown): EncodedFrame {
  const code = error instanceof DomainError ? error.code : 'internal';
  const message = (error instanceof Error ? error.message : String(error)).slice(0, MAX_MESSAGE_CHARACTERS);
  return encode(FRAME.response, id, { code, message }, true);
}

/** Errors: WireError. */
export function decodeResponse(frame: Frame): { id: number; result: unknown } | { id: number; error: DomainError } {
  const { id, value } = decode(frame);
  if (!frame.flag) return { id, result: value };
  const parsed = failure.safeParse(value);
  if (!parsed.success) throw new WireError('malformed', 'a failure without a code');
  return { id, error: new DomainError(parsed.data.code, parsed.data.message) };
}
