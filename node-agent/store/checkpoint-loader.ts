/**
 * The first half of an opening: what the checkpoint says, the index and the segments that it refers to. What is damaged
 * of the index is left out and can be filled in from the log; what else is missing ends the opening.
 */

import type { Disk } from '../../core/ports.js';
import {
  type Checkpoint,
  CheckpointReader,
  copiesOf,
  FORMAT,
  type LogState,
  type SegmentRow,
  type Snapshot,
} from './checkpoint.js';
import { type Checkpoint1, Checkpoint1Reader, OldIndex } from './checkpoint-1.js';
import type { CheckpointNumbers } from './checkpoint-numbers.js';
import { readChunks } from './chunks.js';
import { type Damage, IndexDamageError, StoreCorruptError } from './errors.js';
import type { StoreIdentity } from './format.js';
import type { Image } from './image.js';
import type { IndexSpill } from './index-spill.js';
import type { PagePointer } from './paged/page.js';
import { countHeld } from './paged/snapshot-removal.js';
import { type BlockRange, repairTree } from './paged/tree-repair.js';
import type { Segment } from './segment.js';
import type { SegmentLog } from './segment-log.js';
import type { Superblock } from './superblock.js';

type LoadedSegment = Omit<SegmentRow, 'device'>;

export interface Loaded {
  readonly state: LogState;
  readonly segments: readonly LoadedSegment[];
  readonly snapshots: readonly Snapshot[];
  readonly checkpointDue: boolean;
  /** The index has lost what it knew of these blocks. */
  readonly gaps: readonly BlockRange[];
}

const BEGINNING = { segment: 0, offset: 0 };
/** Of a deployment that had no checkpoint yet. */
const NOTHING: Loaded = {
  state: {
    batch: 0,
    start: BEGINNING,
    lastEpoch: 0,
    lastSequence: 0,
    generation: 0,
    floor: 1,
    streamStart: BEGINNING,
  },
  segments: [],
  snapshots: [],
  checkpointDue: false,
  gaps: [],
};

/** As it lies on its device. */
export interface SegmentFile {
  readonly segment: Segment;
  readonly size: number;
}

export interface CheckpointLoaderOptions {
  readonly disk: Disk;
  readonly identity: StoreIdentity;
  readonly superblock: Superblock;
  readonly checkpointPath: (number: number) => string;
  readonly log: SegmentLog;
  readonly image: Image;
  /** Lets others have their turn. */
  readonly pause: () => Promise<void>;
  /** For what is written into the pages before the opening's first checkpoint. Absent: nothing may be. */
  readonly numbers?: CheckpointNumbers;
}

export class CheckpointLoader {
  readonly #options: CheckpointLoaderOptions;
  readonly #spill: IndexSpill | undefined;
  /** Of the index: what was damaged and has been left out, in memory so far. */
  readonly damages: Damage[] = [];

  /** `spill` is told of pages that a repair has written; without it nothing may be repaired. */
  constructor(options: CheckpointLoaderOptions, spill: IndexSpill | undefined) {
    this.#options = options;
    this.#spill = spill;
  }

  /** Fills image and log as of the checkpoint. Errors: StoreCorruptError, the disk's. */
  async load(files: ReadonlyMap<number, SegmentFile>): Promise<Loaded> {
    const { superblock, image, log } = this.#options;
    if (superblock.damage !== null && this.#spill === undefined) this.#fail(superblock.damage);
    const loaded = superblock.checkpoint === null ? NOTHING : await this.#readCheckpoint(superblock.checkpoint);
    for (const row of loaded.segments) this.#adopt(row, files.get(row.number), loaded);
    const { state } = loaded;
    image.lastEpoch = state.lastEpoch;
    image.lastSequence = state.lastSequence;
    image.generation = state.generation;
    image.floor = state.floor;
    image.streamStart = state.streamStart;
    log.nextSegment = Math.max(log.nextSegment, state.start.segment);
    return loaded;
  }

  /** From either of its files. */
  async #readCheckpoint({ number, bytes }: NonNullable<Superblock['checkpoint']>): Promise<Loaded> {
    const { checkpointPath } = this.#options;
    const [path, copy] = copiesOf(checkpointPath(number));
    const first = await this.#readFile(path, number, bytes);
    if (!('what' in first)) return first;
    const second = await this.#readFile(copy, number, bytes);
    if ('what' in second) this.#fail(second.unread === true ? second : first);
    this.damages.push(first);
    return { ...second, checkpointDue: true };
  }

