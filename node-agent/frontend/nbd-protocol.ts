/**
 * Constants of the NBD protocol, fixed newstyle with structured replies. All numbers on the wire are
 * big-endian. Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 */

import type { IoStatus } from '../../core/messages.js';

export const MAGIC_GREETING = Buffer.from('NBDMAGIC', 'latin1');
export const MAGIC_OPTION = Buffer.from('IHAVEOPT', 'latin1');
export const MAGIC_OPTION_REPLY = Buffer.from('0003e889045565a9', 'hex');
export const MAGIC_REQUEST = 0x25609513;
export const MAGIC_SIMPLE_REPLY = 0x67446698;
export const MAGIC_STRUCTURED_REPLY = 0x668e33ef;

export const REQUEST_BYTES = 28;
export const OPTION_HEADER_BYTES = 16;

/** Handshake flags; the client's have the same bits. */
export const HANDSHAKE_FIXED_NEWSTYLE = 1;
export const HANDSHAKE_NO_ZEROES = 2;

export const OPT = {
  exportName: 1,
  abort: 2,
  list: 3,
  info: 6,
  go: 7,
  structuredReply: 8,
} as const;

export const REP = {
  ack: 1,
  server: 2,
  info: 3,
  unsupported: 0x8000_0001,
  invalid: 0x8000_0003,
  unknown: 0x8000_0006,
} as const;

export const INFO = { export: 0, name: 1, blockSize: 3 } as const;

export const TRANSMISSION = {
  hasFlags: 1,
  readOnly: 2,
  sendFlush: 4,
  sendFua: 8,
  sendTrim: 32,
  sendWriteZeroes: 64,
  sendDf: 128,
  canMultiConn: 256,
  sendFastZero: 2048,
} as const;

export const CMD = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  writeZeroes: 6,
} as const;

export const CMD_FLAG = { fua: 1, noHole: 2, df: 4, fastZero: 16 } as const;

export const REPLY_FLAG_DONE = 1;
export const CHUNK = { none: 0, offsetData: 1, error: 0x8001 } as const;

export const ERR = {
  ok: 0,
  perm: 1,
  io: 5,
  invalid: 22,
  noSpace: 28,
  notSupported: 95,
} as const;

export type NbdError = (typeof ERR)[keyof typeof ERR];

export function errorOf(status: IoStatus): NbdError {
  switch (status) {
    case 'ok':
      return ERR.ok;
    case 'no-space':
      return ERR.noSpace;
    case 'read-only':
      return ERR.perm;
    case 'io-error':
      return ERR.io;
    case 'invalid':
      return ERR.invalid;
  }
}

/** Bytes of one READ or WRITE at the most; what nearly all clients take as the limit anyway. */
export const MAX_REQUEST_BYTES = 32 << 20;
/** Data of one option at the most; a longer one ends the connection. */
export const MAX_OPTION_BYTES = 16 << 10;
/** Options in one handshake at the most. */
export const MAX_OPTIONS = 128;

/** The client does not speak the protocol; the connection cannot go on. */
export class NbdProtocolError extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'NbdProtocolError';
  }
}
