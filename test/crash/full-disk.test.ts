/** A small file system of its own, filled to the last byte again and again, with TRIMs: nothing is lost. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type DeploymentStore, DiskError } from '../../core/ports.js';
import { systemClock, systemRandom } from '../../node-agent/clock.js';
import { openFileDisk } from '../../node-agent/store/index.js';
import {
  batchOf,
  block,
  content,
  DEPLOYMENT,
  data,
  epoch,
  newDeployment,
  openStores,
  sequence,
} from '../unit/store/support.js';

const SIZE_BYTES = 24 * 1024 * 1024;
const ROUNDS = 12;
const SETTINGS = { segmentBytes: 512 * 1024, reclaimBytes: 4 * 1024 * 1024, checkpointBytes: 8 * 1024 * 1024 };

let mountPoint: string;
let mounted: boolean;
beforeEach(() => {
  mountPoint = mkdtempSync(join(tmpdir(), 'store-full-'));
  const options = `size=${SIZE_BYTES},mode=0700`;
  mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', mountPoint]).status === 0;
});
afterEach(() => {
  if (mounted) spawnSync('umount', ['--lazy', mountPoint]);
  rmdirSync(mountPoint);
});

const open = (reserveBytes: number) =>
  openStores(openFileDisk(mountPoint), {
    clock: systemClock,
    random: systemRandom,
    settings: SETTINGS,
    reserveBytes,
  });

const next = (store: DeploymentStore) => sequence(store.last.sequence + 1);

/** Appends blocks until the disk is full; `held` says afterwards what is in the store. */
function fill(store: DeploymentStore, held: Map<number, number>, round: number, blocks: number): void {
  for (;;) {
    const number = Math.floor(Math.random() * blocks);
    try {
      store.append({ epoch: epoch(1), firstSequence: next(store), batch: batchOf(data(number, round, 4096)) });
    } catch (error) {
      if (error instanceof DiskError && error.code === 'no-space') return;
      throw error;
    }
    held.set(number, round);
  }
}

async function compare(store: DeploymentStore, held: ReadonlyMap<number, number>, blocks: number): Promise<void> {
  for (let number = 0; number < blocks; number++) {
    const { batch } = await store.read(block(number), 1);
    const round = held.get(number);
    const wanted = round === undefined ? Buffer.alloc(0) : content(number, round, 4096);
    if (!batch.payload.equals(wanted)) expect.fail(`block ${number} is not of round ${round}`);
  }
}

it.each([
  ['with a reserve', 2 * 1024 * 1024],
  ['to the last byte', 0],
])('%s', async (_name, reserveBytes) => {
  expect(mounted).toBe(true);
  const blocks = 20_000;
  const held = new Map<number, number>();
  let stores = await open(reserveBytes);
  let store: DeploymentStore = await stores.create({ ...newDeployment, blocks });
  for (let round = 1; round <= ROUNDS; round++) {
    fill(store, held, round, blocks);
    if (round % 3 === 1) expect(held.size).toBeGreaterThan(3000);
    if (reserveBytes > 0) {
      const numbers = [...held.keys()].sort(() => Math.random() - 0.5);
      const victims = round % 3 === 0 ? numbers : numbers.slice(0, numbers.length / 2);
      for (let from = 0; from < victims.length; from += 256) {
        const part = victims.slice(from, from + 256);
        const batch = batchOf(...part.map((number) => ({ block: number, zero: 1 })));
        store.append({ epoch: epoch(1), firstSequence: next(store), batch });
      }
      for (const number of victims) held.delete(number);
      await store.flush();
      if (round % 3 === 0) {
        for (let waited = 0; store.usedBytes > 2 * SETTINGS.segmentBytes && waited < 500; waited++) await sleep(10);
        expect(store.usedBytes).toBeLessThanOrEqual(2 * SETTINGS.segmentBytes);
      }
    } else {
      await store.flush();
    }
    await compare(store, held, blocks);
    if (round % 4 === 0) {
      await stores.close();
      stores = await open(reserveBytes);
      store = await stores.open(DEPLOYMENT);
      await compare(store, held, blocks);
    }
  }
  await stores.close();
});
