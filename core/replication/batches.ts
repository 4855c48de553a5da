/** Cutting and making batches (core/record.ts). */

import type { StoredBlocks } from '../ports.js';
import {
  type Batch,
  blockAt,
  ENTRY_BYTES,
  type Entry,
  entryCount,
  KIND_GENERATION,
  MAX_BATCH_ENTRIES,
  MAX_BATCH_PAYLOAD_BYTES,
  readEntry,
  tableView,
  writeEntry,
} from '../record.js';
import type { BlockNumber, Generation } from '../types.js';

export const EMPTY_BATCH: Batch = { entries: Buffer.alloc(0), payload: Buffer.alloc(0) };

/** The batch without its first `count` entries; shares its memory. */
export function dropEntries(batch: Batch, count: number): Batch {
  if (count <= 0) return batch;
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += batch.entries.readUInt32LE(i * ENTRY_BYTES + 16);
  const { entries, payload, lease } = batch;
  return { entries: entries.subarray(count * ENTRY_BYTES), payload: payload.subarray(bytes), lease };
}

/**
 * The batches' entries in this order, as one. A single one is not copied, nor are payloads that lie side by side in
 * memory with one lease, which then is that of the whole.
 */
export function joinBatches(batches: readonly Batch[]): Batch {
  if (batches.length === 1) return batches[0]!;
  const entries = Buffer.concat(batches.map((batch) => batch.entries));
  const payload = adjacent(batches);
  if (payload !== undefined) return { entries, payload, lease: batches[0]!.lease };
  return { entries, payload: Buffer.concat(batches.map((batch) => batch.payload)) };
}

/** All payloads as one view; undefined if they are not neighbours. */
function adjacent(batches: readonly Batch[]): Buffer | undefined {
  const { payload: first, lease } = batches[0]!;
  const { buffer, byteOffset } = first;
  let end = byteOffset;
  for (const { payload, lease: other } of batches) {
    if (payload.buffer !== buffer || payload.byteOffset !== end || other !== lease) return undefined;
    end += payload.length;
  }
  return Buffer.from(buffer, byteOffset, end - byteOffset);
}

export interface EntryWithPayload {
  readonly entry: Entry;
  readonly payload: Buffer;
}

/** Entries with their payloads, in order. */
export function* entriesOf(batch: Batch): Generator<EntryWithPayload> {
  let at = 0;
  for (let i = 0; i < entryCount(batch); i++) {
    const entry = readEntry(batch.entries, i);
    yield { entry, payload: batch.payload.subarray(at, at + entry.storedLength) };
    at += entry.storedLength;
  }
}

/** Of each entry its first block. */
export function blocksOf(batch: Batch): BlockNumber[] {
  const table = tableView(batch);
  return Array.from({ length: entryCount(batch) }, (_, i) => blockAt(table, i * ENTRY_BYTES) as BlockNumber);
}

/** The entries that `wanted` accepts, with their orders and payloads. All of them are the same batch, not copied. */
export function onlyWanted({ orders, batch }: StoredBlocks, wanted: (i: number) => boolean): StoredBlocks {
  const chosen = orders.map((_, i) => wanted(i));
  if (chosen.every((each) => each)) return { orders, batch };
  return {
    orders: orders.filter((_, i) => chosen[i]),
    batch: makeBatch([...entriesOf(batch)].filter((_, i) => chosen[i])),
  };
}

export function makeBatch(parts: readonly EntryWithPayload[]): Batch {
  const entries = Buffer.alloc(parts.length * ENTRY_BYTES);
  parts.forEach((part, i) => {
    writeEntry(entries, i, part.entry);
  });
  return { entries, payload: Buffer.concat(parts.map((part) => part.payload)) };
}

export function generationBatch(generation: Generation): Batch {
  const entries = Buffer.alloc(ENTRY_BYTES);
  const entry = { block: generation, blocks: 0, kind: KIND_GENERATION, flags: 0 };
  writeEntry(entries, 0, { ...entry, storedLength: 0, checksumLow: 0, checksumHigh: 0 });
  return { entries, payload: Buffer.alloc(0) };
}

/** Blocks that surely fit into one batch. */
export function blocksPerBatch(blockSize: number): number {
  return Math.min(MAX_BATCH_ENTRIES, Math.floor(MAX_BATCH_PAYLOAD_BYTES / blockSize));
}
