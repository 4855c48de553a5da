/**
 * The block store without network and frontend, against a plain file on the same file system, and its cleaner at
 * several degrees of fullness:
 *
 *   npm run bench -- store --alone [--quick] [DIRECTORY]
 *
 * DIRECTORY (default: the system's temporary one) decides which file system is measured. Figures are medians of
 * rounds in which both sides take turns; appends end with a flush, as a file's writes end with fdatasync.
 */

import { closeSync, fdatasyncSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { type Clock, type Disk, DiskError } from '../core/ports.js';
import { type Batch, ENTRY_BYTES } from '../core/record.js';
import type { BlockNumber, DeploymentId, Epoch, Sequence, VolumeId } from '../core/types.js';
import { systemClock, systemRandom } from '../node-agent/clock.js';
import { loadCodec } from '../node-agent/codec/index.js';
import type { LocalDeploymentStore } from '../node-agent/store/deployment-store.js';
import { openFileDisk } from '../node-agent/store/file-disk.js';
import { NodeStores, type NodeStoresOptions } from '../node-agent/store/node-stores.js';
import { options } from './options.js';

const MIB = 1024 * 1024;
const BLOCK_BYTES = 4096;
const VOLUME = '11111111-1111-4111-8111-111111111111' as VolumeId;
const DEPLOYMENT = '22222222-2222-4222-8222-222222222222' as DeploymentId;
const ALL_BLOCKS = 512;

const { place, effort, has } = options({ sizeBytes: 0 });
const quick = has('--quick');
const ROUNDS = effort.rounds;
/** Written per round and side. */
const ROUND_BYTES = (quick ? 16 : 48) * MIB;
/** The disk of the cleaner's part; of this, the reserve is not for volumes. */
const DISK_BYTES = (quick ? 96 : 256) * MIB;
const DISK_RESERVE_BYTES = DISK_BYTES / 8;
const WAIT_MS = 2;
/** A line of the table is cut short behind this, so that a slow machine is done within two minutes. */
const LINE_S = 6;
const CLEANING_S = 20;

const codec = await loadCodec();
const volume = codec.openVolume({ volume: VOLUME, blockSize: BLOCK_BYTES, compress: false });

/** Incompressible contents for the blocks from `first` on. */
function encode(first: number, blocks: number): Batch {
  const data = Buffer.allocUnsafe(blocks * BLOCK_BYTES);
  for (let i = 0; i < data.length; i += 4) data.writeUInt32LE((Math.random() * 2 ** 32) >>> 0, i);
  return volume.encode(data, first);
}

function openStores(disk: Disk, options: Partial<NodeStoresOptions> = {}): Promise<NodeStores> {
  return NodeStores.open({
    disk,
    clock: systemClock,
    random: systemRandom,
    bootId: 'bench',
    checksums: (id) => codec.checksums(id),
    reserveBytes: 0,
    ...options,
  });
}

/** The same object with some methods replaced. */
function overriding<T extends object>(object: T, methods: Partial<T>): T {
  return new Proxy(object, {
    get: (target, name) => {
      const value: unknown = Reflect.get(name in methods ? methods : target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;
const quantile = (values: Float64Array, q: number): number =>
  values[Math.min(values.length - 1, Math.floor(q * values.length))] ?? 0;
const seconds = (since: number): number => (performance.now() - since) / 1000;

function append(store: LocalDeploymentStore, batch: Batch): void {
  store.append({ epoch: 1 as Epoch, firstSequence: (store.last.sequence + 1) as Sequence, batch });
}

interface Row {
  readonly what: string;
  readonly store: string;
  readonly file: string;
  readonly ratio: string;
}
const rows: Row[] = [];

/** Interleaved rounds of the same operations on both sides; each returns operations per second. */
async function compare(
  what: string,
  bytes: number,
  ours: () => Promise<number>,
  theirs: () => Promise<number>,
): Promise<void> {
  const rates: [number, number][] = [];
  const since = performance.now();
  for (let round = 0; round < ROUNDS && (round === 0 || seconds(since) < LINE_S); round++) {
    rates.push([await ours(), await theirs()]);
  }
  const text = (rate: number): string => `${Math.round(rate)}/s, ${((rate * bytes) / MIB).toFixed(0)} MiB/s`;
  rows.push({
    what,
    store: text(median(rates.map(([mine]) => mine))),
    file: text(median(rates.map(([, other]) => other))),
    ratio: median(rates.map(([mine, other]) => mine / other)).toFixed(2),
  });
}

async function rates(directory: string): Promise<void> {
  const stores = await openStores(openFileDisk(directory));
  const blocks = (4 * ROUND_BYTES) / BLOCK_BYTES;
  const identity = { volume: VOLUME, deployment: DEPLOYMENT, blockSize: BLOCK_BYTES, blocks, etcdClusterId: 'bench' };
  const store = await stores.create(identity);
  const file = openSync(join(directory, 'plain'), 'w+');
  const random = (count: number): number => Math.floor((Math.random() * blocks) / count) * count;
  for (const [name, count, flushEvery] of [
    ['append 4 KiB, random', 1, 0],
    ['append 128 KiB, in sequence', 32, 0],
    ['append 4 KiB and flush each', 1, 1],
    ['append 32 × 4 KiB and flush', 1, 32],
  ] as const) {
    const bytes = count * BLOCK_BYTES;
    const operations = flushEvery === 0 ? ROUND_BYTES / bytes : flushEvery * (quick ? 50 : 150);
    const batches = Array.from({ length: 64 }, () => encode(0, count));
    const batchAt = (i: number, first: number): Batch => {
      // The same contents elsewhere: only the block numbers change, which nothing checks until it is read.
      const batch = batches[i % batches.length]!;
      for (let entry = 0; entry < count; entry++) batch.entries.writeUInt32LE(first + entry, entry * ENTRY_BYTES);
      return batch;
    };
    const sequential = count > 1;
    let at = 0;
    const next = (): number => {
      if (!sequential) return random(count);
      at = (at + count) % blocks;
      return at;
    };
    await compare(
      name,
      bytes,
      async () => {
        const since = performance.now();
        for (let i = 1; i <= operations; i++) {
          append(store, batchAt(i, next()));
          if (flushEvery > 0 && i % flushEvery === 0) await store.flush();
          else if (i % 64 === 0) await turn();
        }
        await store.flush();
        return operations / seconds(since);
      },
      async () => {
        const since = performance.now();
        for (let i = 1; i <= operations; i++) {
          const { payload } = batches[i % batches.length]!;
          writeSync(file, payload, 0, payload.length, next() * BLOCK_BYTES);
          if (flushEvery > 0 && i % flushEvery === 0) fdatasyncSync(file);
        }
        fdatasyncSync(file);
        return operations / seconds(since);
      },
    );
  }
  for (let first = 0; first < blocks; first += 256) append(store, encode(first, 256));
  const target = Buffer.alloc(32 * BLOCK_BYTES);
  for (const [name, count] of [
    ['read 4 KiB, random, in the page cache', 1],
    ['read 128 KiB, in the page cache', 32],
  ] as const) {
    const operations = ROUND_BYTES / 4 / (count * BLOCK_BYTES);
    await compare(
      name,
      count * BLOCK_BYTES,
      async () => {
        const since = performance.now();
        for (let i = 0; i < operations; i++) await store.read(random(count) as BlockNumber, count);
        return operations / seconds(since);
      },
      async () => {
        const since = performance.now();
        for (let i = 0; i < operations; i++) {
          readSync(file, target, 0, count * BLOCK_BYTES, random(count) * BLOCK_BYTES);
        }
        return operations / seconds(since);
      },
    );
  }
  closeSync(file);
  await stores.close();
}

/** Of stores that are never closed: their timers don't keep this process alive. */
const forgottenClock: Clock = {
  ...systemClock,
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs).unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

/** How fast the log behind a checkpoint is brought into the index, after the process has been killed. */
async function recovery(directory: string): Promise<string> {
  const disk = openFileDisk(directory);
  // A killed process leaves no lock behind; this one stands for two.
  const unlocked: Disk = overriding(disk, { lock: () => ({ release: () => {} }) });
  const killed = await openStores(unlocked, { clock: forgottenClock });
  const blocks = ROUND_BYTES / BLOCK_BYTES;
  const identity = { volume: VOLUME, deployment: DEPLOYMENT, blockSize: BLOCK_BYTES, blocks, etcdClusterId: 'bench' };
  const store = await killed.create(identity);
  for (let first = 0; first < blocks; first += 32) append(store, encode(first, 32));
  await store.flush();
  const since = performance.now();
  const stores = await openStores(unlocked);
  await stores.open(DEPLOYMENT);
  const took = seconds(since);
  await stores.close();
  return `recovery: ${ROUND_BYTES / MIB} MiB of log in ${(took * 1000).toFixed(0)} ms, ${(ROUND_BYTES / MIB / took).toFixed(0)} MiB/s`;
}

/** A disk of DISK_BYTES that counts what is written to it. */
function smallDisk(directory: string): { disk: Disk; written: () => number } {
  const real = openFileDisk(directory);
  const sizes = new Map<string, number>();
  let written = 0;
  const disk: Disk = overriding(real, {
    open: (path: string, options: { create: boolean }) => {
      const file = real.open(path, options);
      if (!sizes.has(path)) sizes.set(path, 0);
      return overriding(file, {
        write: (buffers: readonly Uint8Array[], position: number) => {
          file.write(buffers, position);
          const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
          written += length;
          sizes.set(path, Math.max(sizes.get(path) ?? 0, position + length));
        },
      });
    },
    unlinkAsync: async (path: string) => {
      await real.unlinkAsync(path);
      sizes.delete(path);
    },
    space: () => {
      let used = 0;
      for (const size of sizes.values()) used += size;
      return { fileSystem: 'bench', totalBytes: DISK_BYTES, freeBytes: DISK_BYTES - used };
    },
  });
  return { disk, written: () => written };
}

interface CleanerRow {
  readonly full: string;
  readonly 'user writes': string;
  readonly 'write amplification': string;
  readonly 'space amplification': string;
  readonly 'append p50 / p99.9 / max': string;
  readonly 'event loop p99.9 / worst': string;
  readonly 'waited for room': string;
}

/** Random 4 KiB overwrites, four at a time, of a volume that takes this part of what the disk has for volumes. */
async function cleaning(directory: string, part: number): Promise<CleanerRow> {
  const { disk, written } = smallDisk(directory);
  const segmentBytes = DISK_BYTES / 64;
  const settings = { segmentBytes, reclaimBytes: 2 * segmentBytes, garbageBytes: 2 * segmentBytes };
  const stores = await openStores(disk, {
    reserveBytes: DISK_RESERVE_BYTES,
    settings: { ...settings, maintenanceIntervalMs: 20 },
  });
  const live = part * (DISK_BYTES - DISK_RESERVE_BYTES);
  const blocks = Math.floor(live / (BLOCK_BYTES + 2 * ENTRY_BYTES) / ALL_BLOCKS) * ALL_BLOCKS;
  const identity = { volume: VOLUME, deployment: DEPLOYMENT, blockSize: BLOCK_BYTES, blocks, etcdClusterId: 'bench' };
  const store = await stores.create(identity);
  for (let first = 0; first < blocks; first += 128) append(store, encode(first, 128));
  await store.flush();
  const from = written();
  const operations = DISK_BYTES / (4 * BLOCK_BYTES);
  const latencies = new Float64Array(operations);
  let waited = 0;
  let user = 0;
  let most = 0;
  let done = 0;
  const since = performance.now();
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  for (; done < operations && seconds(since) < CLEANING_S; done++) {
    const batch = encode(Math.floor((Math.random() * blocks) / 4) * 4, 4);
    for (;;) {
      const begin = performance.now();
      try {
        append(store, batch);
        latencies[done] = performance.now() - begin;
        break;
      } catch (error) {
        if (!(error instanceof DiskError && error.code === 'no-space')) throw error;
        await sleep(WAIT_MS);
        if (seconds(since) >= CLEANING_S) break;
        waited += performance.now() - begin;
      }
    }
    user += batch.payload.length;
    most = Math.max(most, store.usedBytes);
    if (done % 8 === 7) await turn();
  }
  await store.flush();
  loop.disable();
  const took = seconds(since);
  const amplification = (written() - from) / user;
  await stores.close();
  const sorted = latencies.subarray(0, done).sort();
  const us = (q: number): string => `${(quantile(sorted, q) * 1000).toFixed(0)}`;
  return {
    full: `${Math.round(part * 100)} %`,
    'user writes': `${(user / MIB / took).toFixed(0)} MiB/s`,
    'write amplification': amplification.toFixed(2),
    'space amplification': (most / (blocks * BLOCK_BYTES)).toFixed(2),
    'append p50 / p99.9 / max': `${us(0.5)} / ${us(0.999)} / ${us(1)} µs`,
    'event loop p99.9 / worst': `${[loop.percentile(99.9), loop.max].map((ns) => (ns / 1e6).toFixed(0)).join(' / ')} ms`,
    'waited for room': `${(waited / 1000).toFixed(1)} of ${took.toFixed(1)} s`,
  };
}

async function inDirectory<T>(run: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(place, 'bench-store-'));
  try {
    return await run(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

await inDirectory(rates);
console.table(rows);
console.log(await inDirectory(recovery));
const full: CleanerRow[] = [];
for (const part of [0.5, 0.8, 0.9]) full.push(await inDirectory((directory) => cleaning(directory, part)));
console.table(full);
