/** A DeploymentStore in memory: the log as a list, the index beside it; what is durable is a prefix. */

import { isDead } from '../../core/order.js';
import {
  type DeploymentState,
  type DeploymentStatePatch,
  type DeploymentStore,
  DiskError,
  type IndexedBlock,
  invariant,
  type LogBatch,
  type StoredBlocks,
} from '../../core/ports.js';
import { entryCount, KIND_GENERATION, KIND_ZERO, zeroEntry } from '../../core/record.js';
import { dropEntries, type EntryWithPayload, entriesOf, makeBatch } from '../../core/replication/batches.js';
import type {
  BlockNumber,
  DeploymentId,
  Generation,
  HistoryEntry,
  Incarnation,
  Order,
  Sequence,
  VolumeId,
} from '../../core/types.js';
import { ORDER_ZERO } from '../../core/types.js';
import type { Scheduler, SeededRandom, SimProcess } from './scheduler.js';

type LogRecord =
  | { readonly kind: 'stream'; readonly batch: LogBatch }
  | { readonly kind: 'position'; readonly order: Order }
  | { readonly kind: 'backfill'; readonly blocks: StoredBlocks };

/** What a disk holds. */
export class MemoryMedia {
  state: DeploymentState;
  log: LogRecord[] = [];
  durable = 0;
  full = false;
  failSync = false;
  powerLost = false;

  constructor(volume: VolumeId, deployment: DeploymentId, blocks: number, etcdClusterId: string) {
    this.state = {
      volume,
      deployment,
      blockSize: 4096,
      blocks,
      promised: 0 as DeploymentState['promised'],
      history: [],
      unclean: false,
      syncBase: null,
      etcdClusterId,
    };
  }

  losePower(random: SeededRandom): void {
    this.log = this.log.slice(0, random.int(this.durable, this.log.length));
    this.powerLost = true;
  }
}

export class MemoryStore implements DeploymentStore {
  readonly incarnation: Incarnation;
  last: Order = ORDER_ZERO;
  generation = 0 as Generation;
  durable = 0 as Sequence;
  usedBytes = 0;
  readonly #media: MemoryMedia;
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #process: SimProcess;
  readonly #index = new Map<number, { order: Order; part: EntryWithPayload }>();
  #failed = false;
  #updates: Promise<void> = Promise.resolve();

  constructor(media: MemoryMedia, scheduler: Scheduler, random: SeededRandom, process: SimProcess) {
    this.#media = media;
    this.#scheduler = scheduler;
    this.#random = random;
    this.#process = process;
    this.incarnation = random.uuid() as Incarnation;
    if (media.powerLost) {
      media.state = { ...media.state, unclean: true };
      media.powerLost = false;
    }
    for (const record of media.log) this.#apply(record);
    this.durable = 0 as Sequence;
  }

  get state(): DeploymentState {
    return this.#media.state;
  }

