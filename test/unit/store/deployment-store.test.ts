import { describe, expect, it } from 'vitest';
import { BadBlockError, type DeploymentStore, type Disk, DiskError, type DiskFile } from '../../../core/ports.js';
import { KIND_DATA, KIND_ZERO, readEntry } from '../../../core/record.js';
import { ORDER_ZERO } from '../../../core/types.js';
import { type NodeStores, StoreClosedError, StoreFailedError } from '../../../node-agent/store/index.js';
import { SimDisk } from '../../sim/sim-disk.js';
import {
  batchOf,
  block,
  content,
  DEPLOYMENT,
  data,
  epoch,
  lookUp,
  newDeployment,
  openStores,
  order,
  seeded,
  sequence,
  type TestEntry,
  writeWhenRoom,
} from './support.js';

interface Bench {
  sim: SimDisk;
  stores: NodeStores;
  store: DeploymentStore;
}

async function bench(capacityBytes?: number, settings = {}): Promise<Bench> {
  const sim = new SimDisk({ random: seeded(5), ...(capacityBytes === undefined ? {} : { capacityBytes }) });
  const stores = await openStores(sim.mount(), { settings });
  return { sim, stores, store: await stores.create(newDeployment) };
}

/** Crashes and opens again. */
let life = 100;
async function restart({ sim }: Bench, options: { power: boolean; bootId?: string }): Promise<Bench> {
  sim.crash({ power: options.power });
  const random = seeded(life++);
  const stores = await openStores(sim.mount(), { random, bootId: options.bootId ?? 'boot-1' });
  return { sim, stores, store: await stores.open(DEPLOYMENT) };
}

/** The deployment as it is, then as it is when it has been opened again. */
async function* beforeAndAfter(first: Bench, options: { power: boolean }): AsyncGenerator<Bench> {
  yield first;
  yield await restart(first, options);
}

