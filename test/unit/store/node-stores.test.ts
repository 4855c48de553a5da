import { describe, expect, it } from 'vitest';
import { type Clock, DiskError } from '../../../core/ports.js';
import type { DeploymentId } from '../../../core/types.js';
import { NoSuchDeploymentError, StoreClosedError } from '../../../node-agent/store/index.js';
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
  seeded,
  sequence,
  writeTo,
  writeWhenRoom,
} from './support.js';

const deployment = (n: number) => `33333333-3333-4333-8333-${String(n).padStart(12, '0')}` as DeploymentId;

describe('the stores of a node', () => {
  it('know their deployments, open or not, and create each once', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const stores = await openStores(sim.mount());
    const store = await stores.create(newDeployment);
    expect(await stores.create(newDeployment)).toBe(store);
    expect(await stores.open(DEPLOYMENT)).toBe(store);
    await expect(stores.create({ ...newDeployment, blocks: 5 })).rejects.toThrow('never changes');
    await expect(stores.open(deployment(1))).rejects.toThrow(NoSuchDeploymentError);
    await Promise.all([1, 2, 3].map((n) => stores.create({ ...newDeployment, deployment: deployment(n) })));
    sim.crash({ power: true });
    const again = await openStores(sim.mount());
    const ids = again.deployments().map((state) => state.deployment);
    expect(ids.sort()).toEqual([DEPLOYMENT, ...[1, 2, 3].map(deployment)].sort());
    expect(again.damages).toEqual([]);
  });

  it('open one deployment once, however many ask at the same time', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const first = await openStores(sim.mount());
    await first.create(newDeployment);
    await first.close();
    const stores = await openStores(sim.mount());
    const [a, b] = await Promise.all([stores.open(DEPLOYMENT), stores.open(DEPLOYMENT)]);
    expect(a).toBe(b);
    await stores.close();
    await expect(stores.open(DEPLOYMENT)).rejects.toThrow(StoreClosedError);
  });

  it.each([
    ['io', true],
    ['not-found', false],
  ] as const)('tell a checkpoint that is damaged from one that cannot be read: %s', async (code, unread) => {
    const sim = new SimDisk({ random: seeded(1) });
    const settings = { segmentBytes: 16_384, checkpointBytes: 100_000 };
    const first = await openStores(sim.mount(), { settings });
    const store = await first.create(newDeployment);
    for (let i = 0; i < 100; i++) {
      await writeWhenRoom(store, data(i, 1, 4096));
      await store.flush();
    }
    await first.close();
    expect(sim.files().some((name) => name.includes('/checkpoint.'))).toBe(true);
    const disk = sim.mount();
    const openAsync = disk.openAsync.bind(disk);
    disk.openAsync = (path, options) =>
      path.includes('/checkpoint.') ? Promise.reject(new DiskError(code, path, 'as told')) : openAsync(path, options);
    const stores = await openStores(disk);
    await expect(stores.open(DEPLOYMENT)).rejects.toMatchObject({ name: 'StoreCorruptError', unread });
  });

  it.each([
    ['in order', (names: string[]) => names],
    ['the other way round', (names: string[]) => names.reverse()],
  ])('know the one that was made anew of two with the same id, listed %s', async (_, listed) => {
    const sim = new SimDisk({ random: seeded(1) });
    const first = await openStores(sim.mount());
    writeTo(await first.create(newDeployment), data(1, 1));
    await first.close();
    const flip = (): void => {
      for (const name of sim.files()) if (/\/db1\/1\/super\.\d$/.test(name)) sim.damage(name, 9, (byte) => byte ^ 1);
    };
    flip();
    const second = await openStores(sim.mount());
    expect(second.damages).toHaveLength(3);
    const anew = await second.create(newDeployment);
    await anew.update({ promised: epoch(7) });
    await second.close();
    flip();
    const disk = sim.mount();
    const listAsync = disk.listAsync.bind(disk);
    disk.listAsync = async (path) => listed([...(await listAsync(path))]);
    const stores = await openStores(disk);
    expect(stores.deployments()).toMatchObject([{ deployment: DEPLOYMENT, promised: 7 }]);
    expect(stores.damages).toMatchObject([{ path: expect.stringMatching(/\/1$/) }]);
    expect((await stores.open(DEPLOYMENT)).last.sequence).toBe(0);
  });

  it('belong to one process', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const stores = await openStores(sim.mount());
    await expect(openStores(sim.mount())).rejects.toMatchObject({ name: 'DiskError', code: 'locked' });
    await stores.close();
    await (await openStores(sim.mount())).close();
  });

  it('remove everything of a deployment, and nothing of others', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const stores = await openStores(sim.mount());
    const kept = await stores.create({ ...newDeployment, deployment: deployment(1) });
    kept.append({ epoch: epoch(1), firstSequence: sequence(1), batch: batchOf(data(1, 1)) });
    await kept.flush();
    const before = sim.files();
    const gone = await stores.create(newDeployment);
    gone.append({ epoch: epoch(1), firstSequence: sequence(1), batch: batchOf(data(1, 1)) });
    await stores.remove(DEPLOYMENT);
    await stores.remove(DEPLOYMENT);
    expect(sim.files()).toEqual(before);
    expect(() => gone.append({ epoch: epoch(1), firstSequence: sequence(2), batch: batchOf(data(1, 1)) })).toThrow(
      StoreClosedError,
    );
    expect((await kept.read(block(1), 1)).batch.payload.length).toBe(40);
  });

  it.each([
    ['', false],
    [', the deployment made anew meanwhile', true],
  ])('go on with a removal that the disk broke off, at any of its syncs%s', async (_, anew) => {
    let broken = 0;
    for (let nth = 1; broken === nth - 1; nth++) {
      const sim = new SimDisk({ random: seeded(1) });
      const stores = await openStores(sim.mount());
      const before = sim.files();
      const gone = await stores.create(newDeployment);
      gone.append({ epoch: epoch(1), firstSequence: sequence(1), batch: batchOf(data(1, 1)) });
      await gone.flush();
      let syncs = 0;
      sim.failSync = () => ++syncs === nth;
      await stores.remove(DEPLOYMENT).catch((error: unknown) => {
        expect(error).toBeInstanceOf(DiskError);
        expect(stores.holds(DEPLOYMENT)).toBe(true);
        broken++;
      });
      sim.failSync = () => false;
      if (anew) await stores.create(newDeployment);
      await stores.remove(DEPLOYMENT);
      expect(sim.files()).toEqual(before);
      expect(stores.deployments()).toEqual([]);
      await stores.create(newDeployment);
    }
    expect(broken).toBeGreaterThan(2);
  });

  it('open in spite of a removal that the disk does not let them finish, and go on with it when it does', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const stores = await openStores(sim.mount());
    const empty = sim.files();
    const kept = 'dddddddd-1111-4222-8333-444444444444' as DeploymentId;
    await (await stores.create({ ...newDeployment, deployment: kept })).close();
    const before = sim.files();
    const gone = await stores.create(newDeployment);
    gone.append({ epoch: epoch(1), firstSequence: sequence(1), batch: batchOf(data(1, 1)) });
    await gone.flush();
    const broken = (path: string): boolean => path === 'data/dev1';
    sim.failSync = broken;
    await expect(stores.remove(DEPLOYMENT)).rejects.toBeInstanceOf(DiskError);
    sim.crash({ power: false });
    const again = await openStores(sim.mount());
    expect(again.damages).toMatchObject([{ path: expect.stringMatching(/\.removed$/) }]);
    expect(again.deployments()).toMatchObject([{ deployment: kept }]);
    expect(again.holds(DEPLOYMENT)).toBe(true);
    await again.open(kept);
    sim.failSync = () => false;
    await again.remove(DEPLOYMENT);
    expect(again.holds(DEPLOYMENT)).toBe(false);
    expect(before.length).toBeGreaterThan(empty.length);
    expect(sim.files()).toEqual(before);
  });

  it('remove what is on one device while another one is broken', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const disk = sim.mount();
    for (const path of ['data', 'data/dev1', 'data/dev2']) await disk.makeDirectoryAsync(path);
    const stores = await openStores(disk);
    const gone = await stores.create(newDeployment);
    gone.append({ epoch: epoch(1), firstSequence: sequence(1), batch: batchOf(data(1, 1)) });
    await gone.flush();
    const [used] = sim.files().filter((name) => name.includes('/blob.') || /\/dev\d\//.test(name));
    const other = used!.includes('/dev1/') ? 'data/dev2' : 'data/dev1';
    sim.failSync = (path) => path === other;
    await stores.remove(DEPLOYMENT);
    expect(stores.holds(DEPLOYMENT)).toBe(false);
  });

  it('are whole after a crash at any moment of a creation and a removal', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const cuts: { disk: SimDisk; phase: string }[] = [];
    const stores = await openStores(sim.mount());
    let phase = 'creating';
    sim.onOperation = () => cuts.push({ disk: sim.clone(seeded(cuts.length)), phase });
    const store = await stores.create(newDeployment);
    phase = 'there';
    store.append({ epoch: epoch(1), firstSequence: sequence(1), batch: batchOf(data(1, 1)) });
    await store.flush();
    phase = 'removing';
    await stores.remove(DEPLOYMENT);
    expect(cuts.length).toBeGreaterThan(20);
    for (const { disk, phase: when } of cuts) {
      for (const power of [false, true]) {
        const crashed = disk.clone(seeded(7));
        crashed.crash({ power });
        const opened = await openStores(crashed.mount());
        expect(opened.damages).toEqual([]);
        const there = opened.deployments().length;
        if (when === 'there') expect(there).toBe(1);
        if (there === 1) await opened.open(DEPLOYMENT);
        else expect(crashed.files().filter((name) => !/^(lock|data\/dev1\/device)$/.test(name))).toEqual([]);
      }
    }
  });

  it('find data directories that are added, and fill the emptiest', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const disk = sim.mount();
    const timers: { delay: number; run: () => void }[] = [];
    const clock: Clock = {
      now: () => 0,
      timestamp: () => '2026-01-01T00:00:00Z',
      after: (delay, run) => {
        timers.push({ delay, run });
        return { cancel: () => {} };
      },
    };
    const turns = async () => {
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    };
    const stores = await openStores(disk, { clock, settings: { segmentBytes: 8_192 } });
    const store = await stores.create(newDeployment);
    const fill = (): void => {
      for (let i = 0; i < 12; i++) {
        const next = sequence(store.last.sequence + 1);
        store.append({ epoch: epoch(1), firstSequence: next, batch: batchOf(data(next, 1, 4096)) });
      }
    };
    fill();
    disk.makeDirectory('data/dev2');
    expect(timers.map(({ delay }) => delay)).toContain(15_000);
    for (const { run } of timers.splice(0)) run();
    await turns();
    fill();
    await turns();
    fill();
    await store.written();
    const count = (device: string) => sim.files().filter((name) => name.startsWith(`data/${device}/vol`)).length;
    expect([count('dev1'), count('dev2')]).toEqual([24, 12]);
    expect(stores.capacity().totalBytes).toBe(sim.capacityBytes);
    await stores.close();
    const again = await (await openStores(sim.mount())).open(DEPLOYMENT);
    expect((await again.read(block(1), 36)).batch.payload.length).toBe(36 * 4096);
  });

  it('take the first write that finds no room elsewhere to a directory that was added', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const mounted = sim.mount();
    const space = async (directory: string) => ({
      ...(await mounted.spaceAsync(directory)),
      freeBytes: directory === 'data/dev1' ? 0 : 1 << 30,
    });
    let full = false;
    const disk = new Proxy(mounted, {
      get: (target, name) => {
        if (name === 'spaceAsync' && full) return space;
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const stores = await openStores(disk);
    const store = await stores.create(newDeployment);
    await writeWhenRoom(store, data(1, 1));
    full = true;
    await stores.findDevices();
    await expect(writeWhenRoom(store, data(2, 1))).rejects.toMatchObject({ code: 'no-space' });
    await mounted.makeDirectoryAsync('data/dev2');
    await stores.findDevices();
    await writeWhenRoom(store, data(2, 2));
    await store.flush();
    expect(sim.files().filter((name) => name.startsWith('data/dev2/vol'))).toHaveLength(1);
    sim.crash({ power: false });
    const again = await (await openStores(sim.mount())).open(DEPLOYMENT);
    expect((await again.read(block(2), 1)).batch.payload).toEqual(content(2, 2));
  });

  it('do not open a deployment whose device is not mounted', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const stores = await openStores(sim.mount());
    const store = await stores.create(newDeployment);
    store.append({ epoch: epoch(1), firstSequence: sequence(1), batch: batchOf(data(1, 1)) });
    await store.flush();
    sim.crash({ power: false });
    sim.mount().rename('data/dev1', 'data/away');
    const without = await openStores(sim.mount(), { random: seeded(2) });
    await expect(without.open(DEPLOYMENT)).rejects.toThrow('is it mounted?');
    await without.close();
    const disk = sim.mount();
    disk.rename('data/dev1', 'data/empty');
    disk.rename('data/away', 'data/dev1');
    const again = await (await openStores(sim.mount())).open(DEPLOYMENT);
    expect(again.last.sequence).toBe(1);
  });

  it('keep the reserve free', async () => {
    const sim = new SimDisk({ random: seeded(1), capacityBytes: 200_000 });
    const stores = await openStores(sim.mount(), { reserveBytes: 150_000 });
    const store = await stores.create(newDeployment);
    for (let i = 0; i < 4; i++) await writeWhenRoom(store, data(1, 1, 4096));
    const append = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) await writeWhenRoom(store, data(1, 1, 4096));
    };
    await expect(append()).rejects.toThrow(DiskError);
    await stores.findDevices();
    // A checkpoint may have taken some of it.
    expect(sim.freeBytes()).toBeGreaterThanOrEqual(150_000 - 3 * 4096);
    expect(stores.capacity().availableBytes).toBeLessThan(4096 * 2);
  });
});

