/** Reads the stream back from the log, for members that lack its end. */

import { DiskError, type LogBatch } from '../../core/ports.js';
import { ENTRY_BYTES } from '../../core/record.js';
import type { Epoch, HistoryEntry, Sequence } from '../../core/types.js';
import type { BlockChecksums } from '../codec/index.js';
import { badEntries } from './block-reader.js';
import type { FilePool } from './file-pool.js';
import { BATCH_STREAM, type StoreIdentity } from './format.js';
import type { Image } from './image.js';
import { lastLive } from './live.js';
import { type ScannedBatch, SegmentScanner } from './log-scanner.js';
import type { Segment } from './segment.js';
import type { SegmentLog } from './segment-log.js';

export interface LogReaderOptions {
  readonly identity: StoreIdentity;
  readonly log: SegmentLog;
  readonly image: Image;
  readonly pool: FilePool;
  readonly checksums: BlockChecksums;
}

/**
 * DeploymentStore.readLog. A batch that has gone bad, or cannot be read, ends the answer as if the log did not
 * reach back so far: whoever asked takes the blocks instead.
 */
export async function readLog(
  options: LogReaderOptions,
  history: readonly HistoryEntry[],
  from: Sequence,
  maxBytes: number,
): Promise<LogBatch[] | undefined> {
  const { log, image } = options;
  const { positions } = image;
  if (from > image.lastSequence) return [];
  const batches: LogBatch[] = [];
  let bytes = 0;
  let due: number = from;
  const end = image.lastSequence;
  const segments = [...log.segments.values()].filter(
    ({ number, lastSequence }) => number >= image.streamStart.segment && lastSequence >= from,
  );
  for (const segment of segments) {
    if (due < image.floor || positions !== image.positions) break;
    const { streamStart } = image;
    const begin = segment.number === streamStart.segment ? streamStart.offset : 0;
    for await (const found of scan(options, segment, Math.max(begin, segment.markBefore(due)))) {
      if (found === undefined) return batches.length > 0 ? batches : undefined;
      const { header } = found;
      const next = header.sequence + header.entryCount;
      if (header.kind !== BATCH_STREAM || next <= due) continue;
      if (header.sequence > due) return batches.length > 0 ? batches : undefined;
      if (badEntries(options.checksums, found.batch).length > 0) return batches.length > 0 ? batches : undefined;
      const live = Math.max(0, Math.min(next - 1, lastLive(header.epoch as Epoch, history)) - due + 1);
      const whole = live === next - due;
      if (live > 0) {
        const batch = slice(found, due - header.sequence, live);
        // Entries count too, as TRIMs have no payload.
        bytes += batch.payload.length + batch.entries.length;
        if (batches.length > 0 && bytes > maxBytes) return batches;
        batches.push({ epoch: header.epoch as Epoch, firstSequence: due as Sequence, batch });
      }
      due = next;
      if (!whole || due > end) return batches;
    }
  }
  return batches.length > 0 || due > end ? batches : undefined;
}

/** The segment's batches from `offset` on; undefined where one is damaged or unreadable, or the file is gone. */
async function* scan(
  { identity, pool, log }: LogReaderOptions,
  segment: Segment,
  offset: number,
): AsyncGenerator<ScannedBatch | undefined> {
  const { size } = segment;
  await log.readable(segment);
  let pooled: ReturnType<FilePool['acquire']>;
  try {
    pooled = pool.acquire(segment.path);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return yield undefined;
  }
  try {
    const scanner = new SegmentScanner(pooled.file, identity, segment.number, size);
    for (let at = offset; at < scanner.size; ) {
      const found = await scanner.batch(at).catch(unlessUnreadable);
      if (found === undefined || !('header' in found)) return yield undefined;
      yield found;
      at = found.end;
    }
  } finally {
    pool.release(pooled);
  }
}

/** A place that the disk cannot read is a damaged batch like any other: no reason for the whole store to fail. */
function isUnreadable(error: unknown): boolean {
  return error instanceof DiskError && (error.code === 'io' || error.code === 'not-found');
}

function unlessUnreadable(error: unknown): undefined {
  if (!isUnreadable(error)) throw error;
}

/** `count` entries of a batch from the `first` on, with their payloads. */
function slice({ batch: { entries, payload } }: ScannedBatch, first: number, count: number): LogBatch['batch'] {
  const lengthOf = (from: number, to: number): number => {
    let length = 0;
    for (let i = from; i < to; i++) length += entries.readUInt32LE(i * ENTRY_BYTES + 16);
    return length;
  };
  const skip = lengthOf(0, first);
  return {
    entries: entries.subarray(first * ENTRY_BYTES, (first + count) * ENTRY_BYTES),
    payload: payload.subarray(skip, skip + lengthOf(first, first + count)),
  };
}
