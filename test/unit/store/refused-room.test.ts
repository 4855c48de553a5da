/**
 * Who else uses a disk takes and gives back space at any time, and the disk may answer late. An append is refused only
 * if there is too little room while it asks, and what was promised room is written whatever others take then.
 */

import { describe, expect, it } from 'vitest';
import { type Clock, type Disk, DiskError, type DiskSpace } from '../../../core/ports.js';
import { ENTRY_BYTES } from '../../../core/record.js';
import { HEADER_BYTES, ORDER_BYTES } from '../../../node-agent/store/format.js';
import { Scheduler, SeededRandom } from '../../sim/scheduler.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { batchOf, data, epoch, newDeployment, openStores, sequence, writeTo, writeWhenRoom } from './support.js';

const MIB = 1024 * 1024;
const SEEDS = 20;
const STEPS = 40;
const RESERVE_BYTES = 4 * MIB;
/** With more than this above the reserve nobody asks for room, and others take less than it in a second. */
const MARGIN_BYTES = 64 * MIB;
const BLOCK_BYTES = 4096;
/** Of the reserve, a payload leaves all free, and a record a quarter. */
const KEPT_BYTES = { payload: RESERVE_BYTES, record: RESERVE_BYTES / 4 };

interface Asking {
  readonly missing: (freeBytes: number) => boolean;
  /** There was too little at some moment. */
  was: boolean;
}

function virtualTime() {
  const scheduler = new Scheduler();
  const clock: Clock = {
    now: () => scheduler.now,
    timestamp: () => '2026-01-01T00:00:00Z',
    after: (delayMs, run) => scheduler.after(delayMs, run),
  };
  const until = async <T>(promise: Promise<T>): Promise<T> => {
    let settled = false;
    const end = (): void => {
      settled = true;
    };
    promise.then(end, end);
    await scheduler.run(Number.MAX_SAFE_INTEGER, () => settled);
    return promise;
  };
  return { scheduler, clock, until };
}

async function live(seed: number): Promise<{ refused: number; taken: number }> {
  const random = new SeededRandom(seed);
  const { scheduler, clock, until } = virtualTime();
  // On every other disk some answers take longer than what counts as none.
  const slow = random.chance(0.5);
  const sim = new SimDisk({
    random,
    clock,
    syncDelayMs: { min: 1, max: slow ? 2_000 : 20 },
    cachedDelayMs: { min: 0, max: slow ? 400 : 1 },
    capacityBytes: RESERVE_BYTES + 40 * MIB,
  });
  let asking: Asking | undefined;
  const see = (): void => {
    if (asking?.missing(sim.freeBytes())) asking.was = true;
  };
  const jump = (freeBytes: number): void => {
    sim.capacityBytes = sim.usedBytes() + freeBytes;
    see();
  };
  sim.onOperation = see;
  const stores = await until(openStores(sim.mount(), { clock, reserveBytes: RESERVE_BYTES }));
  const store = await until(stores.create(newDeployment));
  const counts = { refused: 0, taken: 0 };
  const others = (): void => {
    scheduler.after(random.between(0, 1_500), () => {
      jump(random.chance(0.5) ? random.int(0, 3 * RESERVE_BYTES) : random.int(0, RESERVE_BYTES + MARGIN_BYTES / 2));
      others();
    });
  };
  others();
  const append = (blocks: number, zero: boolean): void => {
    const list = zero ? [{ block: 0, zero: 1 }] : Array.from({ length: blocks }, (_, i) => data(i, 1, BLOCK_BYTES));
    store.append({ epoch: epoch(1), firstSequence: sequence(store.last.sequence + 1), batch: batchOf(...list) });
  };
  for (let step = 0; step < STEPS; step++) {
    const zero = random.chance(0.2);
    const blocks = zero ? 1 : random.int(1, 64);
    const payload = zero ? 0 : blocks * BLOCK_BYTES;
    const bytes = HEADER_BYTES + blocks * (ENTRY_BYTES + ORDER_BYTES) + payload;
    const kept = KEPT_BYTES[zero ? 'record' : 'payload'];
    if (random.chance(0.3))
      await until(new Promise<void>((resolve) => scheduler.after(random.between(0, 2_000), resolve)));
    for (let attempt = 0; attempt < 8 && !store.hasRoom(blocks, payload); attempt++) {
      // What it takes in blocks of the file system.
      asking = { missing: (freeBytes) => freeBytes - bytes - BLOCK_BYTES < kept, was: false };
      see();
      const refused = await until(store.makeRoom(blocks, payload).then(() => false, noSpace));
      if (refused) {
        expect([seed, step, asking.was]).toEqual([seed, step, true]);
        counts.refused++;
        break;
      }
    }
    asking = undefined;
    if (!store.hasRoom(blocks, payload)) continue;
    append(blocks, zero);
    counts.taken++;
    if (random.chance(0.3)) jump(random.int(0, RESERVE_BYTES));
    if (random.chance(0.5)) await until(store.written());
    if (random.chance(0.2)) await until(store.flush());
  }
  await until(store.flush());
  expect([seed, store.failed]).toEqual([seed, false]);
  return counts;
}

