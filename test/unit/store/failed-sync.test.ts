/** The kernel may say of a failed sync that the disk was full, on thinly provisioned ones for example. */

import { type fdatasync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import { openFileDisk } from '../../../node-agent/store/index.js';
import { block, content, DEPLOYMENT, data, newDeployment, openStores, writeTo } from './support.js';

/** Syncs of a file of this name fail. */
let failing: string | undefined;

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const failed = (): NodeJS.ErrnoException => Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  return {
    ...fs,
    fdatasync: ((fd, settle) => {
      const name = fs.readlinkSync(`/proc/self/fd/${fd}`);
      if (failing !== undefined && name.endsWith(failing)) setImmediate(() => settle(failed()));
      else fs.fdatasync(fd, settle);
    }) as typeof fdatasync,
  };
});

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'store-sync-'));
});
afterEach(() => {
  failing = undefined;
  rmSync(root, { recursive: true, force: true });
});

it('is no full disk', async () => {
  const file = openFileDisk(root).open('file', { create: true });
  file.write([Buffer.from('text')], 0);
  failing = 'file';
  await expect(file.sync()).rejects.toMatchObject({ code: 'io', path: 'file' });
  failing = undefined;
  await file.sync();
  await file.close();
});

it('of the index is final for the opening: its pages are not taken for written by the next checkpoint', async () => {
  const options = { clock: systemClock, random: systemRandom };
  const stores = await openStores(openFileDisk(root), options);
  const store = await stores.create(newDeployment);
  writeTo(store, data(1, 1), data(2, 1));
  await store.flush();
  failing = '/pages';
  await expect(store.snapshot('33333333-3333-4333-8333-333333333333')).rejects.toMatchObject({ code: 'io' });
  expect([store.failed, store.suspect]).toEqual([true, true]);
  failing = undefined;
  const again = await stores.open(DEPLOYMENT);
  expect(again.state.unclean).toBe(true);
  const both = Buffer.concat([content(1, 1), content(2, 1)]);
  expect((await again.read(block(1), 2)).batch.payload).toEqual(both);
  await stores.close();
});
