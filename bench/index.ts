/**
 * `npm run bench -- index [DIR] [--quick]`: what a checkpoint of the index costs, with pages of our own and with LMDB
 * (one key per block, as an embedded store is used), side by side on the same changes. Both have the same memtable in
 * front of them, so a checkpoint is what differs: how long it takes, how long it holds up the event loop, how much it
 * writes, and what a look-up costs afterwards: of what is in memory, and of what is in no cache, the kernel's neither.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { open as openLmdb } from 'lmdb';
import { KIND_DATA } from '../core/record.js';
import type { DeploymentId, VolumeId } from '../core/types.js';
import { openFileDisk } from '../node-agent/store/file-disk.js';
import { FilePool } from '../node-agent/store/file-pool.js';
import { storeIdentity } from '../node-agent/store/format.js';
import { emptyRecord, type IndexRecord } from '../node-agent/store/paged/extents.js';
import { IndexMemory, type PageCache } from '../node-agent/store/paged/index-memory.js';
import { MAX_ROWS, PAGE_BYTES } from '../node-agent/store/paged/page.js';
import { PageFile } from '../node-agent/store/paged/page-file.js';
import { PagedIndex } from '../node-agent/store/paged/paged-index.js';
import { mergeTree } from '../node-agent/store/paged/tree-merge.js';
import { options } from './options.js';
import { writtenBytes } from './processes.js';
import { saveResults } from './results.js';

const CACHE_BYTES = 64 << 20;
const ROW_BYTES = 48;
const { place, effort } = options({ sizeBytes: 0 });
const quick = effort.rounds < 5;
const CHANGES = quick ? 32_768 : 131_072;
const UPDATES = quick ? 3 : 5;
const LOOKUPS = quick ? 4_000 : 20_000;
const COLD_LOOKUPS = quick ? 50 : 400;

interface Contender {
  readonly name: string;
  /** Makes these changes durable, ascending. */
  checkpoint(changes: readonly Change[]): Promise<void>;
  get(block: number): Promise<boolean>;
  /** Forgets what it has in memory and has no file open or mapped while `dropCaches` runs. */
  cool(dropCaches: (file: string) => void): Promise<void>;
  /** How many blocks have a higher sequence. */
  newer(after: number): Promise<number>;
  /** Bytes that are on the disk. */
  size(): number;
  close(): Promise<void>;
}

interface Change {
  readonly block: number;
  readonly record: IndexRecord;
}

class Pages implements Contender {
  readonly name = 'own pages';
  readonly #file: PageFile;
  readonly #index: PagedIndex;
  readonly #cache: PageCache;
  readonly #directory: string;
  #number = 0;

  constructor(directory: string) {
    const disk = openFileDisk(directory);
    const identity = storeIdentity(
      '11111111-1111-4111-8111-111111111111' as VolumeId,
      '22222222-2222-4222-8222-222222222222' as DeploymentId,
    );
    const memory = new IndexMemory(CACHE_BYTES);
    const pool = new FilePool(disk, 4);
    disk.makeDirectory('db');
    this.#directory = directory;
    this.#cache = memory.part();
    this.#file = new PageFile({ disk, pool, directory: 'db', identity, cache: this.#cache, maxRows: MAX_ROWS });
    const pause = turn;
    this.#index = new PagedIndex({ memory, file: this.#file, shrink: () => {}, refer: () => {}, pause });
  }

  async checkpoint(changes: readonly Change[]): Promise<void> {
    for (const [i, { block, record }] of changes.entries()) {
      this.#index.put(block, 1, record);
      if (i % 1024 === 1023) await turn();
    }
    const merged = await mergeTree({
      file: this.#file,
      root: this.#index.root,
      memtable: this.#index.freeze(),
      from: 0,
      end: Number.POSITIVE_INFINITY,
      checkpoint: ++this.#number,
      snapshot: undefined,
      pause: turn,
    });
    await this.#file.sync();
    this.#file.slots = this.#file.slots.without(merged.freed);
    this.#index.publish(merged.root, true);
  }

  async get(block: number): Promise<boolean> {
    const record = emptyRecord();
    return this.#index.look([block], (get) => get(block, record));
  }

