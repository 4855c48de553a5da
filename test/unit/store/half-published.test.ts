import { describe, expect, it } from 'vitest';
import { type Disk, DiskError } from '../../../core/ports.js';
import { SimDisk } from '../../sim/sim-disk.js';
import { block, content, DEPLOYMENT, data, newDeployment, openStores, seeded, writeTo } from './support.js';

const BLOCKS = 60;

/** A disk that has no room for the removal of a segment, as copy-on-write file systems may. */
function noRoomToRemove(disk: Disk): Disk {
  return new Proxy(disk, {
    get: (target, name) => {
      if (name === 'unlinkAsync') {
        return async (path: string) => {
          if (path.endsWith('.blob')) throw new DiskError('no-space', path, 'no space left on device');
          await target.unlinkAsync(path);
        };
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

describe('a checkpoint that is durable and can not be put to use', () => {
  it('is not tried again, as one that found no room is: the store fails, and its next opening has everything', async () => {
    const sim = new SimDisk({ random: seeded(1) });
    const settings = { segmentBytes: 8_192, checkpointBytes: 30_000 };
    const stores = await openStores(noRoomToRemove(sim.mount()), { settings });
    const store = await stores.create(newDeployment);
    for (let i = 0; i < BLOCKS; i++) writeTo(store, data(i % 3, i, 1024));
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(store.failed).toBe(true);

    sim.crash({ power: false });
    const again = await (await openStores(sim.mount(), { settings })).open(DEPLOYMENT);
    for (let i = BLOCKS - 3; i < BLOCKS; i++) {
      expect((await again.read(block(i % 3), 1)).batch.payload).toEqual(content(i % 3, i, 1024));
    }
  });
});
