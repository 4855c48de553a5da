import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { BadBlockError } from '../../../core/ports.js';
import type { LocalDeploymentStore } from '../../../node-agent/store/deployment-store.js';
import { inspect } from '../../../node-agent/store/inspection.js';
import { SimDisk } from '../../sim/sim-disk.js';
import {
  block,
  DEPLOYMENT,
  data,
  instantClock,
  openStores,
  seeded,
  sequence,
  testChecksums,
  writeTo,
} from './support.js';

interface Fixture {
  readonly expected: {
    readonly last: string;
    /** A block that no copy could read. */
    readonly lost: number;
    readonly cells: readonly (readonly [number, string, string])[];
  };
  readonly files: Readonly<Record<string, string>>;
}

/** Written by the last program that made checkpoints of format 1: 2,000 blocks in one, 101 batches behind it. */
const { expected, files }: Fixture = JSON.parse(
  gunzipSync(readFileSync(new URL('fixtures/format-1.json.gz', import.meta.url))).toString(),
);

async function oldDisk(): Promise<SimDisk> {
  const sim = new SimDisk({ random: seeded(2) });
  const disk = sim.mount();
  for (const path of ['data', 'data/db1', 'data/db1/1', 'data/dev1']) disk.makeDirectory(path);
  for (const [path, bytes] of Object.entries(files)) {
    const file = disk.open(path, { create: true });
    file.write([Buffer.from(bytes, 'base64')], 0);
    await file.sync();
    file.close();
  }
  for (const path of ['', 'data', 'data/db1', 'data/db1/1', 'data/dev1']) await disk.syncDirectory(path);
  sim.crash({ power: false });
  return sim;
}

async function expectContents(store: LocalDeploymentStore): Promise<void> {
  expect(`${store.last.epoch}/${store.last.sequence}`).toBe(expected.last);
  const numbers = expected.cells.map(([number]) => block(number));
  for (let at = 0; at < numbers.length; at += 200) {
    const part = numbers.slice(at, at + 200);
    const { orders, batch } = await store.readBlocks(part);
    const cells = expected.cells.slice(at, at + 200);
    expect(orders.map(({ epoch, sequence }) => `${epoch}/${sequence}`)).toEqual(cells.map(([, , order]) => order));
    expect(batch.payload.toString()).toBe(cells.map(([, text]) => text).join(''));
  }
  await expect(store.read(block(expected.lost), 1)).rejects.toThrow(BadBlockError);
  const all = [...numbers, expected.lost].sort((a, b) => a - b);
  expect(await store.newerThan(sequence(0), block(0), 10_000)).toEqual(all);
}

describe('a store with a checkpoint of format 1', () => {
  it('is read, and has pages from its first opening on', async () => {
    const sim = await oldDisk();
    const stores = await openStores(sim.mount());
    const store = await stores.open(DEPLOYMENT);
    await expectContents(store);
    expect(sim.files().filter((path) => path.startsWith('data/db1/1/'))).toEqual([
      // The third opening's first number.
      `data/db1/1/checkpoint.${3 * 2 ** 20}`,
      `data/db1/1/checkpoint.${3 * 2 ** 20}.copy`,
      'data/db1/1/pages',
      ...[0, 1, 2].map((n) => `data/db1/1/super.${n}`),
    ]);
    writeTo(store, data(5, 9));
    await store.flush();
    sim.crash({ power: true });
    const again = await (await openStores(sim.mount(), { bootId: 'boot-2' })).open(DEPLOYMENT);
    expect((await again.read(block(5), 1)).batch.payload.toString()).toContain('block 5 version 9');
  });

  it('is not damaged because a full disk has no room for its pages', async () => {
    const sim = await oldDisk();
    sim.capacityBytes = sim.usedBytes() + 8_192;
    // So many pages that they are written while the file is still being read.
    const stores = await openStores(sim.mount(), { settings: { indexPageRows: 4 } });
    await expect(stores.open(DEPLOYMENT)).rejects.toMatchObject({ code: 'no-space' });
    sim.capacityBytes = Number.MAX_SAFE_INTEGER;
    await expectContents(await stores.open(DEPLOYMENT));
    await stores.close();
  });

  it('is the same whenever its first opening is interrupted', async () => {
    const original = await oldDisk();
    for (let operations = 1; ; operations++) {
      const sim = original.clone(seeded(operations));
      let left = operations;
      sim.onOperation = () => {
        if (--left === 0) sim.crash({ power: operations % 2 === 0 });
      };
      const opened = openStores(sim.mount()).then((stores) => stores.open(DEPLOYMENT));
      const turns = async (): Promise<undefined> => {
        for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
        return undefined;
      };
      const done = await Promise.race([opened.catch(() => undefined), turns()]);
      sim.onOperation = () => {};
      if (done !== undefined) {
        expect(operations).toBeGreaterThan(10);
        return;
      }
      sim.crash({ power: false });
      await expectContents(await (await openStores(sim.mount(), { bootId: 'boot-2' })).open(DEPLOYMENT));
    }
  });

  it('can be looked at off line, which changes nothing', async () => {
    const sim = await oldDisk();
    const before = sim.files().map((path) => [path, Buffer.from(sim.contents(path)).toString('base64')]);
    const options = { disk: sim.mount(), clock: instantClock, random: seeded(1), bootId: 'boot-1' };
    for await (const report of inspect({ ...options, checksums: testChecksums }, true)) {
      expect(report.contents).toMatchObject({ replayedBatches: 101 });
      expect(report.damages).toMatchObject([{ what: expect.stringContaining(`block ${expected.lost} `) }]);
    }
    expect(sim.files().map((path) => [path, Buffer.from(sim.contents(path)).toString('base64')])).toEqual(before);
  });
});
