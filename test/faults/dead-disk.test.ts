/** A disk that stops answering, beside one that is well: the volumes on the other go on, in the same process. */

import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noDeviceReason } from '../../cluster/volumes.js';
import { systemClock } from '../../node-agent/clock.js';
import type { LocalDeploymentStore } from '../../node-agent/store/deployment-store.js';
import { type NodeStores, openFileDisk } from '../../node-agent/store/index.js';
import { canReadCached } from '../../node-agent/store/page-cache.js';
import { SlowDisk } from '../setup/slow-disk.js';
import { batchOf, block, data, epoch, newDeployment, openStores, sequence } from '../unit/store/support.js';

const MIB = 1 << 20;
const BLOCKS = 64;
const BYTES = 4000;
/** Far more than there are threads in a process's pool. */
const READS = 200;
const reason = noDeviceReason();
if (reason !== undefined) console.warn(`a disk that does not answer is not tested: ${reason}`);

interface Opened {
  readonly directory: string;
  readonly stores: NodeStores;
  readonly store: LocalDeploymentStore;
}

const opened: Opened[] = [];

async function open(directory: string): Promise<Opened> {
  const stores = await openStores(openFileDisk(directory), { clock: systemClock });
  const one = { directory, stores, store: await stores.create(newDeployment) };
  opened.push(one);
  return one;
}

function write(store: LocalDeploymentStore, number: number, version: number): void {
  const firstSequence = sequence(store.last.sequence + 1);
  store.append({ epoch: epoch(1), firstSequence, batch: batchOf(data(number, version, BYTES)) });
}

async function fill({ store, directory }: Opened): Promise<void> {
  for (let number = 0; number < BLOCKS; number++) write(store, number, 1);
  await store.flush();
  await evict(directory);
}

async function evict(directory: string): Promise<void> {
  const data = join(directory, 'data', 'dev1');
  for (const name of readdirSync(data)) await SlowDisk.evict(join(data, name));
}

describe.skipIf(reason !== undefined)('a disk that does not answer', () => {
  let root: string;
  let disk: SlowDisk;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'dead-disk-'));
    disk = await SlowDisk.start({ directory: root, sizeBytes: 64 * MIB });
    await mkdir(join(root, 'well'));
  });
  afterEach(async () => {
    await disk.resume();
    for (const { stores } of opened.splice(0)) await stores.close();
    await disk.stop();
    await rm(root, { recursive: true });
  });

  it('holds up its own volumes only', async () => {
    expect(canReadCached).toBe(true);
    const ill = await open(disk.mountPoint);
    const well = await open(join(root, 'well'));
    await fill(ill);
    await fill(well);
    write(ill.store, BLOCKS, 1);
    await disk.pause();
    const flushed = ill.store.flush();
    let answered = 0;
    const held = Array.from({ length: READS }, (_, i) =>
      ill.store.read(block(i % BLOCKS), 1).finally(() => {
        answered++;
      }),
    );
    for (let i = 0; i < BLOCKS; i++) {
      expect((await well.store.read(block(i), 1)).orders).toHaveLength(1);
      write(well.store, i, 2);
      if (i % 8 === 0) {
        await well.store.flush();
        await evict(well.directory);
      }
    }
    expect(answered).toBe(0);
    // Its writers are asked to wait: a write of theirs might stop the process.
    await expect.poll(() => ill.store.appendDelayMs, { timeout: 10_000 }).toBeGreaterThan(0);
    await disk.resume();
    await flushed;
    expect(ill.store.appendDelayMs).toBe(0);
    await Promise.all(held);
    expect(answered).toBe(READS);
  });
});
