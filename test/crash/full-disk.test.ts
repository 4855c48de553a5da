/** A small file system of its own, filled to the last byte again and again, with TRIMs: nothing is lost. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { type DeploymentStore, DiskError } from '../../core/ports.js';
import { ENTRY_BYTES, readEntry } from '../../core/record.js';
import { systemClock, systemRandom } from '../../node-agent/clock.js';
import { HEADER_BYTES } from '../../node-agent/store/format.js';
import { openFileDisk } from '../../node-agent/store/index.js';
import { SmallDisk, type SmallDiskType } from '../setup/small-disk.js';
import {
  block,
  content,
  DEPLOYMENT,
  data,
  newDeployment,
  openStores,
  type TestEntry,
  writeWhenRoom,
} from '../unit/store/support.js';

const MIB = 1024 * 1024;
const ROUNDS = 4;
/** More than fit. */
const BLOCKS = 100_000;
const BATCH_BLOCKS = 32;
const SETTINGS = { segmentBytes: 4 * MIB, reclaimBytes: 16 * MIB, checkpointBytes: 64 * MIB };
/** What the disk may still hold when everything was trimmed: segments of TRIMs, and what no checkpoint has freed yet. */
const REST_BYTES = 4 * SETTINGS.segmentBytes;
/** On a full disk a checkpoint comes in dozens of pieces, each with its syncs: on a busy machine that takes a while. */
const REST_TIMEOUT_MS = 120_000;

let root: string;
let disk: SmallDisk | undefined;
afterEach(() => {
  disk?.release();
  rmSync(root, { recursive: true, force: true });
});

const open = (reserveBytes: number) =>
  openStores(openFileDisk(disk!.mountPoint), {
    clock: systemClock,
    random: systemRandom,
    settings: SETTINGS,
    reserveBytes,
  });

/** Until it is in the page cache, as writers have to wait. */
async function append(store: DeploymentStore, ...entries: TestEntry[]): Promise<void> {
  await writeWhenRoom(store, ...entries);
  await store.written();
}

/** Appends batches, and then single blocks, until there is no room; `held` says afterwards what is in the store. */
async function fill(store: DeploymentStore, held: Map<number, number>, round: number): Promise<void> {
  for (let count = BATCH_BLOCKS; ; ) {
    const first = Math.floor(Math.random() * (BLOCKS - count));
    const numbers = Array.from({ length: count }, (_, i) => first + i);
    try {
      await append(store, ...numbers.map((number) => data(number, round, 4096)));
    } catch (error) {
      if (!(error instanceof DiskError && error.code === 'no-space')) throw error;
      if (count === 1) return;
      count = 1;
      continue;
    }
    for (const number of numbers) held.set(number, round);
    // Checkpoints and the cleaner run meanwhile.
    if (count > 1) await new Promise((resolve) => setImmediate(resolve));
  }
}

async function compare(store: DeploymentStore, held: ReadonlyMap<number, number>): Promise<void> {
  for (let first = 0; first < BLOCKS; first += 250) {
    const { batch } = await store.read(block(first), 250);
    for (let i = 0, at = 0; i < batch.entries.length / ENTRY_BYTES; i++) {
      const length = readEntry(batch.entries, i).storedLength;
      const round = held.get(first + i);
      const wanted = round === undefined ? Buffer.alloc(0) : content(first + i, round, 4096);
      if (!batch.payload.subarray(at, at + length).equals(wanted))
        expect.fail(`block ${first + i}: not round ${round}`);
      at += length;
    }
  }
}

async function trim(store: DeploymentStore, numbers: readonly number[]): Promise<void> {
  for (let from = 0; from < numbers.length; from += 256) {
    await append(store, ...numbers.slice(from, from + 256).map((number) => ({ block: number, zero: 1 })));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await store.flush();
}

it.each<[SmallDiskType, string, number]>([
  ['ext4', 'with a reserve', 16 * MIB],
  ['ext4', 'to the last byte', 0],
  ['xfs', 'with a reserve', 16 * MIB],
  ['xfs', 'to the last byte', 0],
])('%s %s', async (type, _name, reserveBytes) => {
  root = mkdtempSync(join(tmpdir(), 'store-full-'));
  disk = new SmallDisk(join(root, 'disk'), type, (type === 'xfs' ? 304 : 256) * MIB);
  const held = new Map<number, number>();
  const roomBytes = disk.freeBytes;
  const isLow = (): boolean => disk!.freeBytes < 2 * reserveBytes;
  let stores = await open(reserveBytes);
  let store: DeploymentStore = await stores.create({ ...newDeployment, blocks: BLOCKS });
  for (let round = 1; round <= ROUNDS; round++) {
    await fill(store, held, round);
    if (round === 1) {
      // All the room is segments, but for the index and what the file system keeps for files that grow.
      expect(store.usedBytes).toBeGreaterThan(0.9 * (roomBytes - reserveBytes));
      // Blocks are chosen at random: of those in the segments so many are different ones, and the others are garbage
      // that no cleaner has come to, as this writer waits for nobody.
      const writes = store.usedBytes / (4096 + ENTRY_BYTES + HEADER_BYTES / BATCH_BLOCKS);
      expect(held.size).toBeGreaterThan(0.96 * BLOCKS * (1 - Math.exp(-writes / BLOCKS)));
      // A store without a reserve uses all there is; a file system keeps some blocks for itself.
      expect(disk.freeBytes).toBeLessThan(reserveBytes + 4 * MIB);
    }
    await compare(store, held);
    if (reserveBytes > 0) {
      const numbers = [...held.keys()].sort(() => Math.random() - 0.5);
      const all = round % 3 === 0;
      const victims = all ? numbers : numbers.slice(0, numbers.length / 2);
      await trim(store, victims);
      for (const number of victims) held.delete(number);
      // Garbage is given back at once as long as the disk is nearly full.
      if (all)
        await expect.poll(() => store.usedBytes <= REST_BYTES || !isLow(), { timeout: REST_TIMEOUT_MS }).toBe(true);
      else await sleep(500);
    } else {
      await store.flush();
    }
    if (round % 2 === 0) {
      await compare(store, held);
      await stores.close();
      stores = await open(reserveBytes);
      store = await stores.open(DEPLOYMENT);
      await compare(store, held);
    }
  }
  await stores.close();
});

it('who overwrites and waits as long as the store asks for never meets the end of the space', async () => {
  root = mkdtempSync(join(tmpdir(), 'store-full-'));
  disk = new SmallDisk(join(root, 'disk'), 'ext4', 256 * MIB);
  const stores = await open(32 * MIB);
  const store = await stores.create({ ...newDeployment, blocks: BLOCKS });
  // 120 MiB of blocks, three times as much written to them in random order, on a disk with room for 190.
  const blocks = (120 * MIB) / 4096;
  const held = new Map<number, number>();
  let waitedMs = 0;
  for (let written = 0; written < 3 * blocks; written += BATCH_BLOCKS) {
    for (let delay = store.appendDelayMs; delay > 0; delay = store.appendDelayMs) {
      waitedMs += delay;
      await sleep(delay);
    }
    const first = Math.floor(Math.random() * (blocks - BATCH_BLOCKS));
    const numbers = Array.from({ length: BATCH_BLOCKS }, (_, i) => first + i);
    await append(store, ...numbers.map((number) => data(number, written, 4096)));
    for (const number of numbers) held.set(number, written);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(waitedMs).toBeGreaterThan(0);
  expect(store.cleaned.segments).toBeGreaterThan(0);
  await compare(store, held);
  await stores.close();
});
