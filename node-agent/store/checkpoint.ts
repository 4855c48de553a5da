/**
 * A checkpoint: which pages are the index as of some batch, and what else opening has to know without reading them.
 * The file is small; the pages that it names are in the file `pages`, those that did not change since earlier
 * checkpoints among them. Format 1, which had the whole index in its file, is read by checkpoint-1.ts.
 */

import type { Epoch, Order, Sequence } from '../../core/types.js';
import { type ChunkFile, ChunkWriter, END, HEAD, type RowReader, readChunks } from './chunks.js';
import type { Damage } from './errors.js';
import { readU64, writeU64 } from './format.js';
import type { PagePointer } from './paged/page.js';
import { Slots } from './paged/slots.js';

export const FORMAT = 2;
const SEGMENTS = 2;
const SLOTS = 5;
const SNAPSHOTS = 6;
/** Of the map of slots in one row. */
const SLOT_BYTES = 64;
const ROW_BYTES = { [HEAD]: 88, [SEGMENTS]: 56, [END]: 16, [SLOTS]: SLOT_BYTES, [SNAPSHOTS]: 88 };
/** Of one deployment at the most. */
export const MAX_SNAPSHOTS = 256;

export interface LogPlace {
  readonly segment: number;
  readonly offset: number;
}

export interface SegmentRow {
  readonly number: number;
  /** N of `dev<N>`. */
  readonly device: number;
  readonly size: number;
  readonly lastSequence: number;
  /** Payloads that the pages of the index refer to. */
  readonly blocks: number;
  readonly bytes: number;
  /** Payloads that only snapshots refer to. */
  readonly heldBlocks: number;
  readonly heldBytes: number;
}

/** The index as it was: its pages and the payloads that they refer to stay as long as the snapshot is there. */
export interface Snapshot {
  /** A UUID. */
  readonly id: string;
  /** Last order of the stream then. */
  readonly order: Order;
  /** Wall time, milliseconds since 1970. */
  readonly createdMs: number;
  /** The checkpoint that took it: it has no pages of later ones. */
  readonly checkpoint: number;
  /** Where the log ended: it refers to no payload behind this place. */
  readonly end: LogPlace;
  readonly root: PagePointer | undefined;
}

/** What the log amounts to up to some batch, but for the index itself. */
export interface LogState {
  /** All batches up to this number are in the index. */
  readonly batch: number;
  /** Where the batches behind it begin. */
  readonly start: LogPlace;
  readonly lastEpoch: number;
  readonly lastSequence: number;
  readonly generation: number;
  /** The log has the stream from here on. */
  readonly floor: number;
  readonly streamStart: LogPlace;
}

export interface Checkpoint extends LogState {
  readonly segments: readonly SegmentRow[];
  readonly root: PagePointer | undefined;
  readonly slots: Slots;
  /** In the order in which they were taken. */
  readonly snapshots: readonly Snapshot[];
}

/** The file, and a second one with the same contents: what else would be lost with it is all of the index. */
export function copiesOf(path: string): readonly [string, string] {
  return [path, `${path}.copy`];
}

/**
 * Both copies are durable when it resolves, the directory entries included; returns the length of each. After an error
 * the files are there in part or not at all.
 */
export async function writeCheckpoint(of: ChunkFile, checkpoint: Checkpoint): Promise<number> {
  const { disk, path } = of;
  let bytes = 0;
  for (const copy of copiesOf(path)) bytes = await writeCopy({ ...of, path: copy }, checkpoint);
  await disk.syncDirectory(path.slice(0, path.lastIndexOf('/')));
  return bytes;
}

async function writeCopy(of: ChunkFile, checkpoint: Checkpoint): Promise<number> {
  const { disk, path } = of;
  const file = await disk.openAsync(path, { create: true });
  try {
    await file.truncateAsync(0);
    const writer = new ChunkWriter(of, file, FORMAT, ROW_BYTES);
    writeHead(writer, checkpoint);
    for (const segment of checkpoint.segments) writeSegment(writer, segment);
    const bits = checkpoint.slots.encode();
    for (let from = 0; from < bits.length; from += SLOT_BYTES) {
      const { buffer, at } = writer.row(SLOTS);
      buffer.set(bits.subarray(from, from + SLOT_BYTES), at);
    }
    for (const snapshot of checkpoint.snapshots) writeSnapshot(writer, snapshot);
    const { buffer, at } = writer.row(END);
    writeU64(buffer, checkpoint.snapshots.length, at);
    writeU64(buffer, checkpoint.segments.length, at + 8);
    await writer.finish();
    await file.sync();
    return writer.bytes;
  } finally {
    await file.close();
  }
}

function writePlace(buffer: Buffer, { segment, offset }: LogPlace, at: number): void {
  buffer.writeUInt32LE(segment, at);
  buffer.writeUInt32LE(offset, at + 4);
}

function readPlace(buffer: Buffer, at: number): LogPlace {
  return { segment: buffer.readUInt32LE(at), offset: buffer.readUInt32LE(at + 4) };
}

/** u32 slot, u32 level + 1 (0: there is no root), u64 checkpoint. */
function writeRoot(buffer: Buffer, root: PagePointer | undefined, at: number): void {
  if (root === undefined) return;
  buffer.writeUInt32LE(root.slot, at);
  buffer.writeUInt32LE(root.level + 1, at + 4);
  writeU64(buffer, root.checkpoint, at + 8);
}

function readRoot(buffer: Buffer, at: number): PagePointer | undefined {
  const level = buffer.readUInt32LE(at + 4) - 1;
  return level < 0 ? undefined : { slot: buffer.readUInt32LE(at), level, checkpoint: readU64(buffer, at + 8) };
}

