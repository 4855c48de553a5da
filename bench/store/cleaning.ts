/** What the cleaner costs, and what it leaves, by how full the disk is: random overwrites of a volume of that size. */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Disk, DiskError, type DiskFile } from '../../core/ports.js';
import { ENTRY_BYTES } from '../../core/record.js';
import { openFileDisk } from '../../node-agent/store/file-disk.js';
import {
  append,
  BLOCK_BYTES,
  encode,
  identity,
  inDirectory,
  MIB,
  openStores,
  overriding,
  quantile,
  type StorePart,
  seconds,
} from './support.js';

const PARTS = [0.5, 0.8, 0.9];
const DISK_BYTES = 256 * MIB;
const QUICK_DISK_BYTES = 96 * MIB;
/** Of the disk, the part that is not for volumes. */
const RESERVED = 1 / 8;
const SEGMENTS = 64;
const WRITE_BLOCKS = 4;
const FILL_BLOCKS = 128;
const WAIT_MS = 2;
/** Overwrites end after so long, whatever they have come to. */
const LIMIT_S = 20;
const QUICK_LIMIT_S = 8;

export interface Cleaning {
  /** Part of what the disk has for volumes that the volume takes. */
  readonly full: number;
  readonly userMibPerSecond: number;
  readonly writeAmplification: number;
  readonly spaceAmplification: number;
  /** Of a request of 16 KiB, from the call until it is in the page cache, waits that the store asked for included. */
  readonly appendUs: { readonly p50: number; readonly p999: number; readonly max: number };
  readonly loopMs: { readonly p999: number; readonly max: number };
  readonly waitedForRoomSeconds: number;
  readonly seconds: number;
}

export async function measureCleaning({ place, quick }: StorePart): Promise<Cleaning[]> {
  const rows: Cleaning[] = [];
  for (const part of PARTS) rows.push(await inDirectory(place, (directory) => cleaning(directory, part, quick)));
  return rows;
}

/** A disk of so many bytes that counts what is written to it. */
function smallDisk(directory: string, diskBytes: number): { disk: Disk; written: () => number } {
  const real = openFileDisk(directory);
  const sizes = new Map<string, number>();
  let written = 0;
  const grow = (path: string, end: number): void => {
    sizes.set(path, Math.max(sizes.get(path) ?? 0, end));
  };
  const count = (path: string, buffers: readonly Uint8Array[], position: number): void => {
    const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    written += length;
    grow(path, position + length);
  };
  const counted = (path: string, file: DiskFile): DiskFile =>
    overriding(file, {
      write: (buffers, position) => {
        file.write(buffers, position);
        count(path, buffers, position);
      },
      writeAsync: async (buffers, position) => {
        await file.writeAsync(buffers, position);
        count(path, buffers, position);
      },
      reserve: async (position, length) => {
        const end = position + length;
        if (end - (sizes.get(path) ?? 0) > space().freeBytes) throw new DiskError('no-space', path, 'the disk is full');
        const done = await file.reserve(position, length);
        if (done) grow(path, end);
        return done;
      },
      truncate: (size) => {
        file.truncate(size);
        sizes.set(path, size);
      },
      truncateAsync: async (size) => {
        await file.truncateAsync(size);
        sizes.set(path, size);
      },
    });
  const space = () => {
    let used = 0;
    for (const size of sizes.values()) used += size;
    return { fileSystem: 'bench', totalBytes: diskBytes, freeBytes: diskBytes - used };
  };
  const disk = overriding(real, {
    open: (path, options) => counted(path, real.open(path, options)),
    openAsync: async (path, options) => counted(path, await real.openAsync(path, options)),
    unlink: (path) => {
      real.unlink(path);
      sizes.delete(path);
    },
    unlinkAsync: async (path) => {
      await real.unlinkAsync(path);
      sizes.delete(path);
    },
    space,
    spaceAsync: async () => space(),
  });
  return { disk, written: () => written };
}

async function cleaning(directory: string, part: number, quick: boolean): Promise<Cleaning> {
  const diskBytes = quick ? QUICK_DISK_BYTES : DISK_BYTES;
  const limitS = quick ? QUICK_LIMIT_S : LIMIT_S;
  const { disk, written } = smallDisk(directory, diskBytes);
  const reserveBytes = diskBytes * RESERVED;
  const segmentBytes = diskBytes / SEGMENTS;
  const settings = { segmentBytes, reclaimBytes: 2 * segmentBytes, garbageBytes: 2 * segmentBytes };
  const stores = await openStores(disk, { reserveBytes, settings: { ...settings, maintenanceIntervalMs: 20 } });
  const live = part * (diskBytes - reserveBytes);
  const blocks = Math.floor(live / (BLOCK_BYTES + 2 * ENTRY_BYTES) / FILL_BLOCKS) * FILL_BLOCKS;
  const store = await stores.create(identity(blocks));
  for (let first = 0; first < blocks; first += FILL_BLOCKS) await append(store, encode(first, FILL_BLOCKS));
  await store.flush();
  const from = written();
  const operations = diskBytes / (WRITE_BLOCKS * BLOCK_BYTES);
  const latencies: number[] = [];
  let waitedMs = 0;
  let user = 0;
  let most = 0;
  const since = performance.now();
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  while (latencies.length < operations && seconds(since) < limitS) {
    const batch = encode(Math.floor((Math.random() * blocks) / WRITE_BLOCKS) * WRITE_BLOCKS, WRITE_BLOCKS);
    for (let isDone = false; !isDone && seconds(since) < limitS; ) {
      const begin = performance.now();
      try {
        await append(store, batch);
        await store.written();
        latencies.push(performance.now() - begin);
        user += batch.payload.length;
        isDone = true;
      } catch (error) {
        if (!(error instanceof DiskError && error.code === 'no-space')) throw error;
        await sleep(WAIT_MS);
        waitedMs += performance.now() - begin;
      }
    }
    most = Math.max(most, store.usedBytes);
  }
  await store.flush();
  loop.disable();
  const took = seconds(since);
  const writeAmplification = (written() - from) / user;
  await stores.close();
  latencies.sort((a, b) => a - b);
  const us = (q: number): number => quantile(latencies, q) * 1000;
  return {
    full: part,
    userMibPerSecond: user / MIB / took,
    writeAmplification,
    spaceAmplification: most / (blocks * BLOCK_BYTES),
    appendUs: { p50: us(0.5), p999: us(0.999), max: us(1) },
    loopMs: { p999: loop.percentile(99.9) / 1e6, max: loop.max / 1e6 },
    waitedForRoomSeconds: waitedMs / 1000,
    seconds: took,
  };
}
