/** A disk that stops answering, beside one that is well: the volumes on the other go on, in the same process. */

import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noDeviceReason } from '../../cluster/volumes.js';
import type { DeploymentId } from '../../core/types.js';
import { systemClock } from '../../node-agent/clock.js';
import type { LocalDeploymentStore } from '../../node-agent/store/deployment-store.js';
import { type NodeStores, openFileDisk } from '../../node-agent/store/index.js';
import { canReadCached } from '../../node-agent/store/page-cache.js';
import { SlowDisk } from '../setup/slow-disk.js';
import { batchOf, block, content, data, epoch, newDeployment, openStores, sequence } from '../unit/store/support.js';

const MIB = 1 << 20;
const BLOCKS = 64;
const BYTES = 4000;
/** Far more than there are threads in a process's pool. */
const READS = 200;
/** Of appends to the disk that does not answer, 256 KB each. */
const ROUNDS = 16;
/** Far more than a busy machine's loop is late, far less than the disk stays away for. */
const LOOP_HELD_MS = 10_000;
const ANOTHER = '33333333-3333-4333-8333-333333333333' as DeploymentId;
const THIRD = '44444444-4444-4444-8444-444444444444' as DeploymentId;
const SNAPSHOT = '55555555-5555-4555-8555-555555555555';
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
    disk = await SlowDisk.start({ directory: root, sizeBytes: 512 * MIB });
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

  it('holds no event loop: with appends, superblocks, checkpoints, nor with deployments that are made and opened', async () => {
    const ill = await open(disk.mountPoint);
    const well = await open(join(root, 'well'));
    await fill(ill);
    await fill(well);
    const another = { ...newDeployment, deployment: ANOTHER };
    await (await ill.stores.create(another)).close();
    await disk.pause();
    const delays = monitorEventLoopDelay({ resolution: 10 });
    delays.enable();
    let flushed = false;
    const held: Promise<unknown>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (let i = 0; i < BLOCKS; i++) write(ill.store, i, round + 2);
      if (round === 0) {
        const flush = ill.store.flush().then(() => {
          flushed = true;
        });
        held.push(flush, ill.store.update({ promised: epoch(7) }), ill.store.snapshot(SNAPSHOT));
        held.push(ill.stores.open(ANOTHER), ill.stores.create({ ...newDeployment, deployment: THIRD }));
        held.push(ill.stores.findDevices());
      }
      write(well.store, round, 2);
      await well.store.written();
      await well.store.flush();
      expect((await well.store.read(block(round), 1)).orders[0]?.sequence).toBe(well.store.last.sequence);
    }
    delays.disable();
    expect(flushed).toBe(false);
    // A write that the loop had waited for would have held it until the disk answers again.
    expect(delays.max / 1e6).toBeLessThan(LOOP_HELD_MS);
    await disk.resume();
    await Promise.all(held);
    await ill.store.written();
    for (let i = 0; i < BLOCKS; i++) {
      const { batch } = await ill.store.read(block(i), 1);
      expect(batch.payload.equals(content(i, ROUNDS + 1, BYTES))).toBe(true);
    }
  });
});