function writeHead(writer: ChunkWriter, checkpoint: Checkpoint): void {
  const { buffer, at } = writer.row(HEAD);
  writeU64(buffer, checkpoint.batch, at);
  writePlace(buffer, checkpoint.start, at + 8);
  writeU64(buffer, checkpoint.lastEpoch, at + 16);
  writeU64(buffer, checkpoint.lastSequence, at + 24);
  writeU64(buffer, checkpoint.generation, at + 32);
  writeU64(buffer, checkpoint.floor, at + 40);
  writePlace(buffer, checkpoint.streamStart, at + 48);
  writeRoot(buffer, checkpoint.root, at + 56);
  writeU64(buffer, checkpoint.slots.length, at + 72);
  writeU64(buffer, checkpoint.slots.used, at + 80);
}

function writeSegment(writer: ChunkWriter, segment: SegmentRow): void {
  const { buffer, at } = writer.row(SEGMENTS);
  buffer.writeUInt32LE(segment.number, at);
  buffer.writeUInt32LE(segment.device, at + 4);
  buffer.writeUInt32LE(segment.size, at + 8);
  buffer.writeUInt32LE(segment.blocks, at + 12);
  writeU64(buffer, segment.lastSequence, at + 16);
  writeU64(buffer, segment.bytes, at + 24);
  writeU64(buffer, segment.heldBlocks, at + 32);
  writeU64(buffer, segment.heldBytes, at + 40);
}

function writeSnapshot(writer: ChunkWriter, snapshot: Snapshot): void {
  const { buffer, at } = writer.row(SNAPSHOTS);
  buffer.set(Buffer.from(snapshot.id.replaceAll('-', ''), 'hex'), at);
  writeU64(buffer, snapshot.order.epoch, at + 16);
  writeU64(buffer, snapshot.order.sequence, at + 24);
  writeU64(buffer, snapshot.createdMs, at + 32);
  writeU64(buffer, snapshot.checkpoint, at + 40);
  writePlace(buffer, snapshot.end, at + 48);
  writeRoot(buffer, snapshot.root, at + 56);
}

/** The reader of format 2. */
export class CheckpointReader implements RowReader<Checkpoint> {
  readonly rowBytes = ROW_BYTES;
  readonly #segments: SegmentRow[] = [];
  readonly #snapshots: Snapshot[] = [];
  readonly #slots: Buffer[] = [];
  #state: (LogState & { readonly root: PagePointer | undefined }) | undefined;
  #slotCount = 0;
  #slotsUsed = 0;
  #totals = { snapshots: 0, segments: 0 };

  row(kind: number, buffer: Buffer, at: number): void {
    switch (kind) {
      case HEAD:
        this.#state = {
          ...readLogState(buffer, at),
          root: readRoot(buffer, at + 56),
        };
        this.#slotCount = readU64(buffer, at + 72);
        this.#slotsUsed = readU64(buffer, at + 80);
        return;
      case SEGMENTS:
        this.#segments.push({
          number: buffer.readUInt32LE(at),
          device: buffer.readUInt32LE(at + 4),
          size: buffer.readUInt32LE(at + 8),
          blocks: buffer.readUInt32LE(at + 12),
          lastSequence: readU64(buffer, at + 16),
          bytes: readU64(buffer, at + 24),
          heldBlocks: readU64(buffer, at + 32),
          heldBytes: readU64(buffer, at + 40),
        });
        return;
      case SLOTS:
        this.#slots.push(Buffer.from(buffer.subarray(at, at + SLOT_BYTES)));
        return;
      case SNAPSHOTS:
        this.#snapshots.push(readSnapshot(buffer, at));
        return;
      default:
        this.#totals = { snapshots: readU64(buffer, at), segments: readU64(buffer, at + 8) };
    }
  }

  finish(): Checkpoint | string {
    const slots = new Slots(new Uint8Array(Buffer.concat(this.#slots)), this.#slotCount);
    const whole =
      this.#state !== undefined &&
      this.#segments.length === this.#totals.segments &&
      this.#snapshots.length === this.#totals.snapshots &&
      this.#slotCount <= this.#slots.length * SLOT_BYTES * 8 &&
      slots.used === this.#slotsUsed;
    if (!whole) return 'rows are missing';
    return { ...this.#state!, segments: this.#segments, slots, snapshots: this.#snapshots };
  }
}

/** The beginning of a HEAD: the same in both formats. */
export function readLogState(buffer: Buffer, at: number): LogState {
  return {
    batch: readU64(buffer, at),
    start: readPlace(buffer, at + 8),
    lastEpoch: readU64(buffer, at + 16),
    lastSequence: readU64(buffer, at + 24),
    generation: readU64(buffer, at + 32),
    floor: readU64(buffer, at + 40),
    streamStart: readPlace(buffer, at + 48),
  };
}

function readSnapshot(buffer: Buffer, at: number): Snapshot {
  const hex = buffer.toString('hex', at, at + 16);
  const id = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  return {
    id,
    order: { epoch: readU64(buffer, at + 16) as Epoch, sequence: readU64(buffer, at + 24) as Sequence },
    createdMs: readU64(buffer, at + 32),
    checkpoint: readU64(buffer, at + 40),
    end: readPlace(buffer, at + 48),
    root: readRoot(buffer, at + 56),
  };
}

/** Reads a checkpoint of the present format, as the superblock names it; or says what is wrong with it. */
export function readCheckpoint(of: ChunkFile, bytes: number): Promise<Checkpoint | Damage> {
  return readChunks(of, bytes, (format) => (format === FORMAT ? new CheckpointReader() : undefined));
}