  #later(minMs: number, maxMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#scheduler.after(this.#random.between(minMs, maxMs), () => this.#process.run(resolve));
    });
  }

  #check(): void {
    if (this.#failed) throw new DiskError('io', 'memory', 'the store has failed');
  }

  update(patch: DeploymentStatePatch): Promise<void> {
    this.#check();
    this.#updates = this.#updates.then(async () => {
      await this.#later(0.2, 3);
      this.#media.state = { ...this.#media.state, ...patch };
    });
    return this.#updates;
  }

  #apply(record: LogRecord): void {
    if (record.kind === 'position') {
      this.last = record.order;
      return;
    }
    let sequence = record.kind === 'stream' ? record.batch.firstSequence : 0;
    let i = 0;
    const batch = record.kind === 'stream' ? record.batch.batch : record.blocks.batch;
    for (const part of entriesOf(batch)) {
      const order: Order =
        record.kind === 'stream'
          ? { epoch: record.batch.epoch, sequence: sequence++ as Sequence }
          : record.blocks.orders[i++]!;
      if (record.kind === 'stream') this.last = order;
      if (part.entry.kind === KIND_GENERATION) {
        this.generation = Math.max(this.generation, part.entry.block) as Generation;
        continue;
      }
      for (let block = part.entry.block; block < part.entry.block + part.entry.blocks; block++) {
        if (order.sequence === 0) this.#index.delete(block);
        else this.#index.set(block, { order, part });
      }
    }
  }

  append(batch: LogBatch): void {
    this.#check();
    if (this.#media.full) throw new DiskError('no-space', 'memory', 'full');
    invariant(
      batch.firstSequence === this.last.sequence + 1,
      'I7',
      () => `append of ${batch.firstSequence} behind ${this.last.sequence}`,
    );
    this.#put({ kind: 'stream', batch });
  }

  #put(record: LogRecord): void {
    this.#media.log.push(record);
    this.#apply(record);
  }

  position(position: Order): void {
    this.#check();
    this.#put({ kind: 'position', order: position });
  }

  backfill(blocks: StoredBlocks): void {
    this.#check();
    if (this.#media.full) throw new DiskError('no-space', 'memory', 'full');
    this.#put({ kind: 'backfill', blocks });
  }

  async flush(): Promise<void> {
    this.#check();
    const upTo = this.#media.log.length;
    const { sequence } = this.last;
    await this.#later(0.2, 8);
    if (this.#media.failSync) {
      this.#media.failSync = false;
      this.#failed = true;
      this.#media.powerLost = true;
      throw new DiskError('io', 'memory', 'sync failed');
    }
    this.#check();
    this.#media.durable = Math.max(this.#media.durable, upTo);
    if (sequence > this.durable) this.durable = sequence;
  }

  lookup(block: BlockNumber): IndexedBlock | undefined {
    const found = this.#index.get(block);
    if (found === undefined) return undefined;
    const { kind, flags, storedLength, checksumLow, checksumHigh } = found.part.entry;
    return { block, order: found.order, kind, flags, storedLength, checksumLow, checksumHigh };
  }

  async read(first: BlockNumber, blocks: number): Promise<StoredBlocks> {
    return this.readBlocks(Array.from({ length: blocks }, (_, i) => (first + i) as BlockNumber));
  }

  async readBlocks(blocks: readonly BlockNumber[]): Promise<StoredBlocks> {
    this.#check();
    await this.#later(0.05, 1);
    const orders: Order[] = [];
    const parts = blocks.map((block): EntryWithPayload => {
      const found = this.#index.get(block);
      orders.push(found?.order ?? ORDER_ZERO);
      if (found === undefined || found.part.entry.kind === KIND_ZERO) {
        return { entry: zeroEntry(block, 1), payload: Buffer.alloc(0) };
      }
      return found.part;
    });
    return { orders, batch: makeBatch(parts) };
  }

  async readLog(from: Sequence, maxBytes: number): Promise<LogBatch[] | undefined> {
    await this.#later(0.05, 1);
    const stream: LogBatch[] = [];
    for (const record of this.#media.log) {
      if (record.kind === 'position') {
        while (stream.length > 0 && stream[stream.length - 1]!.firstSequence > record.order.sequence) stream.pop();
        if (record.order.sequence >= from && stream.length === 0) continue;
      } else if (record.kind === 'stream') {
        const { epoch, firstSequence } = record.batch;
        if (!isDead({ epoch, sequence: firstSequence }, this.state.history)) stream.push(record.batch);
      }
    }
    const found: LogBatch[] = [];
    let bytes = 0;
    let expected: number = from;
    for (const batch of stream) {
      const count = entryCount(batch.batch);
      if (batch.firstSequence + count <= expected) continue;
      if (batch.firstSequence > expected) return found.length > 0 ? found : undefined;
      const skip = expected - batch.firstSequence;
      found.push({ epoch: batch.epoch, firstSequence: expected as Sequence, batch: dropEntries(batch.batch, skip) });
      expected = batch.firstSequence + count;
      bytes += batch.batch.payload.length;
      if (bytes >= maxBytes) break;
    }
    return found;
  }

  newerThan(after: Sequence, from: BlockNumber, limit: number): BlockNumber[] {
    return this.#blocks(from, limit, (order) => order.sequence > after);
  }

  deadBlocks(history: readonly HistoryEntry[], from: BlockNumber, limit: number): BlockNumber[] {
    return this.#blocks(from, limit, (order) => isDead(order, history));
  }

  #blocks(from: number, limit: number, wanted: (order: Order) => boolean): BlockNumber[] {
    return [...this.#index.entries()]
      .filter(([block, { order }]) => block >= from && wanted(order))
      .map(([block]) => block as BlockNumber)
      .sort((a, b) => a - b)
      .slice(0, limit);
  }

  async close(): Promise<void> {
    this.#media.durable = this.#media.log.length;
  }
}
