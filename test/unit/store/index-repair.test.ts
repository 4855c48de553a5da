/** Pages of the index that are damaged: the deployment goes on, with what the log knows, and says what is lost. */

import { beforeAll, describe, expect, it } from 'vitest';
import { BadBlockError, type StoredBlocks } from '../../../core/ports.js';
import { KIND_LOST } from '../../../core/record.js';
import { readCheckpoint } from '../../../node-agent/store/checkpoint.js';
import type { LocalDeploymentStore } from '../../../node-agent/store/deployment-store.js';
import { IndexDamageError } from '../../../node-agent/store/errors.js';
import { FilePool } from '../../../node-agent/store/file-pool.js';
import { storeIdentity } from '../../../node-agent/store/format.js';
import { IndexMemory } from '../../../node-agent/store/paged/index-memory.js';
import { PAGE_BYTES, type PagePointer } from '../../../node-agent/store/paged/page.js';
import { PageFile } from '../../../node-agent/store/paged/page-file.js';
import { SuperblockFile } from '../../../node-agent/store/superblock.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { auditIndex } from './audit.js';
import {
  block,
  content,
  DEPLOYMENT,
  data,
  lookUp,
  newDeployment,
  openStores,
  seeded,
  VOLUME,
  writeTo,
} from './support.js';

const BLOCKS = 120;
const DIRECTORY = 'data/db1/1';
const SETTINGS = { segmentBytes: 4_000, indexPageRows: 4, garbageBytes: 1e9, reclaimBytes: 1 };
const SNAPSHOT = '00000000-0000-4000-8000-000000000001';

/** What each block holds; '' is zeroes. */
type Contents = string[];

interface Bench {
  readonly sim: SimDisk;
  readonly contents: Contents;
  readonly pages: readonly PagePointer[];
}

/** A closed store with a tree of several levels; `cleaned`: the log's beginning has gone. */
async function build(cleaned: boolean, snapshot = false): Promise<Bench> {
  const sim = new SimDisk({ random: seeded(1) });
  let stores = await openStores(sim.mount(), { settings: SETTINGS });
  let store = await stores.create({ ...newDeployment, blocks: BLOCKS });
  const contents: Contents = new Array(BLOCKS).fill('');
  const write = (number: number, version: number): void => {
    writeTo(store, data(number, version, 200));
    contents[number] = content(number, version, 200).toString();
  };
  for (let b = 0; b < 100; b++) write(b, 1);
  if (snapshot) await store.snapshot(SNAPSHOT);
  // A block in each segment lives on, and one of them is trimmed in a segment that goes.
  for (let b = 0; cleaned && b < 100; b++) if (b % 14 !== 3) write(b, 2);
  writeTo(store, { block: 70, zero: 6 });
  contents.fill('', 70, 76);
  if (cleaned)
    for (let version = 3; version < 6; version++) for (let b = 0; b < 60; b++) if (b % 14 !== 3) write(b, version);
  await stores.close();
  stores = await openStores(sim.mount(), { settings: SETTINGS });
  store = await stores.open(DEPLOYMENT);
  write(5, 9);
  await stores.close();
  return { sim, contents, pages: await pagesOf(sim) };
}

async function pagesOf(sim: SimDisk): Promise<PagePointer[]> {
  const disk = sim.mount();
  const read = await SuperblockFile.read(disk, DIRECTORY);
  if (!('superblock' in read)) throw new Error('no superblock');
  const { number, bytes } = read.superblock.checkpoint!;
  const identity = storeIdentity(VOLUME, DEPLOYMENT);
  const checkpoint = await readCheckpoint({ disk, path: `${DIRECTORY}/checkpoint.${number}`, identity, number }, bytes);
  if ('what' in checkpoint) throw new Error(checkpoint.what);
  const cache = new IndexMemory(1 << 20).part();
  const pool = new FilePool(disk, 2);
  const file = new PageFile({ disk, pool, directory: DIRECTORY, identity, cache, maxRows: 4 });
  const pages: PagePointer[] = [];
  const walk = async (pointer: PagePointer): Promise<void> => {
    pages.push(pointer);
    const page = await file.read(pointer);
    for (let row = 0; page.level > 0 && row < page.rows; row++) await walk(page.child(row));
  };
  await walk(checkpoint.root!);
  return pages;
}

const damage = (sim: SimDisk, { slot }: PagePointer): void =>
  sim.damage(`${DIRECTORY}/pages`, slot * PAGE_BYTES + 100, (byte) => byte ^ 4);

