/** Bytes of the messages between a frontend and its primary; docs/internals/wire.md, "Session messages". */

import type { FrontendMessage, IoStatus, RejectReason, SessionMessage } from '../../core/messages.js';
import type { Frame } from './wire.js';
import { type EncodedFrame, HeadReader, HeadWriter } from './wire-fields.js';
import { batch, choice, flag, MessageTable, optionalUuid, u32, u64 } from './wire-layout.js';

/** In the order of their codes on the wire: only ever appended to. */
const STATUSES: readonly IoStatus[] = ['ok', 'no-space', 'read-only', 'io-error', 'invalid'];
const REJECTIONS: readonly RejectReason[] = ['not-primary', 'fenced', 'stale-session'];

const FROM_FRONTENDS = new MessageTable<FrontendMessage>(
  'from a frontend',
  {},
  {
    open: { session: u64(), generation: u64() },
    write: { session: u64(), request: u64(), fua: flag(), batch: batch() },
    read: { session: u64(), request: u64(), block: u64(), blocks: u32() },
    sync: { session: u64(), request: u64() },
  },
);

const FROM_PRIMARIES = new MessageTable<SessionMessage>(
  'from a primary',
  {},
  {
    opened: { session: u64(), epoch: u64(), lossVerifier: u64() },
    rejected: { session: u64(), reason: choice(REJECTIONS), primary: optionalUuid() },
    written: { request: u64(), status: choice(STATUSES) },
    data: { request: u64(), status: choice(STATUSES), batch: batch() },
    synced: { request: u64(), status: choice(STATUSES) },
  },
);

export function encodeFrontendMessage(message: FrontendMessage): EncodedFrame {
  return FROM_FRONTENDS.write(new HeadWriter(FROM_FRONTENDS.bytesOf(message)), message);
}

/** Errors: WireError. */
export function decodeFrontendMessage(frame: Frame): FrontendMessage {
  return FROM_FRONTENDS.read(new HeadReader(frame));
}

export function encodeSessionMessage(message: SessionMessage): EncodedFrame {
  return FROM_PRIMARIES.write(new HeadWriter(FROM_PRIMARIES.bytesOf(message)), message);
}

/** Errors: WireError. */
export function decodeSessionMessage(frame: Frame): SessionMessage {
  return FROM_PRIMARIES.read(new HeadReader(frame));
}