describe('a tail that was cut', () => {
  it('does not come back behind what is written in its place', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const write = (store: Awaited<ReturnType<typeof open>>, version: number) =>
      store.append({
        epoch: epoch(1),
        firstSequence: sequence(store.last.sequence + 1),
        batch: batchOf(data(version, version)),
      });
    const open = async (bootId: string) => (await openStores(sim.mount(), { bootId })).open(DEPLOYMENT);
    const store = await (await openStores(sim.mount())).create(newDeployment);
    write(store, 1);
    await store.flush();
    write(store, 2);
    write(store, 3);
    await store.written();
    const segment = sim.files().find((name) => name.endsWith('.blob'))!;
    const whole = sim.contents(segment);
    // The power cut keeps the third batch and loses the second.
    sim.damage(segment, Buffer.from(whole).indexOf('block 2'), () => 0);
    sim.crash({ power: false });
    const cut = await open('boot-2');
    expect(cut.last.sequence).toBe(1);
    write(cut, 4);
    await cut.written();
    sim.crash({ power: false });
    expect(sim.contents(segment).length).toBe(Math.round((whole.length / 3) * 2));
    // Had the cut not been durable, the third batch would stand behind the new second one, in its very place.
    const file = sim.mount().open(segment, { create: false });
    file.write([whole.subarray((whole.length / 3) * 2)], (whole.length / 3) * 2);
    const again = await open('boot-3');
    expect(again.last.sequence).toBe(2);
    expect(await lookUp(again, 3)).toBeUndefined();
    expect(await lookUp(again, 4)).toBeDefined();
  });
});