/** Blocks that can't be read; what can be read is right. Rejects with IndexDamageError. */
async function lostBlocks(store: LocalDeploymentStore, contents: Contents): Promise<number[]> {
  const lost: number[] = [];
  for (let b = 0; b < BLOCKS; b++) {
    let read: StoredBlocks;
    try {
      read = await store.read(block(b), 1);
    } catch (error) {
      if (!(error instanceof BadBlockError)) throw error;
      lost.push(b);
      continue;
    }
    expect(read.batch.payload.toString(), `block ${b}`).toBe(contents[b]);
  }
  return lost;
}

/** Opens the store, again after it has found the damage; looks at all blocks; closes it, and checks what is left. */
async function repaired({ sim, contents }: Bench): Promise<{ lost: number[]; store: LocalDeploymentStore }> {
  const stores = await openStores(sim.mount(), { settings: SETTINGS });
  let store = await stores.open(DEPLOYMENT);
  const lost = await lostBlocks(store, contents).catch(async (error: unknown) => {
    expect(error).toBeInstanceOf(IndexDamageError);
    store = await stores.open(DEPLOYMENT);
    return lostBlocks(store, contents);
  });
  expect(store.damages.length).toBeGreaterThan(0);
  await stores.close();
  await auditIndex(sim.mount());
  const again = await openStores(sim.mount(), { settings: SETTINGS });
  const later = await again.open(DEPLOYMENT);
  expect(later.damages).toEqual([]);
  expect(await lostBlocks(later, contents)).toEqual(lost);
  return { lost, store: later };
}