/** A deployment on disks 1 and 2, of which each says that it has as much room as it is told to. */
async function onTwoDisks() {
  const sim = new SimDisk({ random: new SeededRandom(1) });
  const mounted = sim.mount();
  for (const path of ['data', 'data/dev1', 'data/dev2']) await mounted.makeDirectoryAsync(path);
  const { scheduler, clock, until } = virtualTime();
  const freeBytes = new Map<string, number>();
  const silent = new Set<string>();
  const disk: Disk = new Proxy(mounted, {
    get: (target, name) => {
      if (name === 'spaceAsync') {
        return (path: string): Promise<DiskSpace> =>
          silent.has(path)
            ? new Promise(() => {})
            : Promise.resolve({ fileSystem: path, totalBytes: 1 << 30, freeBytes: freeBytes.get(path) ?? 1 << 30 });
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const settings = { segmentBytes: 64 * 1024 };
  const stores = await until(openStores(disk, { clock, reserveBytes: RESERVE_BYTES, settings }));
  const store = await until(stores.create(newDeployment));
  const pathOf = (number: number): string => `data/dev${number}`;
  return {
    scheduler,
    stores,
    store,
    until,
    free: (number: number, bytes: number) => freeBytes.set(pathOf(number), bytes),
    /** It owes the answer to whatever it is asked about its room from now on. */
    stopAnswering: (number: number) => silent.add(pathOf(number)),
    segmentsOn: (number: number) =>
      sim.files().filter((path) => path.startsWith(pathOf(number)) && path.endsWith('.blob')).length,
  };
}

function noSpace(error: unknown): true {
  if (!(error instanceof DiskError && error.code === 'no-space')) throw error;
  return true;
}

describe('room for an append', () => {
  it('is refused only if it was not there, and holds when it was promised', async () => {
    const total = { refused: 0, taken: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { refused, taken } = await live(seed);
      total.refused += refused;
      total.taken += taken;
    }
    expect(total.refused).toBeGreaterThan(SEEDS);
    expect(total.taken).toBeGreaterThan(SEEDS * 10);
  });

  it('is not waited for on a disk that has nothing of the deployment', async () => {
    const { stores, store, until, free, stopAnswering, segmentsOn } = await onTwoDisks();
    writeTo(store, data(1, 1));
    await until(store.flush());
    const used = segmentsOn(1) > 0 ? 1 : 2;
    free(1, 0);
    free(2, 0);
    await until(stores.findDevices());
    stopAnswering(used === 1 ? 2 : 1);
    for (let i = 0; i < 3; i++)
      expect(await until(store.makeRoom(1, BLOCK_BYTES).then(() => false, noSpace))).toBe(true);
  });

  it('is made for others, and the end is not put off, while an append waits for a disk that never answers', async () => {
    const { scheduler, stores, store, until, free, stopAnswering, segmentsOn } = await onTwoDisks();
    let written = 0;
    const fill = async (number: number): Promise<void> => {
      while (segmentsOn(number) === 0) await until(writeWhenRoom(store, data(written++ % 64, 1, BLOCK_BYTES)));
    };
    free(1, 0);
    await until(stores.findDevices());
    await fill(2);
    free(1, 1 << 30);
    free(2, 0);
    await until(stores.findDevices());
    await fill(1);
    await until(store.flush());
    // Records and copies may take a part of the reserve, payloads none of it.
    free(1, RESERVE_BYTES - MIB);
    await until(stores.findDevices());
    stopAnswering(2);
    const refused = store.makeRoom(1, BLOCK_BYTES).then(
      () => undefined,
      (error: unknown) => error,
    );
    let waits = true;
    refused.then(() => {
      waits = false;
    });
    await scheduler.run(scheduler.now + 60_000);
    expect(waits).toBe(true);
    // A TRIM.
    await until(store.makeRoom(1000, 0));
    expect(waits).toBe(true);
    await until(store.close());
    expect(await refused).toMatchObject({ name: 'StoreClosedError' });
    expect(store.failed).toBe(false);
  });
});
