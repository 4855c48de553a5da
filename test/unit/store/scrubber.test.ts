import { describe, expect, it } from 'vitest';
import { BadBlockError, type Clock, type IndexedBlock } from '../../../core/ports.js';
import type { LocalDeploymentStore } from '../../../node-agent/store/deployment-store.js';
import type { StoreSettings } from '../../../node-agent/store/environment.js';
import { type Damage, StoreCorruptError } from '../../../node-agent/store/errors.js';
import { HEADER_BYTES } from '../../../node-agent/store/format.js';
import { SimDisk } from '../../sim/sim-disk.js';
import {
  batchOf,
  block,
  content,
  DEPLOYMENT,
  data,
  epoch,
  newDeployment,
  openStores,
  order,
  seeded,
  sequence,
} from './support.js';

const BLOCKS = 600;

/** A clock that goes on by itself whenever somebody waits. */
function hastyClock(): Clock & { readonly slept: number[] } {
  let now = 0;
  const slept: number[] = [];
  return {
    slept,
    now: () => now,
    timestamp: () => '2026-01-01T00:00:00Z',
    after: (delayMs, run) => {
      const timer = setImmediate(() => {
        now += delayMs;
        slept.push(delayMs);
        run();
      });
      return { cancel: () => clearImmediate(timer) };
    },
  };
}

/** A clock whose time goes from one timer to the next; the disk takes none of it. */
function virtualClock(): Clock {
  const timers: { readonly at: number; readonly run: () => void }[] = [];
  let now = 0;
  const next = (): void => {
    const timer = timers.sort((a, b) => a.at - b.at).shift();
    if (timer === undefined) return;
    now = timer.at;
    timer.run();
    setImmediate(next);
  };
  return {
    now: () => now,
    timestamp: () => '2026-01-01T00:00:00Z',
    after: (delayMs, run) => {
      const timer = { at: now + delayMs, run };
      if (timers.push(timer) === 1) setImmediate(next);
      return { cancel: () => void timers.splice(timers.indexOf(timer) >>> 0, 1) };
    },
  };
}

async function bench(settings: Partial<StoreSettings> = {}, clock?: Clock) {
  const sim = new SimDisk({ random: seeded(5) });
  const bad: IndexedBlock[] = [];
  const onBadBlocks = (_deployment: string, blocks: readonly IndexedBlock[]) => void bad.push(...blocks);
  const damages: Damage[] = [];
  const onDamage = (_deployment: string, damage: Damage) => void damages.push(damage);
  const options = { settings, onBadBlocks, onDamage, ...(clock !== undefined && { clock }) };
  const stores = await openStores(sim.mount(), options);
  const store = await stores.create(newDeployment);
  for (let i = 0; i < BLOCKS; i++) {
    store.append({ epoch: epoch(1), firstSequence: sequence(i + 1), batch: batchOf(data(i * 3, 1, 1000)) });
  }
  await store.written();
  return { sim, bad, damages, stores, store };
}

function damage(sim: SimDisk, text: string): void {
  const path = sim.files().find((name) => Buffer.from(sim.contents(name)).includes(text))!;
  sim.damage(path, Buffer.from(sim.contents(path)).indexOf(text), (byte) => byte ^ 1);
}

/** Damages the header, or the table, of the batch in the middle of the log. */
function rot(sim: SimDisk, part: string): void {
  const path = sim.files().find((name) => name.endsWith('.blob'))!;
  const bytes = Buffer.from(sim.contents(path));
  const header = bytes.indexOf('SOSB', bytes.length / 2);
  sim.damage(path, header + (part === 'header' ? 60 : HEADER_BYTES + 4), (byte) => byte ^ 1);
}

async function openAgain(sim: SimDisk): Promise<LocalDeploymentStore> {
  return (await openStores(sim.mount())).open(DEPLOYMENT);
}

async function pass(store: LocalDeploymentStore): Promise<number> {
  const { passes } = store.scrubProgress;
  let bytes = 0;
  for (let steps = 0; store.scrubProgress.passes === passes; steps++) {
    expect(steps).toBeLessThan(100);
    bytes += await store.scrub();
  }
  return bytes;
}