describe('a damaged page', { timeout: 120_000 }, () => {
  let whole: Bench;
  let cleaned: Bench;
  beforeAll(async () => {
    [whole, cleaned] = await Promise.all([build(false), build(true)]);
    const levels = new Set(cleaned.pages.map(({ level }) => level));
    expect(levels.size).toBeGreaterThanOrEqual(4);
  });
  const copy = (bench: Bench): Bench => ({ ...bench, sim: bench.sim.clone(seeded(2)) });

  it('of any level costs nothing while the log is there from the beginning', async () => {
    for (const page of whole.pages) {
      const bench = copy(whole);
      damage(bench.sim, page);
      const { lost, store } = await repaired(bench);
      expect(lost).toEqual([]);
      expect(store.state.unclean).toBe(page.slot !== whole.pages[0]!.slot);
    }
  });

  it('that is an inner one costs nothing, whatever the log has: its leaves are there', async () => {
    for (const page of cleaned.pages.filter(({ level }) => level > 0)) {
      const bench = copy(cleaned);
      damage(bench.sim, page);
      expect((await repaired(bench)).lost).toEqual([]);
    }
  });

  it('that is a leaf costs what the log does not know of its blocks, and a write brings them back', async () => {
    let most = 0;
    for (const page of cleaned.pages.filter(({ level }) => level === 0)) {
      const bench = copy(cleaned);
      damage(bench.sim, page);
      const { lost, store } = await repaired(bench);
      most = Math.max(most, lost.length);
      expect(lost.length).toBeLessThanOrEqual(30);
      // Dead wherever there is a history, and newer than all: no sync leaves the blocks out.
      const history = [{ epoch: 1 as never, startsAfter: 0 as never }];
      expect(await store.deadBlocks(history, block(0), BLOCKS)).toEqual(lost);
      const before = store.last.sequence;
      for (const b of lost) expect(await lookUp(store, b)).toMatchObject({ kind: KIND_LOST, order: { epoch: 0 } });
      if (lost.length === 0) continue;
      expect(store.state.unclean).toBe(true);
      const newer = await store.newerThan((before - 10) as never, block(0), BLOCKS);
      for (const b of lost) expect(newer).toContain(b);
      for (const b of lost) writeTo(store, data(b, 20, 50));
      for (const b of lost) expect((await store.read(block(b), 1)).batch.payload).toEqual(content(b, 20, 50));
    }
    expect(most).toBeGreaterThan(3);
  });

  it('that an opening meets first, as it has to write the checkpoint anew, is repaired by the next one', async () => {
    for (const page of whole.pages.filter(({ level }) => level === 0).slice(0, 8)) {
      const { sim, contents } = copy(whole);
      damage(sim, page);
      sim.damage(
        sim
          .files()
          .find((name) => name.endsWith('.copy'))!
          .slice(0, -'.copy'.length),
        100,
        (byte) => byte ^ 1,
      );
      const stores = await openStores(sim.mount(), { settings: SETTINGS });
      let opened = await stores.open(DEPLOYMENT).catch((error: unknown) => {
        expect(error).toBeInstanceOf(IndexDamageError);
      });
      opened ??= await stores.open(DEPLOYMENT);
      const lost = await lostBlocks(opened, contents).catch(async () => {
        opened = await stores.open(DEPLOYMENT);
        return lostBlocks(opened, contents);
      });
      expect(lost).toEqual([]);
      await stores.close();
      await auditIndex(sim.mount());
    }
  });

  it('and others, and a batch of the log: never wrong data', async () => {
    const random = seeded(7);
    for (let round = 0; round < 40; round++) {
      const bench = copy(round % 2 === 0 ? whole : cleaned);
      for (let n = 0; n < 1 + (round % 4); n++)
        damage(bench.sim, bench.pages[Math.floor(random.next() * bench.pages.length)]!);
      const segment = bench.sim
        .files()
        .filter((name) => name.endsWith('.blob'))
        .at(-2)!;
      if (round % 3 === 0) bench.sim.damage(segment, 70, (byte) => byte ^ 1);
      await repaired(bench);
    }
  });

  it('that is an inner one, and a leaf below it that the disk never wrote: what was there before is not trusted', async () => {
    const pages = `${DIRECTORY}/pages`;
    const sim = new SimDisk({ random: seeded(1) });
    const random = seeded(5);
    const contents: Contents = new Array(BLOCKS).fill('');
    /** The file behind each checkpoint. */
    const older: Uint8Array[] = [];
    for (let version = 1; version <= 8; version++) {
      const stores = await openStores(sim.mount(), { settings: SETTINGS });
      const store = await stores.open(DEPLOYMENT).catch(() => stores.create({ ...newDeployment, blocks: BLOCKS }));
      for (let n = 0; n < 50; n++) {
        const number = Math.floor(random.next() * BLOCKS);
        writeTo(store, data(number, version, 200));
        contents[number] = content(number, version, 200).toString();
      }
      await stores.close();
      older.push(sim.contents(pages));
    }
    const bench: Bench = { sim, contents, pages: await pagesOf(sim) };
    let misplaced = 0;
    for (const [i, leaf] of bench.pages.entries()) {
      if (leaf.level > 0) continue;
      const parent = bench.pages.slice(0, i).findLast(({ level }) => level === 1)!;
      const [from, end] = [leaf.slot * PAGE_BYTES, (leaf.slot + 1) * PAGE_BYTES];
      const present = Buffer.from(older.at(-1)!.slice(from, end));
      const before = older.map((file) => Buffer.from(file.slice(from, end))).findLast((page) => !page.equals(present));
      if (before === undefined || before.length === 0) continue;
      const one = copy(bench);
      for (const [at, byte] of before.entries()) one.sim.damage(pages, from + at, () => byte);
      damage(one.sim, parent);
      await repaired(one);
      misplaced++;
    }
    expect(misplaced).toBeGreaterThan(10);
  });

  it('that a snapshot shares costs blocks of both, and no more', async () => {
    const bench = await build(true, true);
    for (const page of bench.pages) {
      const one = copy(bench);
      damage(one.sim, page);
      const stores = await openStores(one.sim.mount(), { settings: SETTINGS });
      let store = await stores.open(DEPLOYMENT);
      await lostBlocks(store, one.contents).catch(async () => {
        store = await stores.open(DEPLOYMENT);
        await lostBlocks(store, one.contents);
      });
      for (let b = 0; b < 100; b++) {
        const read = await store.readSnapshot(SNAPSHOT, [block(b)]).catch((error: unknown) => {
          expect(error).toBeInstanceOf(IndexDamageError);
        });
        if (read !== undefined) expect(read.batch.payload).toEqual(content(b, 1, 200));
      }
      expect(store.failed).toBe(false);
      await store.removeSnapshot(SNAPSHOT);
      await lostBlocks(store, one.contents);
      await stores.close();
    }
  });

  it('is read again before it counts as damaged', async () => {
    const bench = copy(cleaned);
    const disk = bench.sim.mount();
    let failures = 0;
    const open = disk.open.bind(disk);
    disk.open = (path, options) => {
      const file = open(path, options);
      if (!path.endsWith('/pages')) return file;
      const readAsync = file.readAsync.bind(file);
      file.readCached = () => false;
      file.readAsync = (buffer, position) => {
        if (++failures % 3 === 0) return readAsync(buffer, position);
        return readAsync(buffer, position).then((count) => {
          buffer.fill(0);
          return count;
        });
      };
      return file;
    };
    const stores = await openStores(disk, { settings: SETTINGS });
    const store = await stores.open(DEPLOYMENT);
    expect(await lostBlocks(store, bench.contents)).toEqual([]);
    expect(failures).toBeGreaterThan(3);
    expect(store.damages).toEqual([]);
  });
});
