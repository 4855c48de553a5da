/** Makes batches of what a deployment is to keep: gives them their place in the log and brings them into the image. */

import { DiskError, invariant, type LogBatch, type StoredBlocks } from '../../core/ports.js';
import { type Batch, type BatchUse, batchProblem, ENTRY_BYTES, entryCount } from '../../core/record.js';
import type { Order } from '../../core/types.js';
import type { BadBlocks } from './bad-blocks.js';
import type { Checkpointer } from './checkpointer.js';
import type { SpaceUse } from './devices.js';
import type { StoreSettings } from './environment.js';
import { StoreClosedError } from './errors.js';
import {
  BATCH_BACKFILL,
  BATCH_POSITION,
  BATCH_STREAM,
  type BatchHeader,
  emptyHeader,
  HEADER_BYTES,
  ORDER_BYTES,
  tableBytes,
  writeOrder,
} from './format.js';
import type { Image } from './image.js';
import type { Segment } from './segment.js';
import type { SegmentLog } from './segment-log.js';
import type { Throttle } from './throttle.js';

export interface AppenderOptions {
  readonly settings: StoreSettings;
  readonly throttle: Throttle;
  readonly log: SegmentLog;
  readonly image: Image;
  readonly checkpointer: Checkpointer;
  /** Blocks of the volume, and bytes of each. */
  readonly shape: { readonly blocks: number; readonly blockSize: number };
  /** Told of what is replaced. */
  readonly bad: BadBlocks;
  /** Makes the log durable. */
  readonly flush: () => Promise<void>;
  /** An error was final. */
  readonly fail: (error: unknown) => void;
}

export class Appender {
  readonly #options: AppenderOptions;
  readonly #header = emptyHeader();

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  hasRoom(entries: number, payloadBytes: number): boolean {
    return this.#options.log.room.find(bytesOf(entries, payloadBytes), useOf(payloadBytes)) !== undefined;
  }

  /** Errors: DiskError 'no-space' and StoreClosedError, which are not final, and others. */
  async makeRoom(entries: number, payloadBytes: number, use = useOf(payloadBytes)): Promise<void> {
    const { log, checkpointer } = this.#options;
    const bytes = bytesOf(entries, payloadBytes);
    try {
      await log.room.make(bytes, use).catch(async (error: unknown) => {
        // What frees space, as a TRIM does, is refused only if there is no room behind a checkpoint either.
        if (use !== 'record' || !isNoSpace(error)) throw error;
        await checkpointer.freeSpace();
        await log.room.make(bytes, use);
      });
    } catch (error) {
      this.#failed(error);
    }
  }

  /** A full disk is no reason to end; what may free something is begun. Nor is the end itself an error of the store. */
  #failed(error: unknown): never {
    const { checkpointer, fail } = this.#options;
    if (isNoSpace(error)) checkpointer.noSpace();
    else if (!(error instanceof StoreClosedError)) fail(error);
    throw error;
  }

  /** DeploymentStore.append. */
  stream({ epoch, firstSequence, batch }: LogBatch): void {
    const { image, bad } = this.#options;
    this.#check(batch, 'stream');
    const due = image.lastSequence + 1;
    invariant(firstSequence === due, 'the stream has no gaps', () => `${firstSequence} where ${due} is due`);
    const head = this.#describe(BATCH_STREAM, epoch, firstSequence, batch);
    this.#write(head, batch, useOf(batch.payload.length), (header, segment) =>
      image.applyStream(header, batch.entries, segment),
    );
    if (bad.count > 0) bad.replaced(batch);
  }

  /** DeploymentStore.position, which is not where the stream is. */
  position({ epoch, sequence }: Order): void {
    const head = this.#describe(BATCH_POSITION, epoch, sequence, undefined);
    this.#write(head, undefined, 'record', (header) => this.#options.image.applyPosition(header));
  }

  /** DeploymentStore.backfill; `use`: from which share of the space. */
  backfill({ orders, batch }: StoredBlocks, use = useOf(batch.payload.length)): void {
    const { image, bad } = this.#options;
    this.#check(batch, 'blocks');
    invariant(orders.length === entryCount(batch), 'every backfilled entry has an order', () => `${orders.length}`);
    const head = this.#describe(BATCH_BACKFILL, 0, 0, batch);
    let at = HEADER_BYTES + batch.entries.length;
    for (const order of orders) {
      writeOrder(head, at, order);
      at += ORDER_BYTES;
    }
    this.#write(head, batch, use, (header, segment) => {
      image.applyBackfill(header, head.subarray(HEADER_BYTES), segment);
    });
    bad.replaced(batch);
  }

  #check(batch: Batch, use: BatchUse): void {
    const { blocks, blockSize } = this.#options.shape;
    const problem = batchProblem(batch, blocks, blockSize, use);
    invariant(problem === undefined, 'only sound batches are stored', () => problem ?? '');
  }

  /** Fills `#header`; returns room for it with the batch's entries behind it, and room for their orders in a backfill. */
  #describe(kind: number, epoch: number, sequence: number, batch: Batch | undefined): Buffer {
    const header = this.#header;
    header.kind = kind;
    header.epoch = epoch;
    header.sequence = sequence;
    header.entryCount = batch === undefined ? 0 : batch.entries.length / ENTRY_BYTES;
    header.payloadLength = batch === undefined ? 0 : batch.payload.length;
    const head = Buffer.allocUnsafe(HEADER_BYTES + tableBytes(kind, header.entryCount));
    batch?.entries.copy(head, HEADER_BYTES);
    return head;
  }

  /** Appends what `#header` describes, whose table is in `head`, and lets `apply` bring it into the image. */
  #write(
    head: Buffer,
    batch: Batch | undefined,
    use: SpaceUse,
    apply: (header: BatchHeader, segment: Segment) => void,
  ): void {
    const { log, settings, checkpointer, throttle, flush } = this.#options;
    const header = this.#header;
    try {
      apply(header, log.append(header, head, batch, use));
    } catch (error) {
      this.#failed(error);
    }
    if (log.unsyncedBytes >= settings.maxUnsyncedBytes) {
      // Who flushes later is told of a failure; here nobody waits.
      log.unsyncedBytes = 0;
      flush().catch(() => {});
    }
    checkpointer.appended(header);
    if (use === 'payload') throttle.wrote(header.payloadLength);
  }
}

function isNoSpace(error: unknown): boolean {
  return error instanceof DiskError && error.code === 'no-space';
}

/** Bytes of log that a batch takes at the most: those of a backfill. */
function bytesOf(entries: number, payloadBytes: number): number {
  return HEADER_BYTES + tableBytes(BATCH_BACKFILL, entries) + payloadBytes;
}

function useOf(payloadBytes: number): SpaceUse {
  return payloadBytes > 0 ? 'payload' : 'record';
}
