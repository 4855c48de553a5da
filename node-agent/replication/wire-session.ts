/** Bytes of the messages between a frontend and its primary; docs/internals/wire.md, "Session messages". */

import type { FrontendMessage, IoStatus, RejectReason, SessionMessage } from '../../core/messages.js';
import type { BlockNumber, Epoch, Generation, NodeId, SessionNumber } from '../../core/types.js';
import { FRAME, type Frame, WireError } from './wire.js';
import { type EncodedFrame, HeadReader, HeadWriter, UUID_BYTES } from './wire-fields.js';

/** In the order of their codes on the wire: only ever appended to. */
const STATUSES: readonly IoStatus[] = ['ok', 'no-space', 'read-only', 'io-error', 'invalid'];
const REJECTIONS: readonly RejectReason[] = ['not-primary', 'fenced', 'stale-session'];
/** Stands for "not known" where a node id is optional. */
const NO_NODE = '00000000-0000-0000-0000-000000000000';

export function encodeFrontendMessage(message: FrontendMessage): EncodedFrame {
  const type = FRAME[message.type];
  switch (message.type) {
    case 'open':
      return new HeadWriter(16).u64(message.session).u64(message.generation).seal(type);
    case 'write':
      return new HeadWriter(16 + message.batch.entries.length)
        .u64(message.session)
        .u64(message.request)
        .sealBatch(type, message.fua, message.batch);
    case 'read':
      return new HeadWriter(28)
        .u64(message.session)
        .u64(message.request)
        .u64(message.block)
        .u32(message.blocks)
        .seal(type);
    case 'sync':
      return new HeadWriter(16).u64(message.session).u64(message.request).seal(type);
  }
}

/** Errors: WireError. */
export function decodeFrontendMessage(frame: Frame): FrontendMessage {
  const reader = new HeadReader(frame);
  const message = frontendMessage(frame.type, reader);
  reader.end();
  return message;
}

function frontendMessage(type: number, reader: HeadReader): FrontendMessage {
  const session = (): SessionNumber => reader.u64() as SessionNumber;
  switch (type) {
    case FRAME.open:
      return { type: 'open', session: session(), generation: reader.u64() as Generation };
    case FRAME.write:
      return { type: 'write', session: session(), request: reader.u64(), fua: reader.flag, batch: reader.batch() };
    case FRAME.read:
      return {
        type: 'read',
        session: session(),
        request: reader.u64(),
        block: reader.u64() as BlockNumber,
        blocks: reader.u32(),
      };
    case FRAME.sync:
      return { type: 'sync', session: session(), request: reader.u64() };
    default:
      throw new WireError('unexpected', `frame type ${type} from a frontend`);
  }
}

export function encodeSessionMessage(message: SessionMessage): EncodedFrame {
  const type = FRAME[message.type];
  switch (message.type) {
    case 'opened':
      return new HeadWriter(24).u64(message.session).u64(message.epoch).u64(message.lossVerifier).seal(type);
    case 'rejected':
      return new HeadWriter(9 + UUID_BYTES)
        .u64(message.session)
        .u8(REJECTIONS.indexOf(message.reason))
        .uuid(message.primary ?? NO_NODE)
        .seal(type);
    case 'written':
    case 'synced':
      return new HeadWriter(9).u64(message.request).u8(STATUSES.indexOf(message.status)).seal(type);
    case 'data':
      return new HeadWriter(9 + message.batch.entries.length)
        .u64(message.request)
        .u8(STATUSES.indexOf(message.status))
        .sealBatch(type, false, message.batch);
  }
}

/** Errors: WireError. */
export function decodeSessionMessage(frame: Frame): SessionMessage {
  const reader = new HeadReader(frame);
  const message = sessionMessage(frame.type, reader);
  reader.end();
  return message;
}

function sessionMessage(type: number, reader: HeadReader): SessionMessage {
  switch (type) {
    case FRAME.opened:
      return {
        type: 'opened',
        session: reader.u64() as SessionNumber,
        epoch: reader.u64() as Epoch,
        lossVerifier: reader.u64(),
      };
    case FRAME.rejected: {
      const session = reader.u64() as SessionNumber;
      const reason = reader.choice(REJECTIONS);
      const primary = reader.uuid() as NodeId;
      return primary === NO_NODE
        ? { type: 'rejected', session, reason }
        : { type: 'rejected', session, reason, primary };
    }
    case FRAME.written:
      return { type: 'written', request: reader.u64(), status: reader.choice(STATUSES) };
    case FRAME.synced:
      return { type: 'synced', request: reader.u64(), status: reader.choice(STATUSES) };
    case FRAME.data:
      return { type: 'data', request: reader.u64(), status: reader.choice(STATUSES), batch: reader.batch() };
    default:
      throw new WireError('unexpected', `frame type ${type} from a primary`);
  }
}
