/**
 * What a disk does behind everybody's back, and a network. On disks, only payloads are damaged of which something else
 * on the disk says that they had been durable: the superblock, or a later batch. What nothing says that of cannot be
 * told from a torn write, and an opening after a power cut takes it for one; a log whose end has gone bad on every copy
 * is beyond what copies can survive (docs/internals/replication.md, "Simulation").
 */

import { ENTRY_BYTES, KIND_DATA, readEntry } from '../../core/record.js';
import {
  type BatchHeader,
  batchBytes,
  HEADER_BYTES,
  parseHeader,
  parseSegmentName,
  type StoreIdentity,
  storeIdentity,
  tableBytes,
} from '../../node-agent/store/format.js';
import { decodeSuperblock } from '../../node-agent/store/superblock.js';
import type { SeededRandom } from './scheduler.js';
import type { SimDisk } from './sim-disk.js';

/** A stored payload. */
interface Place {
  readonly path: string;
  readonly position: number;
  readonly length: number;
}

interface Batch {
  readonly path: string;
  readonly bytes: Buffer;
  readonly header: BatchHeader;
}

/** Flips a bit of a payload; false if there is none that may be damaged. */
export function rot(disk: SimDisk, random: SeededRandom): boolean {
  const place = pick(provenPayloads(disk), random);
  if (place === undefined) return false;
  const bit = 1 << random.int(0, 7);
  disk.damage(place.path, place.position + random.int(0, place.length - 1), (byte) => byte ^ bit);
  return true;
}

/** A write that went elsewhere: one payload stands in another one's place. */
export function misdirect(disk: SimDisk, random: SeededRandom): boolean {
  const places = provenPayloads(disk);
  const target = pick(places, random);
  const source = pick(places, random);
  if (target === undefined || source === undefined || source === target) return false;
  const bytes = disk.contents(source.path);
  for (let i = 0; i < Math.min(source.length, target.length); i++) {
    disk.damage(target.path, target.position + i, () => bytes[source.position + i]!);
  }
  return true;
}

/** Of the messages with a payload. */
const GARBLED = 0.01;

/** The message as it arrives: seldom, and only if there is somebody to choose it by, a bit of its payload is another one. */
export function garbled<Message>(message: Message, random: SeededRandom | undefined): Message {
  const { batch } = message as { readonly batch?: { readonly entries: Buffer; readonly payload: Buffer } };
  if (random === undefined || batch === undefined || batch.payload.length === 0 || !random.chance(GARBLED))
    return message;
  const payload = Buffer.from(batch.payload);
  payload[random.int(0, payload.length - 1)]! ^= 1 << random.int(0, 7);
  return { ...message, batch: { entries: batch.entries, payload } };
}

function pick<T>(from: readonly T[], random: SeededRandom): T | undefined {
  return from.length === 0 ? undefined : random.pick(from);
}

export function provenPayloads(disk: SimDisk): Place[] {
  const found: Place[] = [];
  for (const [inode, { identity, durableBatch }] of deploymentsOn(disk)) {
    const batches = batchesOf(disk, inode, identity);
    const proven = Math.max(durableBatch, ...batches.map(({ header }) => header.durable));
    for (const { path, bytes, header } of batches) {
      if (header.number > proven) continue;
      const table = header.offset + HEADER_BYTES;
      let position = table + tableBytes(header.kind, header.entryCount);
      for (let i = 0; i < header.entryCount; i++) {
        const { kind, storedLength } = readEntry(bytes.subarray(table, table + header.entryCount * ENTRY_BYTES), i);
        if (kind === KIND_DATA && storedLength > 0) found.push({ path, position, length: storedLength });
        position += storedLength;
      }
    }
  }
  return found;
}

/** By the number in the names of their files, what the newest durable superblock says. */
function deploymentsOn(disk: SimDisk): Map<number, { identity: StoreIdentity; durableBatch: number }> {
  const newest = new Map<number, { identity: StoreIdentity; durableBatch: number; number: number }>();
  for (const path of disk.files()) {
    if (!/\/super\.\d$/.test(path)) continue;
    const decoded = decodeSuperblock(Buffer.from(disk.file(path).durable.view()));
    if (typeof decoded === 'string') continue;
    const { superblock, number } = decoded;
    const { inode, volume, deployment, durableBatch } = superblock;
    if ((newest.get(inode)?.number ?? -1) > number) continue;
    newest.set(inode, { identity: storeIdentity(volume, deployment), durableBatch, number });
  }
  return newest;
}

/** As they are on the disk itself, from the beginning of each segment to the first that is not whole. */
function batchesOf(disk: SimDisk, inode: number, identity: StoreIdentity): Batch[] {
  const found: Batch[] = [];
  for (const path of disk.files()) {
    const parsed = parseSegmentName(path.slice(path.lastIndexOf('/') + 1));
    if (parsed?.inode !== inode) continue;
    const bytes = Buffer.from(disk.file(path).durable.view());
    for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
      const header = parseHeader(bytes, at, identity, parsed.segment, at);
      if (header === undefined || at + batchBytes(header) > bytes.length) break;
      found.push({ path, bytes, header });
      at += batchBytes(header);
    }
  }
  return found;
}