describe('a scrub', () => {
  it('reads everything that is stored, and finds nothing wrong with what is not', async () => {
    const { store, bad, damages } = await bench();
    const totalBytes = BLOCKS * 1000;
    expect(store.scrubProgress).toEqual({ doneBytes: 0, totalBytes, passes: 0, endedMs: null });
    await store.scrub();
    const { doneBytes } = store.scrubProgress;
    expect([doneBytes > 0, doneBytes < totalBytes]).toEqual([true, true]);
    // All of it is in the log behind the first checkpoint: batches are read as well.
    expect(await pass(store)).toBeGreaterThan(2 * totalBytes - doneBytes);
    expect([bad, damages]).toEqual([[], []]);
    const endedMs = Date.parse('2026-01-01T00:00:00Z');
    expect(store.scrubProgress).toEqual({ doneBytes: 0, totalBytes, passes: 1, endedMs });
    expect(store.statistics.scrubbed).toEqual({ readBytes: totalBytes, badBlocks: 0, damages: 0 });
  });

  it('knows when it was done last, also after a restart', async () => {
    const { sim, store, stores } = await bench();
    await pass(store);
    const before = store.scrubProgress;
    await stores.close();
    const again = await (await openStores(sim.mount())).open(DEPLOYMENT);
    expect(again.scrubProgress).toEqual(before);
  });

  it.each(['header', 'table'])(
    'replaces the log when the %s of a batch has rotted, before anybody needs it',
    async (part) => {
      const lost = await bench();
      rot(lost.sim, part);
      lost.sim.crash({ power: false });
      await expect(openAgain(lost.sim)).rejects.toThrow(StoreCorruptError);

      const { sim, store, damages } = await bench();
      rot(sim, part);
      await pass(store);
      expect(damages).toMatchObject([{ what: part === 'header' ? 'no batch header' : 'batch table checksum' }]);
      expect(store.statistics.scrubbed.damages).toBe(1);
      for (let turn = 0; store.statistics.checkpoints.checkpoints === 0; turn++) {
        expect(turn).toBeLessThan(100);
        await new Promise((resolve) => setImmediate(resolve));
      }
      store.append({ epoch: epoch(1), firstSequence: sequence(BLOCKS + 1), batch: batchOf(data(1, 1, 1000)) });
      await store.written();
      // Nothing is left to be replaced.
      await pass(store);
      expect(damages).toHaveLength(1);
      sim.crash({ power: false });
      const again = await openAgain(sim);
      expect([again.last.sequence, again.damages]).toEqual([BLOCKS + 1, []]);
      for (let i = 0; i < BLOCKS; i++) {
        const { payload } = (await again.read(block(i * 3), 1)).batch;
        expect(content(i * 3, 1, 1000).equals(payload)).toBe(true);
      }
    },
  );

  it('reads no more of the log than there was when it came there', async () => {
    const { store } = await bench();
    let appended = 0;
    for (let steps = 0; store.scrubProgress.passes === 0; steps++) {
      expect(steps).toBeLessThan(20);
      // Faster than any scrub.
      for (let i = 0; i < 2 * BLOCKS; i++, appended++) {
        const batch = batchOf(data(i, 2, 1000));
        store.append({ epoch: epoch(1), firstSequence: sequence(BLOCKS + appended + 1), batch });
      }
      await store.written();
      await store.scrub();
    }
  });

  it('reports bad blocks with their orders, every time until they are healed or overwritten', async () => {
    const { sim, store, bad } = await bench();
    damage(sim, 'block 300 version 1');
    damage(sim, 'block 1500 version 1');
    await pass(store);
    const found = [
      { block: 300, order: order(1, 101) },
      { block: 1500, order: order(1, 501) },
    ];
    expect(bad).toMatchObject(found);
    bad.length = 0;
    store.backfill({ orders: [order(1, 101)], batch: batchOf(data(300, 1, 1000)) });
    await pass(store);
    expect(bad).toMatchObject(found.slice(1));
  });

  it('tells how many blocks are known to be bad, until they are replaced or read intact', async () => {
    const { sim, store } = await bench();
    for (const number of [300, 600, 1500]) damage(sim, `block ${number} version 1`);
    expect(store.badBlocks).toBe(0);
    await expect(store.read(block(300), 1)).rejects.toThrow(BadBlockError);
    expect(store.badBlocks).toBe(1);
    await pass(store);
    expect(store.badBlocks).toBe(3);
    store.backfill({ orders: [order(1, 101)], batch: batchOf(data(300, 1, 1000)) });
    expect(store.badBlocks).toBe(2);
    store.append({ epoch: epoch(1), firstSequence: sequence(BLOCKS + 1), batch: batchOf({ block: 590, zero: 20 }) });
    expect(store.badBlocks).toBe(1);
    // It was the reading that went wrong, and not for good.
    damage(sim, 'clock 1500 version 1');
    await store.read(block(1500), 1);
    expect(store.badBlocks).toBe(0);
    expect(store.statistics).toMatchObject({ badBlocks: 0, scrubbed: { badBlocks: 3 } });
  });

  it.each([0, 1])('replaces a checkpoint of which file %i has rotted, before the other one does', async (which) => {
    const { sim, stores } = await bench();
    await stores.close();
    const again = await openStores(sim.mount());
    const store = await again.open(DEPLOYMENT);
    const checkpoints = () => sim.files().filter((name) => name.includes('checkpoint'));
    const before = checkpoints();
    sim.damage(before[which]!, 100, (byte) => byte ^ 1);
    await pass(store);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(checkpoints()).toHaveLength(2);
    expect(before.some((name) => checkpoints().includes(name))).toBe(false);
    sim.crash({ power: true });
    expect((await (await openStores(sim.mount(), { bootId: 'boot-2' })).open(DEPLOYMENT)).last.sequence).toBe(BLOCKS);
  });

  it('goes on where it was after a restart', async () => {
    const { sim, store, stores } = await bench();
    await store.scrub();
    const { doneBytes } = store.scrubProgress;
    expect(doneBytes).toBeGreaterThan(0);
    await stores.close();
    const again = await (await openStores(sim.mount())).open(DEPLOYMENT);
    expect(again.scrubProgress).toMatchObject({ doneBytes, passes: 0 });
  });

  it('has its time for all that it reads, of which most may be log of few blocks', async () => {
    const clock = virtualClock();
    const settings = { scrubIntervalMs: 20_000, scrubBytesPerSecond: 10_000_000, maintenanceIntervalMs: 50 };
    const noCheckpoint = { checkpointBytes: 64 << 20, reclaimBytes: 64 << 20, garbageFraction: 1_000 };
    const { store, stores } = await bench({ ...settings, ...noCheckpoint }, clock);
    for (let i = 0; i < 10 * BLOCKS; i++) {
      store.append({ epoch: epoch(1), firstSequence: sequence(BLOCKS + i + 1), batch: batchOf(data(i % 5, 1, 1000)) });
    }
    await store.written();
    expect(store.scrubBytes).toBeGreaterThan(8 * store.statistics.liveBytes);
    const until = async (passes: number): Promise<void> => {
      while (store.scrubProgress.passes < passes) await new Promise((resolve) => setImmediate(resolve));
    };
    await until(1);
    const from = clock.now();
    await until(4);
    expect(clock.now() - from).toBeLessThan(1.5 * 3 * settings.scrubIntervalMs);
    await stores.close();
  });

  it('begins no pass before it has to, however little there is to read', async () => {
    const clock = virtualClock();
    const settings = { scrubIntervalMs: 10_000_000, scrubBytesPerSecond: 10_000_000, maintenanceIntervalMs: 60_000 };
    const { store, stores } = await bench(settings, clock);
    const from = clock.now();
    while (store.scrubProgress.passes < 3) await new Promise((resolve) => setImmediate(resolve));
    // The first of them begins at once, and a pass may be read in the last part of its time.
    expect(clock.now() - from).toBeGreaterThan(settings.scrubIntervalMs);
    await stores.close();
  });

  it('runs by itself, no faster than it has to, and rests while it is paused', async () => {
    const clock = hastyClock();
    const bytes = BLOCKS * 1000;
    const settings = { scrubIntervalMs: 20_000, scrubBytesPerSecond: 50_000, maintenanceIntervalMs: 60_000 };
    const { store, stores } = await bench(settings, clock);
    const until = async (passes: number): Promise<number> => {
      const from = clock.now();
      while (store.scrubProgress.passes < passes) await new Promise((resolve) => setImmediate(resolve));
      return clock.now() - from;
    };
    await until(2);
    const took = await until(5);
    // Three passes at 30,000 bytes/s, which is the interval's rate and below the limit.
    expect(took).toBeGreaterThan(0.5 * 3 * (bytes / 30_000) * 1000);
    stores.pauseScrub(true);
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    const paused = store.scrubProgress;
    for (let turn = 0; turn < 500; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(store.scrubProgress).toEqual(paused);
    stores.pauseScrub(false);
    await until(paused.passes + 1);
    await stores.close();
  });
});
