/** Room on a disk that is nearly full. */

import { expect, test } from 'vitest';
import { type Disk, DiskError } from '../../../core/ports.js';
import { SimDisk } from '../../sim/sim-disk.js';
import {
  block,
  content,
  DEPLOYMENT,
  data,
  newDeployment,
  openStores,
  seeded,
  writeTo,
  writeWhenRoom,
} from './support.js';

const MIB = 1024 * 1024;
const TURNS = 20;
/** While more than this is free, nobody is asked for room. */
const MARGIN_BYTES = 64 * MIB;

/** A disk that takes its time to make a segment's file. */
function slowToMake(disk: Disk): Disk {
  return new Proxy(disk, {
    get: (target, name) => {
      if (name === 'openAsync') {
        return async (path: string, options: { create: boolean }) => {
          for (let i = 0; i < TURNS && options.create && path.endsWith('.blob'); i++) {
            await new Promise((resolve) => setImmediate(resolve));
          }
          return target.openAsync(path, options);
        };
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

test('is made in a segment whose file is not there yet, as its first batch is still on its way', async () => {
  const sim = new SimDisk({ random: seeded(1), capacityBytes: MARGIN_BYTES + MIB });
  const store = await (await openStores(slowToMake(sim.mount()))).create(newDeployment);

  writeTo(store, data(1, 1));
  expect(store.hasRoom(400, MIB)).toBe(false);
  await store.makeRoom(400, MIB);
  expect(store.hasRoom(400, MIB)).toBe(true);
  writeTo(store, data(2, 1));
  await store.written();
  expect((await store.read(block(1), 1)).batch.payload).toEqual(content(1, 1));
  expect((await store.read(block(2), 1)).batch.payload).toEqual(content(2, 1));
});

test.each(['closed', 'killed, opened and closed'])(
  'that nobody has used is given back when the store is %s',
  async (how) => {
    const sim = new SimDisk({ random: seeded(1), capacityBytes: MARGIN_BYTES + MIB });
    const stores = await openStores(sim.mount());
    const store = await stores.create(newDeployment);
    await store.makeRoom(400, MIB);
    writeTo(store, data(1, 1));
    await store.flush();
    const segment = sim.file(sim.files().find((path) => path.endsWith('.blob'))!);
    expect(segment.allocated).toBeGreaterThan(MIB);
    if (how === 'closed') await stores.close();
    else {
      sim.crash({ power: false });
      const again = await openStores(sim.mount());
      await again.open(DEPLOYMENT);
      expect(segment.allocated).toBeGreaterThan(MIB);
      await again.close();
    }
    expect(segment.allocated).toBe(4096);
    expect((await (await openStores(sim.mount())).open(DEPLOYMENT)).last.sequence).toBe(1);
  },
);

test('that a file system cannot tell of is refused, and no write counts as lost by that', async () => {
  const sim = new SimDisk({ random: seeded(1), capacityBytes: MARGIN_BYTES });
  const mounted = sim.mount();
  let broken = false;
  const disk: Disk = new Proxy(mounted, {
    get: (target, name) => {
      if (name === 'spaceAsync' && broken) {
        return (path: string) => Promise.reject(new DiskError('io', path, 'no answer of the file system'));
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const stores = await openStores(disk);
  const store = await stores.create(newDeployment);
  await writeWhenRoom(store, data(1, 1));
  await store.flush();
  sim.capacityBytes = sim.usedBytes();
  await stores.findDevices();
  broken = true;
  await expect(store.makeRoom(300, MIB)).rejects.toMatchObject({ code: 'no-space' });
  broken = false;
  expect(store.failed).toBe(false);
  await stores.close();
  expect((await (await openStores(sim.mount())).open(DEPLOYMENT)).state.unclean).toBe(false);
});