  async cool(dropCaches: (file: string) => void): Promise<void> {
    this.#cache.clear();
    dropCaches(join(this.#directory, this.#file.path));
  }

  async newer(after: number): Promise<number> {
    let count = 0;
    for (let from = 0; ; ) {
      const matches = (_epoch: number, sequence: number): boolean => sequence > after;
      const found = await this.#index.select(from, 1024, (highest) => highest > after, matches);
      count += found.length;
      if (found.length < 1024) return count;
      from = found.at(-1)! + 1;
    }
  }

  size(): number {
    return this.#file.slots.length * PAGE_BYTES;
  }

  async close(): Promise<void> {
    this.#index.close();
  }
}

class Lmdb implements Contender {
  readonly name = 'LMDB';
  readonly #path: string;
  #db: ReturnType<typeof openLmdb<Buffer, number>>;

  constructor(directory: string) {
    this.#path = join(directory, 'index');
    this.#db = this.#open();
  }

  #open(): ReturnType<typeof openLmdb<Buffer, number>> {
    return openLmdb<Buffer, number>({ path: this.#path, encoding: 'binary', mapSize: 64 * 2 ** 30 });
  }

  async cool(dropCaches: (file: string) => void): Promise<void> {
    await this.#db.close();
    dropCaches(join(this.#path, 'data.mdb'));
    this.#db = this.#open();
  }

  async checkpoint(changes: readonly Change[]): Promise<void> {
    let last: Promise<unknown> = Promise.resolve();
    for (const [i, { block, record }] of changes.entries()) {
      const row = Buffer.alloc(ROW_BYTES - 8);
      row.writeDoubleLE(record.epoch, 0);
      row.writeDoubleLE(record.sequence, 8);
      row.writeUInt32LE(record.segment, 16);
      row.writeUInt32LE(record.offset, 20);
      row.writeUInt32LE(record.storedLength, 24);
      row.writeUInt32LE(record.checksumLow, 28);
      row.writeUInt32LE(record.checksumHigh, 32);
      last = this.#db.put(block, row);
      if (i % 1024 === 1023) await turn();
    }
    await last;
    await this.#db.flushed;
  }

  async get(block: number): Promise<boolean> {
    return this.#db.getBinary(block) !== undefined;
  }

  async newer(after: number): Promise<number> {
    let count = 0;
    let seen = 0;
    for (const { value } of this.#db.getRange()) {
      if (value.readDoubleLE(8) > after) count++;
      if (++seen % 1024 === 0) await turn();
    }
    return count;
  }

  size(): number {
    const { pageSize, treeEntryCount: _, ...stats } = this.#db.getStats() as Record<string, number>;
    return (stats.lastPageNumber ?? 0) * (pageSize ?? 4096);
  }

  async close(): Promise<void> {
    await this.#db.close();
  }
}

/** Processor time between two turns: unlike the event loop's delay, it does not tell of what else the machine does. */
const slices: number[] = [];
let resumed = process.cpuUsage();

async function turn(): Promise<void> {
  const { user, system } = process.cpuUsage(resumed);
  slices.push((user + system) / 1000);
  await new Promise((resolve) => setImmediate(resolve));
  resumed = process.cpuUsage();
}

/** mulberry32: the same changes for both. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

let sequence = 0;
function changesOf(blocks: Iterable<number>): Change[] {
  const sorted = [...new Set(blocks)].sort((a, b) => a - b);
  return sorted.map((block) => {
    sequence++;
    const record = { ...emptyRecord(), epoch: 3, sequence, kind: KIND_DATA, storedLength: 2_000 + (sequence % 2_096) };
    record.segment = Math.floor(sequence / 16_384);
    record.offset = (sequence % 16_384) * 4_096;
    record.checksumLow = Math.imul(sequence, 2_654_435_761) >>> 0;
    record.checksumHigh = Math.imul(sequence, 40_503) >>> 0;
    return { block, record };
  });
}

interface Cost {
  readonly seconds: number;
  readonly stallP999Ms: number;
  readonly stallMaxMs: number;
  readonly sliceP999Ms: number;
  readonly writtenBytesPerChange: number;
}

async function measured(changes: readonly Change[], run: () => Promise<void>): Promise<Cost> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const before = writtenBytes();
  const began = performance.now();
  slices.length = 0;
  resumed = process.cpuUsage();
  delay.enable();
  await run();
  delay.disable();
  return {
    seconds: (performance.now() - began) / 1000,
    stallP999Ms: delay.percentile(99.9) / 1e6,
    stallMaxMs: delay.max / 1e6,
    sliceP999Ms: percentile(slices, 0.999),
    writtenBytesPerChange: (writtenBytes() - before) / changes.length,
  };
}

/** POSIX_FADV_DONTNEED, for which Node has no call: the file's pages leave the kernel's memory. */
function dropCaches(file: string): void {
  execFileSync('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0'], { stdio: 'ignore' });
}

function percentile(values: number[], part: number): number {
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.floor(part * values.length))]!;
}

function median(costs: readonly Cost[]): Cost {
  const of = (pick: (cost: Cost) => number): number => percentile(costs.map(pick), 0.5);
  return {
    seconds: of((cost) => cost.seconds),
    stallP999Ms: of((cost) => cost.stallP999Ms),
    stallMaxMs: of((cost) => cost.stallMaxMs),
    sliceP999Ms: of((cost) => cost.sliceP999Ms),
    writtenBytesPerChange: of((cost) => cost.writtenBytesPerChange),
  };
}

async function contend(make: (directory: string) => Contender, volume: Volume): Promise<Record<string, unknown>> {
  const directory = mkdtempSync(join(place, 'bench-index-'));
  try {
    const contender = make(directory);
    const random = seeded(1);
    sequence = 0;
    const insert: Cost[] = [];
    const known: number[] = [];
    for (const blocks of volume.insert(random)) {
      const changes = changesOf(blocks);
      for (const { block } of changes) known.push(block);
      insert.push(await measured(changes, () => contender.checkpoint(changes)));
    }
    const update: Cost[] = [];
    for (let round = 0; round < UPDATES; round++) {
      const changes = changesOf(Array.from({ length: CHANGES / 4 }, () => known[Math.floor(random() * known.length)]!));
      update.push(await measured(changes, () => contender.checkpoint(changes)));
    }
    const gets: number[] = [];
    for (let i = 0; i < LOOKUPS; i++) {
      const block = known[Math.floor(random() * known.length)]!;
      const began = performance.now();
      if (!(await contender.get(block))) throw new Error(`block ${block} is missing`);
      gets.push((performance.now() - began) * 1000);
      if (i % 64 === 0) await turn();
    }
    const began = performance.now();
    const newer = await contender.newer(sequence - 1_000);
    if (newer !== 1_000) throw new Error(`${newer} blocks are newer`);
    const newerMs = performance.now() - began;
    await contender.cool(dropCaches);
    const coldGets: number[] = [];
    for (let i = 0; i < COLD_LOOKUPS; i++) {
      const block = known[Math.floor(random() * known.length)]!;
      const since = performance.now();
      if (!(await contender.get(block))) throw new Error(`block ${block} is missing`);
      coldGets.push((performance.now() - since) * 1000);
    }
    const result = {
      name: contender.name,
      insert: median(insert),
      update: median(update),
      getP50Us: percentile(gets, 0.5),
      getP99Us: percentile(gets, 0.99),
      coldGetP50Us: percentile(coldGets, 0.5),
      coldGetP99Us: percentile(coldGets, 0.99),
      newerMs,
      bytesPerBlock: contender.size() / known.length,
      rssMiB: process.memoryUsage.rss() / 2 ** 20,
    };
    await contender.close();
    return result;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Volume {
  readonly name: string;
  /** The blocks of each checkpoint while it fills. */
  insert(random: () => number): Iterable<readonly number[]>;
}

const GIB_BLOCKS = 2 ** 18;
const VOLUMES: readonly Volume[] = [
  {
    name: '1 GiB in sequence',
    *insert() {
      for (let from = 0; from < GIB_BLOCKS; from += CHANGES) {
        yield Array.from({ length: Math.min(CHANGES, GIB_BLOCKS - from) }, (_, i) => from + i);
      }
    },
  },
  {
    name: '1 GiB spread over 1 TiB',
    *insert(random) {
      for (let from = 0; from < GIB_BLOCKS; from += CHANGES) {
        yield Array.from({ length: CHANGES }, () => Math.floor(random() * 2 ** 28));
      }
    },
  },
];

const CONTENDERS: readonly ((directory: string) => Contender)[] = [
  (directory) => new Pages(directory),
  (directory) => new Lmdb(directory),
];

if (effort.only === '') {
  // A process of its own for each, as memory is measured too.
  const results: Record<string, unknown> = {};
  for (const [v, volume] of VOLUMES.entries()) {
    for (const [c] of CONTENDERS.entries()) {
      const flags = [process.argv[1]!, 'index', place, '--only', `${v}/${c}`, ...(quick ? ['--quick'] : [])];
      const { name, ...result } = JSON.parse(execFileSync(process.execPath, flags, { encoding: 'utf8' }));
      results[`${volume.name}, ${name}`] = result;
      const { insert, update, ...rest } = result;
      console.log(`\n${volume.name}, ${name}`);
      console.table({ insert, update });
      console.table(rest);
    }
  }
  saveResults('index', { quick, changesPerCheckpoint: CHANGES }, { results });
} else {
  const [v, c] = effort.only.split('/').map(Number);
  console.log(JSON.stringify(await contend(CONTENDERS[c!]!, VOLUMES[v!]!)));
}
