/**
 * The log's batches, to the byte (docs/internals/store.md). A batch is a header, its table (entries as in
 * core/record.ts, for a backfill followed by one order per entry) and the entries' payloads, in one piece.
 * Numbers are little-endian; 64-bit ones are at most 2^53 - 1.
 */

import { crc32 } from 'node:zlib';
import { ENTRY_BYTES, MAX_BATCH_ENTRIES, MAX_BATCH_PAYLOAD_BYTES } from '../../core/record.js';
import type { DeploymentId, Order, VolumeId } from '../../core/types.js';

export const BATCH_MAGIC = 0x42534f53; // "SOSB"
export const BATCH_FORMAT = 1;
export const HEADER_BYTES = 104;
/** An order in a backfill's table: epoch, sequence. */
export const ORDER_BYTES = 16;
export const MAX_TABLE_BYTES = MAX_BATCH_ENTRIES * (ENTRY_BYTES + ORDER_BYTES);

/** Entries of the stream, contiguous from the header's order on. */
export const BATCH_STREAM = 1;
/** Blocks beside the stream, each with its own order. */
export const BATCH_BACKFILL = 2;
/** No entries: the stream goes on behind the header's order. */
export const BATCH_POSITION = 3;

/** What every structure of a deployment carries, so that nothing of another one is ever taken for its own. */
export interface StoreIdentity {
  readonly volume: VolumeId;
  readonly deployment: DeploymentId;
  /** Both ids as 32 bytes. */
  readonly bytes: Buffer;
}

export function storeIdentity(volume: VolumeId, deployment: DeploymentId): StoreIdentity {
  const bytes = Buffer.from((volume + deployment).replaceAll('-', ''), 'hex');
  if (bytes.length !== 32) throw new RangeError(`not UUIDs: ${volume}, ${deployment}`);
  return { volume, deployment, bytes };
}

export interface BatchHeader {
  kind: number;
  /** How often the deployment had been opened when this was written. */
  opening: number;
  segment: number;
  /** Of the header within the segment's file, bytes. */
  offset: number;
  /** Counts the deployment's batches from 1, without gaps. */
  number: number;
  /** All batches up to this number were durable when this one was written. */
  durable: number;
  /** Order of the first entry (stream) or the position; 0 for a backfill. */
  epoch: number;
  sequence: number;
  entryCount: number;
  payloadLength: number;
}

export function emptyHeader(): BatchHeader {
  return {
    kind: 0,
    opening: 0,
    segment: 0,
    offset: 0,
    number: 0,
    durable: 0,
    epoch: 0,
    sequence: 0,
    entryCount: 0,
    payloadLength: 0,
  };
}

export function writeU64(buffer: Buffer, value: number, at: number): void {
  buffer.writeUInt32LE(value % 2 ** 32, at);
  buffer.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

/** May exceed 2^53 - 1, rounded, if the bytes are not ours: callers check. */
export function readU64(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * 2 ** 32;
}

export function tableBytes(kind: number, entryCount: number): number {
  return entryCount * (kind === BATCH_BACKFILL ? ENTRY_BYTES + ORDER_BYTES : ENTRY_BYTES);
}

export function batchBytes(header: BatchHeader): number {
  return HEADER_BYTES + tableBytes(header.kind, header.entryCount) + header.payloadLength;
}

/** Writes header and checksum in front of the table, which is in `head` from HEADER_BYTES on already. */
export function sealHead(head: Buffer, identity: StoreIdentity, header: BatchHeader): void {
  head.writeUInt32LE(BATCH_MAGIC, 0);
  head.writeUInt16LE(BATCH_FORMAT, 8);
  head.writeUInt8(header.kind, 10);
  head.writeUInt8(0, 11);
  head.writeUInt32LE(header.opening, 12);
  identity.bytes.copy(head, 16);
  head.writeUInt32LE(header.segment, 48);
  head.writeUInt32LE(header.offset, 52);
  writeU64(head, header.number, 56);
  writeU64(head, header.durable, 64);
  writeU64(head, header.epoch, 72);
  writeU64(head, header.sequence, 80);
  head.writeUInt32LE(header.entryCount, 88);
  head.writeUInt32LE(header.payloadLength, 92);
  head.writeUInt32LE(crc32(head.subarray(HEADER_BYTES)), 96);
  head.writeUInt32LE(0, 100);
  head.writeUInt32LE(crc32(head.subarray(8, HEADER_BYTES)), 4);
}

/**
 * The header at `at`, if it is whole, and one of this deployment's at this very place; the table's checksum is
 * `tableIntact`'s to check.
 */
export function parseHeader(
  buffer: Buffer,
  at: number,
  identity: StoreIdentity,
  segment: number,
  offset: number,
): BatchHeader | undefined {
  if (buffer.readUInt32LE(at) !== BATCH_MAGIC || buffer.readUInt16LE(at + 8) !== BATCH_FORMAT) return undefined;
  if (buffer.readUInt32LE(at + 4) !== crc32(buffer.subarray(at + 8, at + HEADER_BYTES))) return undefined;
  if (identity.bytes.compare(buffer, at + 16, at + 48) !== 0) return undefined;
  const header: BatchHeader = {
    kind: buffer.readUInt8(at + 10),
    opening: buffer.readUInt32LE(at + 12),
    segment: buffer.readUInt32LE(at + 48),
    offset: buffer.readUInt32LE(at + 52),
    number: readU64(buffer, at + 56),
    durable: readU64(buffer, at + 64),
    epoch: readU64(buffer, at + 72),
    sequence: readU64(buffer, at + 80),
    entryCount: buffer.readUInt32LE(at + 88),
    payloadLength: buffer.readUInt32LE(at + 92),
  };
  if (header.segment !== segment || header.offset !== offset) return undefined;
  if (header.kind < BATCH_STREAM || header.kind > BATCH_POSITION) return undefined;
  if (header.entryCount > MAX_BATCH_ENTRIES || header.payloadLength > MAX_BATCH_PAYLOAD_BYTES) return undefined;
  if (![header.number, header.durable, header.epoch, header.sequence].every(Number.isSafeInteger)) return undefined;
  return header;
}

/** Whether the table, in `buffer` behind the header at `at`, matches its checksum. */
export function tableIntact(buffer: Buffer, at: number, header: BatchHeader): boolean {
  const table = at + HEADER_BYTES;
  const end = table + tableBytes(header.kind, header.entryCount);
  return buffer.readUInt32LE(at + 96) === crc32(buffer.subarray(table, end));
}

export function writeOrder(buffer: Buffer, at: number, order: Order): void {
  writeU64(buffer, order.epoch, at);
  writeU64(buffer, order.sequence, at + 8);
}

/** `vol.<inode>.<k>.blob` */
export function segmentName(inode: number, segment: number): string {
  return `vol.${inode}.${segment}.blob`;
}

const SEGMENT_NAME = /^vol\.([1-9]\d{0,14})\.(0|[1-9]\d{0,9})\.blob$/;

export function parseSegmentName(name: string): { readonly inode: number; readonly segment: number } | undefined {
  const match = SEGMENT_NAME.exec(name);
  return match === null ? undefined : { inode: Number(match[1]), segment: Number(match[2]) };
}
