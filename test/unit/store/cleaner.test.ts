import { describe, expect, it } from 'vitest';
import { DiskError, type IndexedBlock } from '../../../core/ports.js';
import type { LocalDeploymentStore } from '../../../node-agent/store/deployment-store.js';
import type { StoreSettings } from '../../../node-agent/store/environment.js';
import { Pace } from '../../../node-agent/store/pace.js';
import { SimDisk } from '../../sim/sim-disk.js';
import {
  batchOf,
  block,
  content,
  DEPLOYMENT,
  data,
  epoch,
  instantClock,
  lookUp,
  newDeployment,
  openStores,
  order,
  seeded,
  sequence,
  type TestEntry,
  writeWhenRoom,
} from './support.js';

const SEGMENT_BYTES = 64 * 1024;
const SETTINGS = {
  segmentBytes: SEGMENT_BYTES,
  reclaimBytes: SEGMENT_BYTES / 2,
  garbageBytes: 2 * SEGMENT_BYTES,
  cleanBytesPerSecond: Number.POSITIVE_INFINITY,
};
const BLOCKS = 240;

interface BenchOptions extends Partial<StoreSettings> {
  readonly capacityBytes?: number;
  readonly reserveBytes?: number;
}

async function bench(options: BenchOptions = {}) {
  const { capacityBytes, reserveBytes = 0, ...settings } = options;
  const sim = new SimDisk({ random: seeded(5), ...(capacityBytes === undefined ? {} : { capacityBytes }) });
  const bad: IndexedBlock[] = [];
  const onBadBlocks = (_deployment: string, blocks: readonly IndexedBlock[]) => void bad.push(...blocks);
  const stores = await openStores(sim.mount(), { settings: { ...SETTINGS, ...settings }, reserveBytes, onBadBlocks });
  return { sim, bad, stores, store: await stores.create(newDeployment) };
}

function write(store: LocalDeploymentStore, ...entries: TestEntry[]): void {
  const firstSequence = sequence(store.last.sequence + 1);
  store.append({ epoch: epoch(1), firstSequence, batch: batchOf(...entries) });
}

/** Checkpoints that are under way come to their end. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 60; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Until there is nothing left to clean; the space comes back meanwhile. */
async function clean(store: LocalDeploymentStore): Promise<number> {
  let turns = 0;
  for (let last = false; ; last = true) {
    while (await store.clean(new Pace(instantClock))) {
      last = false;
      turns++;
      await settle();
    }
    if (last) break;
    // A checkpoint may have found more garbage.
    await settle();
  }
  return turns;
}

/** Fills BLOCKS blocks, then overwrites all but every eighth of them: each old segment keeps a few. */
function scatter(store: LocalDeploymentStore): void {
  for (let i = 0; i < BLOCKS; i++) write(store, data(i, 1, 4096));
  for (let i = 0; i < BLOCKS; i++) if (i % 8 !== 0) write(store, data(i, 2, 4096));
}

async function expectScattered(store: LocalDeploymentStore, except: readonly number[] = []): Promise<void> {
  for (let i = 0; i < BLOCKS; i++) {
    if (except.includes(i)) continue;
    const { orders, batch } = await store.read(block(i), 1);
    expect(batch.payload.toString()).toBe(content(i, i % 8 === 0 ? 1 : 2, 4096).toString());
    if (i % 8 === 0) expect(orders[0]?.sequence).toBe(i + 1);
  }
}

