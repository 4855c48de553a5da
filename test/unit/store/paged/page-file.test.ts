import { describe, expect, it } from 'vitest';
import { type Disk, DiskError } from '../../../../core/ports.js';
import { IndexDamageError } from '../../../../node-agent/store/errors.js';
import { FilePool } from '../../../../node-agent/store/file-pool.js';
import { storeIdentity } from '../../../../node-agent/store/format.js';
import { IndexMemory } from '../../../../node-agent/store/paged/index-memory.js';
import { Rows } from '../../../../node-agent/store/paged/page.js';
import { PageFile } from '../../../../node-agent/store/paged/page-file.js';
import { SimDisk } from '../../../sim/sim-disk.js';
import { DEPLOYMENT, seeded, VOLUME } from '../support.js';

const ROWS = new Rows(0, 1);
ROWS.count = 1;

/** A page file of a pool that keeps one file open; `opened` may throw. */
function pageFile(opened: (path: string) => void) {
  const mounted = new SimDisk({ random: seeded(1) }).mount();
  mounted.makeDirectory('db');
  const disk = new Proxy<Disk>(mounted, {
    get: (target, name) => {
      if (name === 'open' || name === 'openAsync') {
        return (path: string, options: { create: boolean }) => {
          opened(path);
          return target[name](path, options);
        };
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const pool = new FilePool(disk, 1);
  const identity = storeIdentity(VOLUME, DEPLOYMENT);
  const cache = new IndexMemory(1 << 20).part();
  return { pool, file: new PageFile({ disk, pool, directory: 'db', identity, cache, maxRows: 512 }) };
}

describe('the file of pages', () => {
  it('is synced as it was opened for the writing: what was opened later may not hear of an error', async () => {
    let opened = 0;
    const { pool, file } = pageFile((path) => {
      if (path === 'db/pages') opened++;
    });
    const pointer = file.write(ROWS, 0, 1, 1, false);
    await file.flush();
    for (const path of ['db/a', 'db/b', 'db/c']) pool.release(pool.acquire(path, { create: true }));
    await file.sync();
    expect(opened).toBe(1);
    expect((await file.read(pointer)).rows).toBe(1);
  });

  it('is not damaged if it can not be opened for want of descriptors; it is if it is gone', async () => {
    let full = false;
    const { pool, file } = pageFile((path) => {
      if (full) throw new DiskError('io', path, 'too many open files');
    });
    const pointer = { slot: 0, checkpoint: 1, level: 0 };
    await expect(file.read(pointer)).rejects.toBeInstanceOf(IndexDamageError);
    file.write(ROWS, 0, 1, 1, false);
    await file.sync();
    pool.release(pool.acquire('db/a', { create: true }));
    await pool.close();
    full = true;
    await expect(file.read(pointer)).rejects.toBeInstanceOf(DiskError);
    full = false;
    expect((await file.read(pointer)).rows).toBe(1);
  });
});
