/** An index alone, on a simulated disk, without log and superblock. */

import { KIND_DATA, KIND_ZERO } from '../../../../core/record.js';
import { FilePool } from '../../../../node-agent/store/file-pool.js';
import { storeIdentity } from '../../../../node-agent/store/format.js';
import { emptyRecord, type IndexRecord } from '../../../../node-agent/store/paged/extents.js';
import { IndexMemory } from '../../../../node-agent/store/paged/index-memory.js';
import { PageFile } from '../../../../node-agent/store/paged/page-file.js';
import { PagedIndex } from '../../../../node-agent/store/paged/paged-index.js';
import { type MergeResult, mergeTree } from '../../../../node-agent/store/paged/tree-merge.js';
import { SimDisk } from '../../../sim/sim-disk.js';
import { DEPLOYMENT, seeded, VOLUME } from '../support.js';

export interface IndexLab {
  readonly sim: SimDisk;
  readonly memory: IndexMemory;
  readonly file: PageFile;
  readonly index: PagedIndex;
  /** As a checkpoint does, whole or up to a block. */
  merge(from?: number, end?: number): Promise<MergeResult>;
}

export interface IndexLabOptions {
  readonly cacheBytes?: number;
  readonly maxRows?: number;
  /** Called when the index lets others have their turn. */
  readonly paused?: () => void;
}

export function indexLab(options: IndexLabOptions = {}): IndexLab {
  const sim = new SimDisk({ random: seeded(1) });
  const disk = sim.mount();
  const memory = new IndexMemory(options.cacheBytes ?? 1 << 20);
  const pool = new FilePool(disk, 4);
  const identity = storeIdentity(VOLUME, DEPLOYMENT);
  const { maxRows = 512 } = options;
  disk.makeDirectory('db');
  const file = new PageFile({ disk, pool, directory: 'db', identity, cache: memory.part(), maxRows });
  const pause = async (): Promise<void> => options.paused?.();
  const index = new PagedIndex({ memory, file, shrink: () => {}, refer: () => {}, pause });
  let checkpoint = 0;
  const merge = async (from = 0, end = Number.POSITIVE_INFINITY): Promise<MergeResult> => {
    const memtable = index.frozen ?? index.freeze();
    const merged = await mergeTree({
      file,
      root: index.root,
      memtable,
      from,
      end,
      checkpoint: ++checkpoint,
      snapshot: undefined,
      pause,
    });
    await file.sync();
    file.slots = file.slots.without(merged.freed);
    await file.trim();
    index.publish(merged.root, end === Number.POSITIVE_INFINITY);
    return merged;
  };
  return { sim, memory, file, index, merge };
}

/** A block of data, told apart by its sequence. */
export function dataRecord(epoch: number, sequence: number): IndexRecord {
  return {
    epoch,
    sequence,
    segment: sequence % 97,
    offset: (sequence * 4_099) % 60_000_000,
    kind: KIND_DATA,
    flags: sequence % 4,
    storedLength: 1 + (sequence % 65_536),
    checksumLow: (sequence * 2_654_435_761) >>> 0,
    checksumHigh: (sequence * 40_503) >>> 0,
  };
}

export function zeroRecord(epoch: number, sequence: number): IndexRecord {
  return { ...emptyRecord(), epoch, sequence, kind: KIND_ZERO };
}