describe('cleaning', () => {
  it('gives sparse segments back, and changes neither contents nor orders', async () => {
    const { store } = await bench();
    scatter(store);
    const before = store.usedBytes;
    const newer = await store.newerThan(sequence(100), block(0), 1000);
    expect(await clean(store)).toBeGreaterThan(4);
    expect(store.usedBytes).toBeLessThan(0.85 * before);
    const live = BLOCKS * 4096;
    expect(store.usedBytes).toBeLessThanOrEqual(1.5 * live + 4 * SEGMENT_BYTES);
    await expectScattered(store);
    expect(await store.newerThan(sequence(100), block(0), 1000)).toEqual(newer);
  });

  it('leaves a little garbage alone', async () => {
    const { store } = await bench();
    for (let i = 0; i < BLOCKS; i++) write(store, data(i, 1, 4096));
    for (let i = 0; i < BLOCKS; i += 10) write(store, data(i, 2, 4096));
    expect(await clean(store)).toBe(0);
    expect(store.cleaned).toEqual({ segments: 0, copiedBytes: 0 });
  });

  it('is bounded under endless scattered overwrites, and so are the bytes that it copies', async () => {
    // What an overwrite leaves behind is known at the next checkpoint.
    const { store } = await bench({ checkpointBytes: 2 * SEGMENT_BYTES });
    const random = seeded(9);
    let written = 0;
    for (let i = 0; i < BLOCKS; i++) write(store, data(i, 0, 4096));
    for (let round = 1; round <= 40; round++) {
      for (let i = 0; i < 60; i++, written += 4096) {
        write(store, data(Math.floor(random.next() * BLOCKS), round, 4096));
      }
      await clean(store);
      expect(store.usedBytes).toBeLessThanOrEqual(1.5 * BLOCKS * 4200 + 7 * SEGMENT_BYTES);
    }
    expect(store.cleaned.copiedBytes).toBeLessThan(2 * written);
  });

  it('survives power cuts: copies or originals are there, TRIMs stay', async () => {
    const { sim, store } = await bench();
    scatter(store);
    write(store, { block: 0, zero: 2 });
    await store.flush();
    await clean(store);
    for (const bootId of ['boot-2', 'boot-3']) {
      sim.crash({ power: true });
      const again = await (await openStores(sim.mount(), { bootId, settings: SETTINGS })).open(DEPLOYMENT);
      expect(await lookUp(again, 1)).toMatchObject({ kind: 2, order: order(1, store.last.sequence) });
      await expectScattered(again, [0, 1]);
    }
  });

  it('keeps dead orders dead', async () => {
    const { store } = await bench();
    scatter(store);
    const history = [
      { epoch: epoch(1), startsAfter: sequence(0) },
      { epoch: epoch(2), startsAfter: sequence(40) },
    ];
    const dead = await store.deadBlocks(history, block(0), 1000);
    expect(dead.length).toBeGreaterThan(100);
    expect(await clean(store)).toBeGreaterThan(0);
    expect(await store.deadBlocks(history, block(0), 1000)).toEqual(dead);
  });

  it('raises the floor of the log: whoever lacks more gets the blocks instead', async () => {
    const { store } = await bench();
    scatter(store);
    expect((await store.readLog(sequence(1), 1 << 20))?.[0]?.firstSequence).toBe(1);
    await clean(store);
    expect(await store.readLog(sequence(1), 1 << 20)).toBeUndefined();
    const { sequence: last } = store.last;
    expect((await store.readLog(sequence(last - 3), 1 << 20))?.length).toBe(4);
  });

  it('does not move a damaged block: it is reported, and its segment stays until it is healed', async () => {
    const { sim, stores, store, bad } = await bench();
    scatter(store);
    await store.flush();
    const path = sim.files().find((name) => name.endsWith('.0.blob'))!;
    sim.damage(path, Buffer.from(sim.contents(path)).indexOf('block 8 version 1'), (byte) => byte ^ 1);
    await clean(store);
    expect(bad.map((found) => ({ block: found.block, order: found.order }))).toEqual([
      { block: 8, order: order(1, 9) },
    ]);
    expect(sim.files()).toContain(path);
    await expectScattered(store, [8]);
    store.backfill({ orders: [order(1, 9)], batch: batchOf(data(8, 1, 4096)) });
    await expectScattered(store);
    // Then it has no live block, and goes with the next checkpoint.
    await stores.close();
    const again = await openStores(sim.mount(), { settings: SETTINGS });
    await expectScattered(await again.open(DEPLOYMENT));
    expect(sim.files()).not.toContain(path);
  });

  it('goes around a damaged batch', async () => {
    const { sim, store } = await bench();
    scatter(store);
    await store.flush();
    const path = sim.files().find((name) => name.endsWith('.1.blob'))!;
    const headers = sim.files().filter((name) => name.endsWith('.blob')).length;
    sim.damage(path, 8, (byte) => byte ^ 1);
    await clean(store);
    expect(sim.files().filter((name) => name.endsWith('.blob')).length).toBeLessThan(headers);
    await expectScattered(store);
  });

  it('makes room on a disk that is full for users, from its share of the reserve', async () => {
    const { store } = await bench({ capacityBytes: 3_000_000, reserveBytes: 600_000 });
    // One in eight stays: no segment goes without the cleaner.
    let kept = BLOCKS;
    const fill = async (version: number): Promise<number> => {
      for (let i = 0; ; i++) {
        try {
          await writeWhenRoom(store, data(i % 8 === 0 ? kept++ : i % BLOCKS, version, 4096));
        } catch (error) {
          if (error instanceof DiskError && error.code === 'no-space') return i;
          throw error;
        }
      }
    };
    const seen = new Map<number, string>();
    for (let round = 1; round <= 5; round++) {
      await fill(round);
      await expect(writeWhenRoom(store, data(0, 99, 4096))).rejects.toThrow(DiskError);
      for (let i = 0; i < BLOCKS; i++) seen.set(i, (await store.read(block(i), 1)).batch.payload.toString());
      await clean(store);
      for (const [i, text] of seen) expect((await store.read(block(i), 1)).batch.payload.toString()).toBe(text);
      await writeWhenRoom(store, data(0, 99, 4096));
    }
  });

  it('a write between looking and copying wins', async () => {
    const { store } = await bench({ segmentBytes: 4 << 20, garbageBytes: 0 });
    const count = 4096;
    for (let i = 0; i < count; i++) write(store, data(i, 1, 4096));
    for (let i = 0; i < count; i++) if (i % 8 !== 0) write(store, data(i, 2, 4096));
    const version = (i: number) => (overwritten.has(i) ? 3 : i % 8 === 0 ? 1 : 2);
    const overwritten = new Set<number>();
    const pace = new Pace({
      ...instantClock,
      after: (_delayMs, run) => {
        // Of the first segment, whose live blocks have been gathered in part by now.
        for (let i = 8 * overwritten.size, end = i + 64; i < end; i += 8) {
          overwritten.add(i);
          write(store, data(i, 3, 4096));
        }
        return instantClock.after(0, run);
      },
    });
    await store.clean(pace);
    expect(overwritten.size).toBeGreaterThan(20);
    expect(store.cleaned.copiedBytes).toBeGreaterThan(100_000);
    for (let i = 0; i < count; i++) {
      const { batch } = await store.read(block(i), 1);
      if (!batch.payload.equals(content(i, version(i), 4096))) expect.fail(`block ${i}`);
    }
  });

  it('waits when there is no room for copies, and goes on when there is', async () => {
    const { sim, stores, store } = await bench();
    scatter(store);
    await store.written();
    sim.capacityBytes = sim.usedBytes();
    await stores.findDevices();
    expect(await store.clean(new Pace(instantClock))).toBe(false);
    await expectScattered(store);
    sim.capacityBytes = Number.MAX_SAFE_INTEGER;
    await stores.findDevices();
    expect(await clean(store)).toBeGreaterThan(0);
    await expectScattered(store);
  });

  it('stops when its pace is stopped, and when the store is closed', async () => {
    const { store } = await bench();
    scatter(store);
    const pace = new Pace(instantClock);
    pace.stop();
    await store.clean(pace);
    expect(store.cleaned.segments).toBe(0);
    const cleaning = store.clean(new Pace(instantClock));
    await store.close();
    await cleaning;
    expect(await store.clean(new Pace(instantClock))).toBe(false);
  });
});

describe('the pace', () => {
  it('makes work wait for what was spent before', async () => {
    let now = 0;
    const delays: number[] = [];
    const pace = new Pace({
      ...instantClock,
      now: () => now,
      after: (delayMs, run) => {
        delays.push(delayMs);
        return instantClock.after(0, run);
      },
    });
    await pace.spend(1000, 1000);
    await pace.spend(500, 1000);
    now = 5000;
    await pace.spend(100, 1000);
    expect(delays).toEqual([1000, 1500, 100]);
  });
});