  async #readFile(path: string, number: number, bytes: number): Promise<Loaded | Damage> {
    const { disk, identity, image } = this.#options;
    const { file } = image.index;
    let old!: OldIndex;
    const read = await readChunks<Checkpoint | Checkpoint1>({ disk, path, identity, number }, bytes, (format) => {
      if (format === FORMAT) return new CheckpointReader();
      if (format !== 1) return undefined;
      old = new OldIndex(file, number);
      return new Checkpoint1Reader((block, record) => old.put(block, record));
    });
    if ('what' in read) return read;
    if ('format' in read) {
      image.index.publish(await old.finish(), false);
      return { state: read, segments: old.segments(read.segments), snapshots: [], checkpointDue: true, gaps: [] };
    }
    file.slots = read.slots;
    image.index.publish(read.root, false);
    const { segments, snapshots } = read;
    const loaded: Loaded = { state: read, segments, snapshots, checkpointDue: false, gaps: [] };
    const damage = this.#options.superblock.damage ?? (await this.#damagedRoot(read.root));
    if (damage === null || read.root === undefined) return loaded;
    return this.#repair(read.root, damage, loaded);
  }

  async #damagedRoot(root: PagePointer | undefined): Promise<Damage | null> {
    try {
      if (root !== undefined) await this.#options.image.index.file.load(root);
      return null;
    } catch (error) {
      if (error instanceof IndexDamageError) return error.damage;
      throw error;
    }
  }

  /** Leaves out what is damaged of the index; what is left is to be durable by the next checkpoint. */
  async #repair(root: PagePointer, damage: Damage, loaded: Loaded): Promise<Loaded> {
    const { image, numbers, superblock, pause } = this.#options;
    const { index } = image;
    if (numbers === undefined) this.#fail(damage);
    const snapshot = loaded.snapshots.at(-1)?.checkpoint;
    const checkpoint = await numbers.take();
    const repaired = await repairTree({
      file: index.file,
      root,
      blocks: superblock.blocks,
      checkpoint,
      snapshot,
      references: new Map(loaded.segments.map(({ number, blocks, bytes }) => [number, { blocks, bytes }])),
      pause,
    });
    this.damages.push(...repaired.damages);
    this.#spill?.note(repaired.written, repaired.replaced);
    index.publish(repaired.root, false);
    if (repaired.damages.length === 0) return loaded;
    const held = await countHeld(index.file, loaded.snapshots, repaired.root, pause);
    const segments = loaded.segments.map((row) => {
      const { blocks, bytes } = repaired.references.get(row.number) ?? { blocks: 0, bytes: 0 };
      const { heldBlocks, heldBytes } = held.get(row.number);
      return { ...row, blocks, bytes, heldBlocks: -heldBlocks, heldBytes: -heldBytes };
    });
    return { ...loaded, segments, gaps: repaired.gaps };
  }

  /** A segment of the checkpoint's table. One that is gone had been emptied, unless something refers to it. */
  #adopt(row: LoadedSegment, file: SegmentFile | undefined, { state }: Loaded): void {
    const referred = row.blocks > 0 || row.heldBlocks > 0;
    if (referred && (file === undefined || file.size < row.size)) {
      const path = file?.segment.path ?? `segment ${row.number}`;
      this.#fail({ path, offset: row.size, what: 'segment missing or cut short' });
    }
    if (file === undefined) return;
    const { segment } = file;
    segment.liveBlocks = segment.indexedBlocks = row.blocks;
    segment.liveBytes = segment.indexedBytes = row.bytes;
    segment.heldBlocks = row.heldBlocks;
    segment.heldBytes = row.heldBytes;
    if (row.number >= state.start.segment) return;
    segment.size = row.size;
    segment.lastSequence = row.lastSequence;
    this.#options.log.adopt(segment);
  }

  #fail(damage: Damage): never {
    throw new StoreCorruptError(this.#options.identity.deployment, [damage]);
  }
}