/** Segments cannot be read from this offset on. */
function unreadableFrom(disk: Disk, offset: () => number | undefined): Disk {
  const withFaults = (file: DiskFile): DiskFile => ({
    path: file.path,
    write: (buffers, position) => file.write(buffers, position),
    writeAsync: (buffers, position) => file.writeAsync(buffers, position),
    read: (buffer, position) => file.read(buffer, position),
    readAsync: async (buffer, position) => {
      if (position >= (offset() ?? Number.POSITIVE_INFINITY))
        throw new DiskError('io', file.path, 'input/output error');
      return await file.readAsync(buffer, position);
    },
    readCached: (buffer, position) =>
      position < (offset() ?? Number.POSITIVE_INFINITY) && file.readCached(buffer, position),
    sync: () => file.sync(),
    writeOut: (position, length, drop) => file.writeOut(position, length, drop),
    reserve: (position, length) => file.reserve(position, length),
    truncate: (size) => file.truncate(size),
    truncateAsync: (size) => file.truncateAsync(size),
    size: () => file.size(),
    close: () => file.close(),
  });
  return new Proxy(disk, {
    get: (target, name) => {
      if (name === 'open')
        return (path: string, options: { create: boolean }) => withFaults(target.open(path, options));
      if (name === 'openAsync')
        return async (path: string, options: { create: boolean }) => withFaults(await target.openAsync(path, options));
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function write(store: DeploymentStore, ...entries: TestEntry[]): void {
  store.append({
    epoch: epoch(1),
    firstSequence: sequence(store.last.sequence + 1),
    batch: batchOf(...entries),
  });
}

async function text(store: DeploymentStore, number: number): Promise<string | number> {
  const { batch } = await store.read(block(number), 1);
  return readEntry(batch.entries, 0).kind === KIND_DATA ? batch.payload.toString() : 0;
}

describe('an open deployment', () => {
  it('reads what was written, as stored, with its order', async () => {
    const { store } = await bench();
    write(store, data(7, 1), data(8, 1), { block: 9, zero: 2 });
    write(store, data(8, 2, 4096));
    const { orders, batch } = await store.read(block(6), 5);
    expect(orders).toEqual([ORDER_ZERO, order(1, 1), order(1, 4), order(1, 3), order(1, 3)]);
    expect([0, 1, 2, 3, 4].map((i) => readEntry(batch.entries, i).kind)).toEqual([
      KIND_ZERO,
      KIND_DATA,
      KIND_DATA,
      KIND_ZERO,
      KIND_ZERO,
    ]);
    expect(batch.payload).toEqual(Buffer.concat([content(7, 1), content(8, 2, 4096)]));
    expect(await lookUp(store, 8)).toMatchObject({ order: order(1, 4), kind: KIND_DATA, storedLength: 4096 });
    expect(await lookUp(store, 6)).toBeUndefined();
    expect(store.last).toEqual(order(1, 4));
    const scattered = await store.readBlocks([block(8), block(1000), block(7)]);
    expect(scattered.batch.payload).toEqual(Buffer.concat([content(8, 2, 4096), content(7, 1)]));
  });

  it('refuses a gap in the stream and a malformed batch, and stays usable', async () => {
    const { store } = await bench();
    write(store, data(1, 1));
    const gap = () => store.append({ epoch: epoch(1), firstSequence: sequence(3), batch: batchOf(data(1, 2)) });
    expect(gap).toThrow('no gaps');
    expect(() => write(store, { block: 262_144, zero: 1 })).toThrow('sound');
    write(store, data(1, 3));
    expect(await text(store, 1)).toBe(content(1, 3).toString());
  });

  it('knows how far it is durable', async () => {
    const { store } = await bench();
    write(store, data(1, 1));
    expect(store.durable).toBe(0);
    const flushed = store.flush();
    write(store, data(1, 2));
    await flushed;
    expect(store.durable).toBe(1);
    await Promise.all([store.flush(), store.flush()]);
    expect(store.durable).toBe(2);
  });

  it('coalesces flushes', async () => {
    const { sim, store } = await bench();
    let syncs = 0;
    sim.onOperation = (operation) => {
      if (operation === 'sync') syncs++;
    };
    for (let i = 0; i < 10; i++) write(store, data(i, 1));
    await Promise.all(Array.from({ length: 32 }, () => store.flush()));
    expect(syncs).toBeLessThanOrEqual(2);
  });

  it('keeps generation, orders and blocks through a crash of the process', async () => {
    const first = await bench();
    write(first.store, { generation: 4 }, data(1, 1));
    write(first.store, { block: 1, zero: 3 }, data(2, 2));
    await first.store.written();
    const { store } = await restart(first, { power: false });
    expect(store.generation).toBe(4);
    expect(store.last).toEqual(order(1, 4));
    expect(store.state.unclean).toBe(false);
    expect(store.incarnation).not.toBe(first.store.incarnation);
    expect([await text(store, 1), await text(store, 2), await text(store, 3)]).toEqual([
      0,
      content(2, 2).toString(),
      0,
    ]);
    expect(store.durable).toBe(4);
    write(store, data(5, 1));
    await store.written();
    const again = await restart({ ...first, store }, { power: false });
    expect(await text(again.store, 5)).toBe(content(5, 1).toString());
  });

  it('marks itself unclean after another boot, for good, unless it was closed', async () => {
    const first = await bench();
    write(first.store, data(1, 1));
    await first.stores.close();
    const clean = await restart(first, { power: true, bootId: 'boot-2' });
    expect(clean.store.state.unclean).toBe(false);
    expect(await text(clean.store, 1)).toBe(content(1, 1).toString());
    const unclean = await restart(clean, { power: true, bootId: 'boot-3' });
    expect(unclean.store.state.unclean).toBe(true);
    const still = await restart(unclean, { power: false, bootId: 'boot-3' });
    expect(still.store.state.unclean).toBe(true);
    await still.store.update({ unclean: false });
    expect((await restart(still, { power: true, bootId: 'boot-3' })).store.state.unclean).toBe(false);
  });

  it('keeps its state through a power cut once the update is done', async () => {
    const first = await bench();
    const history = [{ epoch: epoch(3), startsAfter: sequence(0) }];
    await Promise.all([
      first.store.update({ promised: epoch(3) }),
      first.store.update({ promised: epoch(4), history, syncBase: order(2, 9), etcdClusterId: 'def' }),
    ]);
    expect(first.store.state.promised).toBe(4);
    const { stores, store } = await restart(first, { power: true });
    expect(store.state).toMatchObject({ promised: 4, history, syncBase: order(2, 9), etcdClusterId: 'def' });
    expect(stores.deployments()).toEqual([store.state]);
  });

  it('closes: refuses everything afterwards and opens again', async () => {
    const { stores, store } = await bench();
    write(store, data(1, 1));
    await store.close();
    expect(() => write(store, data(1, 2))).toThrow(StoreClosedError);
    await expect(store.flush()).rejects.toThrow(StoreClosedError);
    const again = await stores.open(DEPLOYMENT);
    expect(await text(again, 1)).toBe(content(1, 1).toString());
  });
});

describe('the stream', () => {
  it('goes on behind a position, and is read back from there only', async () => {
    const first = await bench();
    for (let i = 1; i <= 5; i++) write(first.store, data(i, 1));
    first.store.position(order(4, 3));
    expect(first.store.last).toEqual(order(4, 3));
    first.store.append({ epoch: epoch(5), firstSequence: sequence(4), batch: batchOf(data(9, 1)) });
    for await (const { store } of beforeAndAfter(first, { power: false })) {
      expect(store.last).toEqual(order(5, 4));
      expect(await store.readLog(sequence(3), 1e6)).toBeUndefined();
      const log = await store.readLog(sequence(4), 1e6);
      expect(log).toEqual([{ epoch: 5, firstSequence: 4, batch: batchOf(data(9, 1)) }]);
      expect(await store.readLog(sequence(5), 1e6)).toEqual([]);
    }
  });

  it('comes back from the middle of a batch, within bounds, over segments', async () => {
    const first = await bench(undefined, { segmentBytes: 8192 });
    for (let i = 0; i < 40; i++) write(first.store, data(i, 1, 1000), data(i + 1, 2, 1000));
    for await (const { store } of beforeAndAfter(first, { power: false })) {
      const some = (await store.readLog(sequence(10), 3500))!;
      expect(some.map(({ firstSequence }) => firstSequence)).toEqual([10, 11]);
      expect(some[0]!.batch).toEqual(batchOf(data(5, 2, 1000)));
      const all = (await store.readLog(sequence(1), 1e9))!;
      expect(all.reduce((sum, { batch }) => sum + batch.payload.length, 0)).toBe(80_000);
    }
  });

  it('ends where the disk cannot read it, and the store lives on', async () => {
    const sim = new SimDisk({ random: seeded(5) });
    let broken: number | undefined;
    const stores = await openStores(
      unreadableFrom(sim.mount(), () => broken),
      { settings: { segmentBytes: 8192 } },
    );
    const store = await stores.create(newDeployment);
    for (let i = 0; i < 10; i++) write(store, data(i, 1, 2000));
    const last = store.last.sequence;
    await store.written();
    broken = 0;
    expect(await store.readLog(sequence(1), 1e6)).toBeUndefined();
    broken = undefined;
    expect((await store.readLog(sequence(1), 1e6))?.length).toBe(last);
    write(store, data(1, 2));
  });

  it('gives no dead entries to anybody', async () => {
    const { store } = await bench();
    write(store, data(1, 1), data(2, 1), data(3, 1));
    write(store, data(4, 1));
    await store.update({ history: [{ epoch: epoch(2), startsAfter: sequence(2) }] });
    const log = (await store.readLog(sequence(1), 1e6))!;
    expect(log).toEqual([{ epoch: 1, firstSequence: 1, batch: batchOf(data(1, 1), data(2, 1)) }]);
    expect(await store.readLog(sequence(3), 1e6)).toEqual([]);
    expect(await store.deadBlocks(store.state.history, block(0), 10)).toEqual([3, 4]);
    expect(await store.deadBlocks(store.state.history, block(4), 10)).toEqual([4]);
    expect(await store.deadBlocks([{ epoch: epoch(1), startsAfter: sequence(0) }], block(0), 10)).toEqual([]);
  });
});

describe('the index', () => {
  it('finds what is newer, TRIMs included, and forgets what a backfill says was never written', async () => {
    const first = await bench();
    write(first.store, data(100_000, 1), data(5, 1), data(6, 1), { block: 200_000, zero: 2 });
    expect(await first.store.newerThan(sequence(2), block(0), 10)).toEqual([6, 200_000, 200_001]);
    expect(await first.store.newerThan(sequence(0), block(6), 2)).toEqual([6, 100_000]);
    first.store.backfill({
      orders: [order(7, 70), ORDER_ZERO, ORDER_ZERO],
      batch: batchOf(data(5, 9), { block: 6, zero: 1 }, { block: 200_000, zero: 2 }),
    });
    for await (const { store } of beforeAndAfter(first, { power: false })) {
      expect(await store.newerThan(sequence(0), block(0), 10)).toEqual([5, 100_000]);
      expect((await lookUp(store, 5))?.order).toEqual(order(7, 70));
      expect(await lookUp(store, 6)).toBeUndefined();
      expect(store.last).toEqual(order(1, 4));
    }
  });
});

describe('space', () => {
  it('a full disk refuses writes whole, serves reads, takes TRIMs, and recovers by itself', async () => {
    const settings = { segmentBytes: 16_384 };
    const sim = new SimDisk({ random: seeded(5), capacityBytes: 400_000 });
    const open = () => openStores(sim.mount(), { settings, reserveBytes: 100_000 });
    const stores = await open();
    const store = await stores.create(newDeployment);
    let written = 0;
    const fill = async (): Promise<void> => {
      for (;;) {
        try {
          await writeWhenRoom(store, data(written, 1, 4096));
          written++;
        } catch (error) {
          expect(error).toMatchObject({ name: 'DiskError', code: 'no-space' });
          return;
        }
      }
    };
    await fill();
    expect(written).toBeGreaterThan(30);
    expect(store.last.sequence).toBe(written);
    for (let i = 0; i < written; i++) expect(await text(store, i)).toBe(content(i, 1, 4096).toString());
    for (let i = 0; i < 20; i++) await writeWhenRoom(store, { block: i, zero: 1 });
    await store.flush();
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    const before = written;
    await fill();
    await store.written();
    expect(written).toBeGreaterThanOrEqual(before + 12);
    sim.crash({ power: false });
    const again = await (await open()).open(DEPLOYMENT);
    for (let i = 0; i < 20; i++) expect(await text(again, i)).toBe(0);
    for (let i = 20; i < written; i++) expect(await text(again, i)).toBe(content(i, 1, 4096).toString());
  });

  it('gives segments back that nothing lives in, and says that the log no longer reaches back', async () => {
    const settings = { segmentBytes: 16_384, checkpointBytes: 100_000 };
    const first = await bench(undefined, settings);
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 10; i++) write(first.store, data(i, round, 4000));
      await first.store.flush();
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(first.store.usedBytes).toBeLessThan(300_000);
    for await (const { store } of beforeAndAfter(first, { power: true })) {
      expect(await store.readLog(sequence(1), 1e6)).toBeUndefined();
      expect((await store.readLog(sequence(195), 1e6))?.length).toBe(6);
      for (let i = 0; i < 10; i++) expect(await text(store, i)).toBe(content(i, 19, 4000).toString());
    }
  });
});

describe('faults', () => {
  it('a failed sync is final; the next opening is unclean', async () => {
    const { sim, stores, store } = await bench();
    write(store, data(1, 1));
    sim.failSync = (path) => path.endsWith('.blob');
    await expect(store.flush()).rejects.toThrow(DiskError);
    expect(() => write(store, data(1, 2))).toThrow(StoreFailedError);
    await expect(store.read(block(1), 1)).rejects.toThrow(StoreFailedError);
    sim.failSync = () => false;
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    const again = await stores.open(DEPLOYMENT);
    expect(again.state.unclean).toBe(true);
  });

  it('the mark of a failed sync outlives the process', async () => {
    const first = await bench();
    write(first.store, data(1, 1));
    first.sim.failSync = (path) => path.endsWith('.blob');
    await expect(first.store.flush()).rejects.toThrow(DiskError);
    first.sim.failSync = () => false;
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect((await restart(first, { power: false })).store.state.unclean).toBe(true);
  });

  it('and so it does if a change of the superblock was waiting for that sync', async () => {
    const first = await bench();
    write(first.store, data(1, 1));
    first.sim.failSync = (path) => path.endsWith('.blob');
    await expect(first.store.update({ syncBase: null, unclean: false })).rejects.toThrow(DiskError);
    first.sim.failSync = () => false;
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect((await restart(first, { power: false })).store.state.unclean).toBe(true);
  });

  it('what a failed sync left in the page cache is written again by the next opening, and outlives the power', async () => {
    const first = await bench();
    write(first.store, data(1, 1));
    await first.store.flush();
    write(first.store, data(2, 1));
    first.sim.failSync = (path) => path.endsWith('.blob');
    await expect(first.store.flush()).rejects.toThrow(DiskError);
    first.sim.failSync = () => false;
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    const again = await first.stores.open(DEPLOYMENT);
    write(again, data(3, 1));
    await again.flush();
    const { store } = await restart(first, { power: true, bootId: 'boot-2' });
    for (const number of [1, 2, 3]) expect(await text(store, number)).toBe(content(number, 1).toString());
  });

  it('an opening removes nothing on the word of a superblock that may be in the page cache only', async () => {
    const first = await bench(undefined, { segmentBytes: 16_384, checkpointBytes: 1_000_000 });
    for (let version = 1; version <= 4; version++) {
      for (let number = 0; number < 8; number++) write(first.store, data(number, version, 4096));
    }
    await first.store.flush();
    // Everything at the moment when the superblock that names the first checkpoint is to be synced.
    let killed: SimDisk | undefined;
    first.sim.onOperation = (operation, path) => {
      const checkpointed = first.sim.files().some((name) => name.includes('/checkpoint.'));
      if (operation === 'sync' && path.endsWith('super.0') && checkpointed) killed ??= first.sim.clone(seeded(1));
    };
    await first.stores.close();
    killed!.crash({ power: false });

    const cuts: SimDisk[] = [];
    killed!.onOperation = () => {
      for (let seed = 0; seed < 8; seed++) cuts.push(killed!.clone(seeded(seed)));
    };
    const again = await openStores(killed!.mount());
    await again.open(DEPLOYMENT);
    expect(cuts.length).toBeGreaterThan(0);
    for (const cut of cuts) {
      cut.crash({ power: true });
      const stores = await openStores(cut.mount(), { bootId: 'boot-2' });
      const store = await stores.open(DEPLOYMENT);
      for (let number = 0; number < 8; number++) {
        expect(await text(store, number)).toBe(content(number, 4, 4096).toString());
      }
    }
  });

  it('a flipped bit of a payload is told, with the block, and healed by a backfill', async () => {
    const { sim, store } = await bench();
    write(store, data(1, 1), data(2, 1), data(3, 1));
    await store.written();
    const path = sim.files().find((name) => name.endsWith('.blob'))!;
    const at = Buffer.from(sim.contents(path)).indexOf('block 2');
    sim.damage(path, at, (byte) => byte ^ 1);
    const error = await store.read(block(1), 3).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(BadBlockError);
    expect((error as BadBlockError).blocks).toMatchObject([{ block: 2, order: order(1, 2), kind: KIND_DATA }]);
    expect(await text(store, 3)).toBe(content(3, 1).toString());
    store.backfill({ orders: [order(1, 2)], batch: batchOf(data(2, 1)) });
    expect(await text(store, 2)).toBe(content(2, 1).toString());
  });
});
